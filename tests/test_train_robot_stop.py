"""robot-stop: rows before an incident, figures of predictions, and no package that is not useful."""

from __future__ import annotations

import numpy as np
import pytest

from agent.errors import PackageError
from agent.packages import package
from models.train import __main__ as command
from models.train.data import DataError
from models.train.robot_stop import evaluate, recording, score
from models.train.robot_stop.recording import CHANNELS, CYCLE, FILE, HORIZON, LENGTH, Recording
from tests.shared import DATA, ROOT, needs_recordings


def made(count=400, period=40, seed=0):
    """A robot whose third current rises 1 to 4 s before each incident."""
    random = np.random.default_rng(seed)
    stops = np.zeros(count, bool)
    stops[period::period] = True
    readings = random.normal(0, 0.1, (count, len(CHANNELS))).astype(np.float32)
    for lead in range(1, HORIZON):
        readings[np.flatnonzero(stops) - lead, 2] += 3.0
    return Recording(np.arange(count, dtype=float), readings, stops, np.zeros(count, bool), np.arange(count) // 25.0)


def write_log(folder, log, holes=()):
    """Write the recording as a file with the layout of the data set."""
    lines = [",".join(["Timestamp", *CHANNELS, f"{CYCLE} ", recording.STOP, recording.LOST])]
    for row, second in enumerate(log.seconds):
        cells = ["" if (row, n) in holes else f"{value:.4f}" for n, value in enumerate(log.readings[row])]
        stamp = f"2022-10-26T08:{int(second) // 60:02d}:{int(second) % 60:02d}.500Z"
        rest = f"{log.cycle[row]:g}", f"{float(log.stops[row])}", str(bool(log.lost[row]))
        lines.append(",".join([stamp, *cells, *rest]))
    (folder / FILE).write_text("\n".join(lines) + "\n")
    return folder


def test_rows_before_an_incident_and_its_repetition():
    trouble = np.zeros(60, bool)
    trouble[[20, 21, 24, 50]] = True  # 24 is 3 rows after: the same incident
    assert recording.incidents(trouble).tolist() == [20, 50]
    assert np.flatnonzero(recording.ahead(trouble)).tolist() == [*range(20 - HORIZON, 20), *range(50 - HORIZON, 50)]
    trouble[:] = False
    trouble[2] = True
    assert np.flatnonzero(recording.ahead(trouble)).tolist() == [0, 1]


def test_rows_after_the_start_of_a_stop_are_not_used():
    log = made(100)
    log.seconds[60:] += 100.0  # a pause
    rows = np.flatnonzero(recording.usable(log))
    assert rows[0] == LENGTH - 1
    for stop in (40, 80):
        assert not set(range(stop, stop + HORIZON + 1)) & set(rows.tolist())
    assert not set(range(60 - HORIZON, 60 + LENGTH - 1)) & set(rows.tolist())
    assert {39, 59 - HORIZON, 60 + LENGTH - 1} <= set(rows.tolist())
    assert rows[-1] == 99 - HORIZON


def test_no_reading_is_on_both_sides_of_a_split():
    rows = np.flatnonzero(recording.usable(made(500)))
    pairs = [recording.split(rows, 0.7, 500), *recording.folds(rows, 4)]
    for known, held in pairs:
        used = {row + step for row in known for step in range(1 - LENGTH, HORIZON + 1)}
        assert used.isdisjoint(row + step for row in held for step in range(1 - LENGTH, HORIZON + 1))
    assert max(pairs[0][0]) < min(pairs[0][1])
    assert np.array_equal(np.sort(np.concatenate([held for _, held in pairs[1:]])), rows)


def test_windows_end_with_their_row():
    cut = recording.windows(np.arange(40.0)[:, None], np.array([9, 30]))
    assert cut[:, :, 0].tolist() == [list(range(10)), list(range(21, 31))]
    assert recording.phase(np.array([1.0, 1, 1, 2, 2, 5])).tolist() == [0, 1, 2, 0, 1, 0]


def test_scores_checked_by_hand():
    truth, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    assert score.average_precision(truth, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert score.roc_auc(truth, scores) == 0.75
    assert score.recall_at(truth, scores, 0.6) == (1.0, 0.7)
    assert score.recall_at(truth, scores, 1.0) == (0.5, 0.9)
    assert score.recall_at(~truth, scores, 1.0) == (0.0, np.inf)
    same = np.full(4, 0.5)  # equal scores have no order
    assert score.average_precision(truth, same) == 0.5 == score.roc_auc(truth, same)


def test_scores_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the extra 'train'")
    random = np.random.default_rng(0)
    truth = random.random(500) < 0.1
    scores = np.round(random.random(500) + 0.3 * truth, 2)
    assert score.average_precision(truth, scores) == pytest.approx(metrics.average_precision_score(truth, scores))
    assert score.roc_auc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth, scores))


