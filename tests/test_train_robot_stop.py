"""robot-stop: which rows come before an incident, how foresight is measured, and that nothing useless is shipped."""

from __future__ import annotations

import numpy as np
import pytest

from agent import package
from agent.errors import PackageError
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


def log_of(folder, told, holes=()):
    """The recording as a file laid out like the set's."""
    lines = [",".join(["Timestamp", *CHANNELS, f"{CYCLE} ", recording.STOP, recording.LOST])]
    for row, second in enumerate(told.seconds):
        cells = ["" if (row, n) in holes else f"{value:.4f}" for n, value in enumerate(told.readings[row])]
        stamp = f"2022-10-26T08:{int(second) // 60:02d}:{int(second) % 60:02d}.500Z"
        rest = f"{told.cycle[row]:g}", f"{float(told.stops[row])}", str(bool(told.lost[row]))
        lines.append(",".join([stamp, *cells, *rest]))
    (folder / FILE).write_text("\n".join(lines) + "\n")
    return folder


def test_rows_before_an_incident_and_its_echo():
    trouble = np.zeros(60, bool)
    trouble[[20, 21, 24, 50]] = True  # 24 is 3 rows after: the same incident
    assert recording.incidents(trouble).tolist() == [20, 50]
    assert np.flatnonzero(recording.ahead(trouble)).tolist() == [*range(20 - HORIZON, 20), *range(50 - HORIZON, 50)]
    trouble[:] = False
    trouble[2] = True
    assert np.flatnonzero(recording.ahead(trouble)).tolist() == [0, 1]


def test_a_stop_that_is_already_there_does_not_count():
    told = made(100)
    told.seconds[60:] += 100.0  # a pause
    rows = np.flatnonzero(recording.usable(told))
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
        seen = {row + step for row in known for step in range(1 - LENGTH, HORIZON + 1)}
        assert seen.isdisjoint(row + step for row in held for step in range(1 - LENGTH, HORIZON + 1))
    assert max(pairs[0][0]) < min(pairs[0][1])
    assert np.array_equal(np.sort(np.concatenate([held for _, held in pairs[1:]])), rows)


def test_windows_end_with_their_row():
    cut = recording.windows(np.arange(40.0)[:, None], np.array([9, 30]))
    assert cut[:, :, 0].tolist() == [list(range(10)), list(range(21, 31))]
    assert recording.phase(np.array([1.0, 1, 1, 2, 2, 5])).tolist() == [0, 1, 2, 0, 1, 0]


def test_scores_against_values_by_hand():
    truth, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    assert score.average_precision(truth, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert score.roc_auc(truth, scores) == 0.75
    assert score.recall_at(truth, scores, 0.6) == (1.0, 0.7)
    assert score.recall_at(truth, scores, 1.0) == (0.5, 0.9)
    assert score.recall_at(~truth, scores, 1.0) == (0.0, np.inf)
    same = np.full(4, 0.5)  # no order among equals: neither lucky nor unlucky
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
    called = score.alarms(scores, rows, truth, trouble, 0.5)
    assert (called.precision, called.recall) == (2 / 5, 2 / truth.sum())
    assert (called.announced, called.incidents) == (1, 2)
    assert called.false_per_hour == pytest.approx(2 * 3600 / len(rows))


def test_useful_asks_for_all_three():
    good = score.Alarms(0.5, 0.4, 5, 10, 3.0)
    assert score.useful(good, (0.01, 0.2))
    assert not score.useful(good, (-0.01, 0.2))
    assert not score.useful(good._replace(announced=4), (0.01, 0.2))
    assert not score.useful(good._replace(precision=0.49), (0.01, 0.2))


def test_the_interval_of_a_better_score_is_above_none():
    random = np.random.default_rng(1)
    rows, truth = np.arange(2000), random.random(2000) < 0.1
    better = truth + random.random(2000)
    low, high = score.gain(rows, truth, better, random.random(2000))
    assert 0.3 < low < high < 1
    assert score.gain(rows, truth, better, better) == (0, 0)


def test_a_log_is_read_and_its_holes_filled(tmp_path):
    told = made(60)
    read = recording.read(log_of(tmp_path, told, holes={(5, 2), (6, 2)}))
    assert read.readings[6, 2] == read.readings[4, 2] == pytest.approx(told.readings[4, 2], abs=1e-3)
    assert np.array_equal(read.stops, told.stops)
    assert np.diff(read.seconds).tolist() == [1.0] * 59
    assert np.array_equal(read.cycle, told.cycle)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("Tool_current", "Tool", "no column 'Tool_current'"),
        ("Timestamp", "Time", "Timestamp"),
        ("T08:00:03.500Z", "x", "laid out like"),
        ("T08:00:03.500Z", "T08:00:01.500Z", "steps back"),
    ],
)
def test_what_is_laid_out_otherwise_is_told_in_one_line(tmp_path, old, new, words):
    log_of(tmp_path, made(20))
    path = tmp_path / FILE
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=words) as told:
        recording.read(tmp_path)
    assert "\n" not in str(told.value)
    with pytest.raises(DataError, match=FILE):
        recording.read(tmp_path / "none")


def test_nothing_is_shipped_and_evaluate_says_why(capsys):
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
    told = recording.read(DATA)
    trouble = told.trouble("either")
    assert len(told.seconds) == 7409
    assert (int(told.stops.sum()), int(told.lost.sum())) == (279, 243)  # one of them a hole in the middle of a stop
    assert 150 < len(recording.incidents(trouble)) < 170
    known, last = recording.split(np.flatnonzero(recording.usable(told)), 0.7, 7409)
    assert last[0] - known[-1] >= LENGTH + HORIZON


def test_the_stops_road_in_small(tensorflow, tmp_path, monkeypatch):
    """From a log to a judged network, to a package where it is useful, and to none where it is not."""
    pytest.importorskip("sklearn")
    from models.train.robot_stop import card, make

    monkeypatch.setattr(make, "EPOCHS", 40)
    monkeypatch.setattr(make, "AGAIN", 20)
    make.make_reproducible(1)
    told = recording.read(log_of(tmp_path, made(1000)))
    known, last = recording.split(np.flatnonzero(recording.usable(told)), make.SHARE, 1000)
    truth = recording.ahead(told.stops)
    trained = make.train_all(told, known, truth)
    judged = make.judge(told, known, last, "protective stop", trained)
    got = {name: score.average_precision(truth[last], scores) for name, scores in judged.items()}
    assert min(got[card.NETWORK], got[card.BOOSTING]) > 0.6 > got[card.CLOCK]
    place = tmp_path / "robot-stop"
    make.ship(place, trained, make.prepared(told, known, trained), useful=True)
    assert package.open_package(place).manifest.labels == ["normal", "stop-ahead"]
    figures = evaluate.evaluate(place, tmp_path)
    assert figures["unseen"]["average_precision"] > 0.6
    make.ship(place, trained, make.prepared(told, known, trained), useful=False)
    assert list(place.iterdir()) == []
