"""arm-collision: reading windows, folds that share nothing, figures checked by hand, the recipe on a small scale."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agent.offline import offline_lane
from agent.packages import package
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


def write_files(folder, windows, names=("normal", "collision", "obstruction")):
    """Write files with the layout of lp1.data.txt."""
    folder.mkdir(exist_ok=True)
    for number in np.unique(windows.files):
        blocks = []
        for readings, label in zip(windows.readings[windows.files == number], windows.labels[windows.files == number]):
            rows = ["\t" + "\t".join(f"{value:g}" for value in row) for row in readings]
            blocks.append("\n".join([names[label], *rows]))
        (folder / f"lp{number}.data.txt").write_text("\n\n\n".join(blocks) + "\n\n")
    return folder


def test_files_are_read_as_written(tmp_path):
    written = made(3)
    read = windows.load(write_files(tmp_path / "set", written))
    for values, expected in zip(read, written):
        assert np.array_equal(values, expected)


def test_every_class_of_the_set_has_a_label(tmp_path):
    for name, label in windows.KINDS.items():
        read = windows.load(write_files(tmp_path / name, made(1).at(np.array([0])), (name, "", "")))
        assert read.labels.tolist() == [label]
    assert set(windows.KINDS.values()) == {0, 1, 2}


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("collision\n", "colision\n", r"lp1.data.txt:19: class 'colision'; expected one of normal"),
        ("normal\n", "", r":1: expected a class name"),
        ("\t60", "\tx", r":2: .* is not 6 numbers"),
        ("\t60", "\tnan", r":2: .* is not 6 numbers"),
        ("\t60", "", r":2: .* is not 6 numbers"),
    ],
)
def test_a_wrong_layout_is_reported_with_its_line(tmp_path, old, new, message):
    constant = made(1)._replace(readings=np.full((3, LENGTH, 6), 60, np.float32))
    path = write_files(tmp_path, constant) / "lp1.data.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message) as error:
        windows.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_truncated_file_and_no_file_are_reported(tmp_path):
    path = write_files(tmp_path, made(1)) / "lp1.data.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-5]))
    with pytest.raises(DataError, match="ends inside a window of 'obstruction'"):
        windows.load(tmp_path)
    path.write_text("")
    with pytest.raises(DataError, match="contain no window"):
        windows.load(tmp_path)
    with pytest.raises(DataError, match="robot-execution-failures"):
        windows.load(tmp_path / "none")


def test_repeated_windows_count_once_and_overlapping_ones_stay_together():
    original, repeated = made(4), made(4, file=5)
    both = Windows(*(np.concatenate(parts) for parts in zip(original, repeated)))
    once = windows.distinct(both)
    assert np.array_equal(once.readings, original.readings)
    long = np.random.default_rng(1).normal(size=(LENGTH + 8, 6)).astype(np.float32)
    cut = Windows(np.stack([long[at : at + LENGTH] for at in (0, 3, 8)]), np.zeros(3, int), np.ones(3, int))
    group = windows.groups(Windows(*(np.concatenate(parts) for parts in zip(original, cut))))
    assert len(set(group[-3:])) == 1
    assert len(set(group)) == len(original.labels) + 1


def test_inputs_are_two_views_within_bounds():
    inputs = windows.inputs(made().readings)
    assert inputs.shape[1:] == (LENGTH, 12)
    assert inputs.dtype == np.float32
    assert np.abs(inputs).max() == 1.0
    assert inputs[:20].std() > 0
    assert np.abs(inputs[:20, :, 2]).max() < 0.5  # fine fz is centred at the weight


def test_variants_keep_their_label_and_begin_before_the_event():
    recorded = made()
    variants = windows.augmented(recorded, 3, 1.0, np.random.default_rng(0))
    assert np.array_equal(variants.labels, np.repeat(recorded.labels, 3))
    swings = np.abs(variants.readings[variants.labels == 1, :, 0])
    assert (swings[:, 0] < 10).all()  # normal at first
    assert (swings[:, -windows.MIN_EVENT :].max(axis=1) > 20).mean() > 0.9
    normal = variants.readings[variants.labels == 0]
    assert np.abs(np.diff(normal, axis=1)).max() < 40
    same = windows.augmented(recorded, 3, 1.0, np.random.default_rng(0))
    assert np.array_equal(variants.readings, same.readings)


def test_figures_by_hand():
    truth, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 1, 1])
    matrix = score.confusions(truth, predicted[None])[0]
    assert score.accuracy(matrix) == pytest.approx(4 / 6)
    assert score.macro_f1(matrix) == pytest.approx((2 / 3 + 6 / 8 + 0) / 3)
    without_obstruction = score.confusions(truth[:5], predicted[None, :5])[0]
    assert score.macro_f1(without_obstruction) == pytest.approx((2 / 3 + 6 / 7) / 2)
    draws = score.bootstrap(truth, np.stack([truth, truth]), np.arange(6), score.accuracy)
    assert draws.shape == (score.TIMES,)
    assert (draws == 1.0).all()


def test_the_interval_draws_groups_not_windows():
    truth = np.zeros(200, int)
    predicted = np.repeat([[0, 1]], 100, axis=0).T.reshape(1, -1)  # half of them wrong
    alone, together = (
        score.interval(score.bootstrap(truth, predicted, group, score.accuracy))
        for group in (np.arange(200), np.arange(200) // 50)
    )
    assert alone[0] > 0.4 > together[0]


def test_a_stream_gives_delays_and_false_alarms():
    recorded = made(5)

    def network(inputs):
        blow = np.abs(inputs[:, :, 0]).max(axis=1) > 0.9
        press = inputs[:, :, 2].min(axis=1) < -0.9
        return np.where((blow | press)[:, None], [[0.1, 0.9, 0]], [[0.9, 0.1, 0]])

    stream = score.stream(recorded, network)
    assert stream.delays.tolist() == [2] * 5 + [1] * 5
    assert (stream.normal_windows, stream.false_alarms) == (5 * LENGTH, 0)
    blind = score.stream(recorded, lambda inputs: np.ones((len(inputs), 3)))
    assert not blind.delays.any()


def test_the_bundled_package_is_small_and_knows_its_training_windows():
    opened = package.open_package(BUNDLED)  # compares with its golden outputs
    assert (BUNDLED / opened.manifest.file).stat().st_size < 100_000
    assert opened.manifest.window.channels == [*CHANNELS, *CHANNELS]
    assert opened.engine.inputs[0].dtype == opened.engine.outputs[0].dtype == np.int8
    assert len(np.load(BUNDLED / "known.npz")["crc32"]) == 251


@needs_recordings
def test_evaluate_separates_training_windows_from_others(tmp_path, capsys):
    assert command.main(["evaluate", "arm-collision", "--data", str(DATA), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["windows"], report["distinct"]) == (463, 251)
    assert (report["seen"]["windows"], report["unseen"]["windows"]) == (251, 0)
    assert report["seen"]["accuracy"] > 0.9
    assert sum(file["windows"] for file in report["files"].values()) == 463
    real = windows.load(DATA)
    shifted = real._replace(readings=real.readings + np.array([1, 0, 0, 0, 0, 0], np.float32))
    other = evaluate.evaluate(BUNDLED, write_files(tmp_path / "shifted", shifted.at(np.arange(88))))
    assert (other["seen"]["windows"], other["unseen"]["windows"]) == (0, 88)
    assert other["unseen"]["accuracy"] > 0.85
    assert set(other["files"]) == {"lp1"}


def test_evaluate_without_data_or_package_is_one_line(tmp_path):
    with pytest.raises(DataError, match="robot-execution-failures"):
        evaluate.evaluate(BUNDLED, tmp_path)  # no data
    with pytest.raises(DataError, match="manifest.yaml"):
        evaluate.evaluate(tmp_path, tmp_path)


def decisions_of(place, readings, folder):
    """The lane's decisions in a recording of these readings: number of the reading, verb."""
    path = folder / "run.csv"
    rows = [",".join(f"{value:g}" for value in row) for row in readings]
    path.write_text("\n".join([",".join(CHANNELS), *rows]) + "\n")
    lane = offline_lane(
        "arm", "sensor.replay", {"path": str(path), "rate_hz": 47.6}, Perception(package.open_package(place))
    )
    played = lane.play(Scene(Rules({"blow": RuleConfig.model_validate(BLOW)}, {"arm": "run"})))
    return [(number, decision.verb) for number, (_, decisions) in enumerate(played) for decision in decisions]


