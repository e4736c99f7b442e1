"""arm-collision: windows read and told apart, folds that share nothing, figures by hand, the road to a lane's decision."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agent import package
from agent.offline import offline_lane
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from models.train import __main__ as command
from models.train.arm_collision import evaluate, score, windows
from models.train.arm_collision.windows import CHANNELS, LABELS, LENGTH, Windows
from models.train.data import DataError
from tests.shared import DATA, ROOT, needs_recordings

BUNDLED = ROOT / "models" / "arm-collision"
BLOW = {
    "any": [
        {"lane": "arm", "label": "collision", "score": 0.5, "hits": 2, "of": 3},
        {"lane": "arm", "label": "obstruction", "score": 0.5, "hits": 2, "of": 3},
    ],
    "actuator": "arm",
    "verb": "stop",
}


def made(each=20, file=1, seed=0):
    """Free: noise about the weight. Blow: fx swings for a while. Press: fz falls and stays down."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(LABELS)), each)
    readings = np.rint(random.normal(0, 1, (len(labels), LENGTH, len(CHANNELS))) + np.array([0, 0, 60, 0, 0, 0]))
    swing = 80 * np.sin(np.arange(LENGTH)) * np.exp(-np.arange(LENGTH) / 8)
    readings[labels == 1, :, 0] += np.rint(swing)
    readings[labels == 2, :, 2] -= np.rint(np.linspace(200, 900, LENGTH))
    return Windows(readings.astype(np.float32), labels, np.full(len(labels), file))


def laid_out(folder, told, names=("normal", "collision", "obstruction")):
    """Files like lp1.data.txt."""
    folder.mkdir(exist_ok=True)
    for number in np.unique(told.files):
        blocks = []
        for readings, label in zip(told.readings[told.files == number], told.labels[told.files == number]):
            rows = ["\t" + "\t".join(f"{value:g}" for value in row) for row in readings]
            blocks.append("\n".join([names[label], *rows]))
        (folder / f"lp{number}.data.txt").write_text("\n\n\n".join(blocks) + "\n\n")
    return folder


def test_files_come_back_as_written(tmp_path):
    told = made(3)
    read = windows.load(laid_out(tmp_path / "set", told))
    for one, other in zip(read, told):
        assert np.array_equal(one, other)


def test_every_class_of_the_set_has_a_label(tmp_path):
    for name, label in windows.KINDS.items():
        read = windows.load(laid_out(tmp_path / name, made(1).at(np.array([0])), (name, "", "")))
        assert read.labels.tolist() == [label]
    assert set(windows.KINDS.values()) == {0, 1, 2}


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("collision\n", "colision\n", r"lp1.data.txt:19: class 'colision'; expected one of normal"),
        ("normal\n", "", r":1: expected the name of a class"),
        ("\t60", "\tx", r":2: .* is not 6 numbers"),
        ("\t60", "\tnan", r":2: .* is not 6 numbers"),
        ("\t60", "", r":2: .* is not 6 numbers"),
    ],
)
def test_what_is_laid_out_otherwise_is_told_with_its_line(tmp_path, old, new, words):
    told = made(1)._replace(readings=np.full((3, LENGTH, 6), 60, np.float32))
    path = laid_out(tmp_path, told) / "lp1.data.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=words) as error:
        windows.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_file_that_breaks_off_and_no_file_at_all(tmp_path):
    path = laid_out(tmp_path, made(1)) / "lp1.data.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-5]))
    with pytest.raises(DataError, match="ends inside a window of 'obstruction'"):
        windows.load(tmp_path)
    path.write_text("")
    with pytest.raises(DataError, match="without a window"):
        windows.load(tmp_path)
    with pytest.raises(DataError, match="robot-execution-failures"):
        windows.load(tmp_path / "none")


def test_repeated_windows_count_once_and_overlapping_ones_stay_together():
    one, again = made(4), made(4, file=5)
    both = Windows(*(np.concatenate(parts) for parts in zip(one, again)))
    once = windows.distinct(both)
    assert np.array_equal(once.readings, one.readings)
    long = np.random.default_rng(1).normal(size=(LENGTH + 8, 6)).astype(np.float32)
    cut = Windows(np.stack([long[at : at + LENGTH] for at in (0, 3, 8)]), np.zeros(3, int), np.ones(3, int))
    group = windows.groups(Windows(*(np.concatenate(parts) for parts in zip(one, cut))))
    assert len(set(group[-3:])) == 1
    assert len(set(group)) == len(one.labels) + 1


def test_inputs_are_two_views_within_bounds():
    seen = windows.inputs(made().readings)
    assert seen.shape[1:] == (LENGTH, 12)
    assert seen.dtype == np.float32
    assert np.abs(seen).max() == 1.0
    assert seen[:20].std() > 0
    assert np.abs(seen[:20, :, 2]).max() < 0.5  # the fine one of fz is about the weight


def test_variants_keep_label_and_kind_and_begin_before_the_event():
    told = made()
    some = windows.varied(told, 3, 1.0, np.random.default_rng(0))
    assert np.array_equal(some.labels, np.repeat(told.labels, 3))
    swings = np.abs(some.readings[some.labels == 1, :, 0])
    assert (swings[:, 0] < 10).all()  # normal at first
    assert (swings[:, -windows.LEAST :].max(axis=1) > 20).mean() > 0.9
    calm = some.readings[some.labels == 0]
    assert np.abs(np.diff(calm, axis=1)).max() < 40
    same = windows.varied(told, 3, 1.0, np.random.default_rng(0))
    assert np.array_equal(some.readings, same.readings)