def test_alarms_are_counted_by_row_by_incident_and_by_hour():
    trouble = np.zeros(60, bool)
    trouble[[20, 50]] = True
    rows = np.flatnonzero(recording.usable(made(60)._replace(stops=trouble)))
    truth = recording.ahead(trouble)[rows]
    scores = np.isin(rows, [17, 18, 30, 31, 36]).astype(float)
    alarms = score.alarms(scores, rows, truth, trouble, 0.5)
    assert (alarms.precision, alarms.recall) == (2 / 5, 2 / truth.sum())
    assert (alarms.announced, alarms.incidents) == (1, 2)
    assert alarms.false_per_hour == pytest.approx(2 * 3600 / len(rows))


def test_useful_needs_all_three_conditions():
    good = score.Alarms(0.5, 0.4, 5, 10, 3.0)
    assert score.useful(good, (0.01, 0.2))
    assert not score.useful(good, (-0.01, 0.2))
    assert not score.useful(good._replace(announced=4), (0.01, 0.2))
    assert not score.useful(good._replace(precision=0.49), (0.01, 0.2))


def test_the_interval_of_a_better_score_is_above_zero():
    random = np.random.default_rng(1)
    rows, truth = np.arange(2000), random.random(2000) < 0.1
    better = truth + random.random(2000)
    low, high = score.gain(rows, truth, better, random.random(2000))
    assert 0.3 < low < high < 1
    assert score.gain(rows, truth, better, better) == (0, 0)


def test_a_log_is_read_and_its_holes_are_filled(tmp_path):
    log = made(60)
    read = recording.read(write_log(tmp_path, log, holes={(5, 2), (6, 2)}))
    assert read.readings[6, 2] == read.readings[4, 2] == pytest.approx(log.readings[4, 2], abs=1e-3)
    assert np.array_equal(read.stops, log.stops)
    assert np.diff(read.seconds).tolist() == [1.0] * 59
    assert np.array_equal(read.cycle, log.cycle)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("Tool_current", "Tool", "no column 'Tool_current'"),
        ("Timestamp", "Time", "Timestamp"),
        ("T08:00:03.500Z", "x", "the layout of"),
        ("T08:00:03.500Z", "T08:00:01.500Z", "steps back"),
    ],
)
def test_a_wrong_layout_is_reported_in_one_line(tmp_path, old, new, message):
    write_log(tmp_path, made(20))
    path = tmp_path / FILE
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message) as error:
        recording.read(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=FILE):
        recording.read(tmp_path / "none")


def test_nothing_is_shipped_and_evaluate_reports_why(capsys):
    place = ROOT / "models" / "robot-stop"
    assert "Not shipped" in (place / "CARD.md").read_text()
    assert [path.name for path in place.iterdir()] == ["CARD.md"]
    with pytest.raises(PackageError, match="bundled: "):
        package.find("robot-stop")
    assert command.main(["evaluate", "robot-stop", "--json"]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert "no package is shipped" in error


@needs_recordings
def test_the_real_log():
    log = recording.read(DATA)
    trouble = log.trouble("either")
    assert len(log.seconds) == 7409
    assert (int(log.stops.sum()), int(log.lost.sum())) == (279, 243)  # one of them a hole in the middle of a stop
    assert 150 < len(recording.incidents(trouble)) < 170
    known, last = recording.split(np.flatnonzero(recording.usable(log)), 0.7, 7409)
    assert last[0] - known[-1] >= LENGTH + HORIZON


def test_the_recipe_on_a_small_scale(tensorflow, tmp_path, monkeypatch):
    """From a log to a tested network, to a package if it is useful, and to none if it is not."""
    pytest.importorskip("sklearn")
    from models.train.robot_stop import card, make

    monkeypatch.setattr(make, "EPOCHS", 40)
    monkeypatch.setattr(make, "PRUNED_EPOCHS", 20)
    make.make_reproducible(1)
    log = recording.read(write_log(tmp_path, made(1000)))
    known, last = recording.split(np.flatnonzero(recording.usable(log)), make.SHARE, 1000)
    truth = recording.ahead(log.stops)
    trained = make.train_all(log, known, truth)
    tested = make.predict(log, known, last, "protective stop", trained)
    precision = {name: score.average_precision(truth[last], scores) for name, scores in tested.items()}
    assert min(precision[card.NETWORK], precision[card.BOOSTING]) > 0.6 > precision[card.CLOCK]
    place = tmp_path / "robot-stop"
    make.ship(place, trained, make.prepared(log, known, trained.scaling), useful=True)
    assert package.open_package(place).manifest.labels == ["normal", "stop-ahead"]
    figures = evaluate.evaluate(place, tmp_path)
    assert figures["unseen"]["average_precision"] > 0.6
    make.ship(place, trained, make.prepared(log, known, trained.scaling), useful=False)
    assert list(place.iterdir()) == []