@pytest.mark.long
def test_the_recipe_on_a_small_scale(tensorflow, tmp_path, monkeypatch):
    """Folds, a small network and a forest, a package, and a lane that stops the arm at a blow, not before."""
    pytest.importorskip("sklearn")
    from models.train.arm_collision import card, make

    for name, value in {"EPOCHS": 12, "PRUNED_EPOCHS": 12, "REPEATS": 1, "FOLDS": 2, "COPIES": 3}.items():
        monkeypatch.setattr(make, name, value)
    make.make_reproducible(1)
    recorded = windows.load(write_files(tmp_path / "set", made()))
    known, held, seed = next(make.folds(recorded, windows.groups(recorded)))
    assert not set(known) & set(held)
    fold = make.predict_fold(recorded, known, held, seed)
    assert ((fold.predictions == recorded.labels[held]).mean(axis=1) > 0.9).all()
    assert len(fold.predictions) == len(card.METHODS)
    assert (fold.stream.delays > 0).all()
    place = tmp_path / "wrist"
    make.ship(place, recorded, make.train_all(recorded, 0))
    assert evaluate.evaluate(place, tmp_path / "set")["seen"]["accuracy"] > 0.9
    free, blow = recorded.readings[0], recorded.readings[25]
    decided = decisions_of(place, np.concatenate([free, free[::-1], blow]), tmp_path)
    assert decided[0] == (LENGTH - 1, "run")
    assert [verb for _, verb in decided[:2]] == ["run", "stop"]
    assert 2 * LENGTH <= decided[1][0] < 2 * LENGTH + 10