def test_figures_by_hand():
    truth, guess = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 1, 1])
    matrix = score.pooled(truth, guess[None])[0]
    assert score.accuracy(matrix) == pytest.approx(4 / 6)
    assert score.macro_f1(matrix) == pytest.approx((2 / 3 + 6 / 8 + 0) / 3)
    assert score.macro_f1(score.pooled(truth[:5], guess[None, :5])[0]) == pytest.approx(
        (2 / 3 + 6 / 7) / 2
    )  # no obstruction
    draws = score.drawn(truth, np.stack([truth, truth]), np.arange(6), score.accuracy)
    assert draws.shape == (score.TIMES,)
    assert (draws == 1.0).all()


def test_the_interval_draws_groups_not_windows():
    truth = np.zeros(200, int)
    guess = np.repeat([[0, 1]], 100, axis=0).T.reshape(1, -1)  # half of them wrong
    alone, together = (
        score.interval(score.drawn(truth, guess, group, score.accuracy))
        for group in (np.arange(200), np.arange(200) // 50)
    )
    assert alone[0] > 0.4 > together[0]


def test_a_stream_tells_how_late_and_how_often_for_nothing():
    told = made(5)

    def network(seen):
        blow = np.abs(seen[:, :, 0]).max(axis=1) > 0.9
        press = seen[:, :, 2].min(axis=1) < -0.9
        return np.where((blow | press)[:, None], [[0.1, 0.9, 0]], [[0.9, 0.1, 0]])

    late, joints, false = score.stream(told, network)
    assert late.tolist() == [2] * 5 + [1] * 5
    assert (joints, false) == (5 * LENGTH, 0)
    blind = score.stream(told, lambda seen: np.ones((len(seen), 3)))
    assert not blind[0].any()


# -- the package that ships --


def test_it_is_small_proves_itself_and_knows_what_it_was_trained_on():
    opened = package.open_package(BUNDLED)  # compares with its golden outputs
    assert (BUNDLED / opened.manifest.file).stat().st_size < 100_000
    assert opened.manifest.window.channels == [*CHANNELS, *CHANNELS]
    assert opened.engine.inputs[0].dtype == opened.engine.outputs[0].dtype == np.int8
    assert len(np.load(BUNDLED / "known.npz")["crc32"]) == 251


@needs_recordings
def test_evaluate_tells_seen_windows_from_others(tmp_path, capsys):
    assert command.main(["evaluate", "arm-collision", "--data", str(DATA), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["windows"], told["distinct"], told["seen"]["windows"], told["unseen"]["windows"]) == (463, 251, 251, 0)
    assert told["seen"]["accuracy"] > 0.9
    assert sum(file["windows"] for file in told["files"].values()) == 463
    real = windows.load(DATA)
    moved = real._replace(readings=real.readings + np.array([1, 0, 0, 0, 0, 0], np.float32))
    other = evaluate.evaluate(BUNDLED, laid_out(tmp_path / "moved", moved.at(np.arange(88))))
    assert (other["seen"]["windows"], other["unseen"]["windows"]) == (0, 88)
    assert other["unseen"]["accuracy"] > 0.85
    assert set(other["files"]) == {"lp1"}


def test_evaluate_without_data_or_package_is_one_line(tmp_path):
    with pytest.raises(DataError, match="robot-execution-failures"):
        evaluate.evaluate(BUNDLED, tmp_path)  # no data
    with pytest.raises(DataError, match="manifest.yaml"):
        evaluate.evaluate(tmp_path, tmp_path)


# -- the road in small --


def verbs(place, readings, folder):
    """What a lane decides over a recording of these readings, in order."""
    path = folder / "run.csv"
    rows = [",".join(f"{value:g}" for value in row) for row in readings]
    path.write_text("\n".join([",".join(CHANNELS), *rows]) + "\n")
    lane = offline_lane(
        "arm", "sensor.replay", {"path": str(path), "rate_hz": 47.6}, Perception(package.open_package(place))
    )
    played = lane.play(Scene(Rules({"blow": RuleConfig.model_validate(BLOW)}, {"arm": "run"})))
    return [(number, decision.verb) for number, (_, decisions) in enumerate(played) for decision in decisions]


def test_the_wrists_road_in_small(tensorflow, tmp_path, monkeypatch):
    """Folds, a network of seconds and a forest, a package, and a lane that stops the arm at a blow and lets it run before."""
    pytest.importorskip("sklearn")
    from models.train.arm_collision import card, make

    for name, value in {"EPOCHS": 12, "AGAIN": 12, "REPEATS": 1, "FOLDS": 2, "COPIES": 3}.items():
        monkeypatch.setattr(make, name, value)
    make.make_reproducible(1)
    told = windows.load(laid_out(tmp_path / "set", made()))
    known, held, seed = next(make.folds(told, windows.groups(told)))
    assert not set(known) & set(held)
    folded = make.guesses(told, known, held, seed)
    assert ((folded.said == told.labels[held]).mean(axis=1) > 0.9).all()
    assert len(folded.said) == len(card.METHODS)
    assert (folded.stream.late > 0).all()
    place = tmp_path / "wrist"
    make.ship(place, told, make.train_all(told, 0))
    assert evaluate.evaluate(place, tmp_path / "set")["seen"]["accuracy"] > 0.9
    free, blow = told.readings[0], told.readings[25]
    decided = verbs(place, np.concatenate([free, free[::-1], blow]), tmp_path)
    assert decided[0] == (LENGTH - 1, "run")
    assert [verb for _, verb in decided[:2]] == ["run", "stop"]
    assert 2 * LENGTH <= decided[1][0] < 2 * LENGTH + 10
