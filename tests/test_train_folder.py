"""From a user's folder to a package that a lane runs; and one clear message for each thing that is wrong with the folder."""

from __future__ import annotations

import csv
import json
import logging
import re
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent import package
from agent.backends.base import Tensor
from agent.config.models import Config
from agent.data import Box
from agent.decoders.base import Finding
from agent.manifest import Picture
from agent.offline import offline_lane
from agent.perception import Perception
from agent.prepare.pixels import Pixels
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from models.train import distil
from models.train.__main__ import main
from models.train.data import DataError
from models.train.folder import files, pictures, readings
from models.train.folder.examples import Examples, judged, spread
from tests.shared import ROOT

MS = 1_000_000
NOBODY = np.zeros((0,))


def recording(path: Path, level: float, rows: int = 60, names: tuple[str, ...] = ("x", "y"), seed: int = 1000) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(level, 0.3, (rows, len(names)))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, values, "%.4f", ",", header=",".join(names), comments="")


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """Six recordings of each of two labels that any network tells apart."""
    for number in range(6):
        recording(tmp_path / f"levels/low/{number}.csv", -1.0, seed=number)
        recording(tmp_path / f"levels/high/{number}.csv", 1.0, seed=100 + number)
    return tmp_path / "levels"


def picture(path: Path, colour: tuple[int, int, int], seed: int) -> np.ndarray:
    frame = np.full((48, 64, 3), colour, np.uint8)
    frame[: seed % 20 + 5] = np.random.default_rng(seed).integers(0, 80, (seed % 20 + 5, 64, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), frame)
    return frame


def film(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for frame in frames:
        writer.write(frame)
    writer.release()


# -- files ---------------------------------------------------------------------------------------------------------------


def test_whole_files_are_held_out_and_always_the_same(levels: Path) -> None:
    labels, listed = files.listing(levels, readings.SUFFIXES, 7)
    assert labels == ["high", "low"] and len(listed) == 12
    held = {file.path for file in listed if file.test}
    assert not held & {file.path for file in listed if not file.test}
    assert [sum(file.test for file in listed if file.label == label) for label in (0, 1)] == [2, 2]
    assert files.listing(levels, readings.SUFFIXES, 7)[1] == listed != files.listing(levels, readings.SUFFIXES, 8)[1]


def test_files_without_a_label_are_nobodys_test(levels: Path, capsys) -> None:
    recording(levels / "unlabelled/deep/er.csv", 0.0)
    (levels / "low/notes.txt").write_text("not a recording")
    (levels / ".cache").mkdir()
    labels, listed = files.listing(levels, readings.SUFFIXES, 7)
    assert labels == ["high", "low"]
    assert [(file.path.name, file.test) for file in listed if file.label < 0] == [("er.csv", False)]
    assert "low: 1 files passed over, not .csv" in capsys.readouterr().err


def alone(levels: Path) -> None:
    for path in [*levels.glob("low/*")]:
        path.unlink()
    (levels / "low").rmdir()


@pytest.mark.parametrize(
    "harm, why",
    [
        (lambda folder: [path.unlink() for path in folder.glob("low/*")], "low: no files"),
        (lambda folder: [path.unlink() for path in [*folder.glob("low/*")][2:]], "low: 2 files.* needs 3 or more"),
        (alone, "1 sub-folders"),
        (
            lambda folder: (folder / "low/copy.csv").write_bytes((folder / "high/1.csv").read_bytes()),
            "copy.csv is the same as",
        ),
    ],
)
def test_a_folder_that_cannot_be_learned_from_is_said_so(levels: Path, harm, why: str) -> None:
    harm(levels)
    with pytest.raises(DataError, match=why):
        files.listing(levels, readings.SUFFIXES, 7)


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path, monkeypatch, levels: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        files.listing(tmp_path / "none", readings.SUFFIXES, 7)
    monkeypatch.setattr(files, "MAX_FILES", 11)
    with pytest.raises(DataError, match="12 files; at most 11"):
        files.listing(levels, readings.SUFFIXES, 7)


def test_scores_are_counted_by_sample_and_by_file() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    known = Examples(NOBODY, NOBODY, np.array([0, 0, 0, 1, 1]), np.array([3, 3, 3, 5, 5]), NOBODY)
    assert judged(scores, known) == (2, 5, 1, 2)
    assert spread(100, 5).tolist() == [0, 24, 49, 74, 99] and spread(3, 5).tolist() == [0, 1, 2]


# -- readings ------------------------------------------------------------------------------------------------------------


def test_recordings_are_read_by_the_names_of_their_channels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t_s,x,y\n0.0,1,2\n0.1,3,4\n")
    names, rows = readings.read(tmp_path / "a.csv")
    assert names == ("x", "y") and rows.tolist() == [[1, 2], [3, 4]]
    listed = [files.File(Path("a"), 0), files.File(Path("b"), 0)]
    assert readings.agreed(listed, [("x", "y"), ("y", "x")]) == ("x", "y")
    with pytest.raises(DataError, match="b: other channels than a: 'y'"):
        readings.agreed(listed, [("x", "y"), ("x",)])
    assert (
        readings.window_length(listed, [500, 20]) == 20 and readings.window_length(listed, [500, 90]) == readings.LENGTH
    )
    with pytest.raises(DataError, match="b: 7 readings"):
        readings.window_length(listed, [500, 7])


@pytest.mark.parametrize(
    "text", ["", "x,y\n", "x,y\n1,2\nthree,4\n", "x,y\n1,nan\n", "x,x\n1,2\n", "x,y\n1\n", "\0\xff"]
)
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match="bad.csv"):
        readings.read(tmp_path / "bad.csv")


def test_readings_are_scaled_as_the_manifest_says(tmp_path: Path) -> None:
    windows = np.random.default_rng(1).normal([5.0, -2.0, 3.0], [2.0, 0.1, 0.0], (500, 8, 3))
    mean, std = readings.scale(windows)
    assert mean == pytest.approx([5, -2, 3], abs=0.1) and std == pytest.approx([2, 0.1, 1.0], abs=0.1)
    real = readings.real(windows * 1000, mean, std)
    assert real.dtype == np.float32 and abs(real).max() == readings.BOUND


# -- pictures ------------------------------------------------------------------------------------------------------------


def test_clips_are_thinned_evenly_and_that_is_said(tmp_path: Path) -> None:
    film(tmp_path / "clip.avi", [np.full((48, 64, 3), 2 * number, np.uint8) for number in range(100)])
    capped: set[str] = set()
    found = [round(frame.mean() / 2) for frame in pictures.frames(tmp_path / "clip.avi", 5, capped)]
    assert len(found) == 5 and np.abs(np.array(found) - [0, 24, 49, 74, 99]).max() <= 2
    assert capped == {"clips: at most 5 frames of each, evenly over it"}
    assert len(list(pictures.frames(tmp_path / "clip.avi", 200, set()))) == 100


def test_a_very_long_clip_is_not_looked_through(tmp_path: Path, monkeypatch) -> None:
    film(tmp_path / "clip.avi", [np.zeros((48, 64, 3), np.uint8)] * 40)
    monkeypatch.setattr(pictures, "MAX_READ", 30)
    capped: set[str] = set()
    assert len(list(pictures.frames(tmp_path / "clip.avi", 200, capped))) == 30
    assert capped == {"clip.avi: only its first 30 frames were looked at"}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.mp4", "a.gif"])
def test_a_file_that_shows_nothing_is_named(tmp_path: Path, monkeypatch, name: str) -> None:
    for content in (b"", b"nonsense" * 100):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: cannot be read as a"):
            list(pictures.frames(tmp_path / name, 5, set()))
    monkeypatch.setitem(pictures.MAX_MB, (tmp_path / name).suffix, 0.0001)
    with pytest.raises(DataError, match=f"{name}: larger than"):
        list(pictures.frames(tmp_path / name, 5, set()))


def test_a_picture_reaches_the_network_as_in_a_lane() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (120, 200, 3), np.uint8)
    side, view = pictures.SIDE, np.zeros((1, pictures.SIDE, pictures.SIDE, 3), np.float32)
    Pixels(Picture(**pictures.PICTURE), Tensor("", (1, side, side, 3), np.float32), "bgr")(frame, view)
    np.testing.assert_allclose(pictures.real(pictures.shrinker()(frame)), view[0], atol=1e-6)


def test_views_stay_pictures() -> None:
    random = np.random.default_rng(1)
    one = random.integers(0, 256, (pictures.SIDE, pictures.SIDE, 3), np.uint8)
    views = [pictures.vary(one, random) for _ in range(5)]
    assert all(
        view.shape == one.shape and view.dtype == np.float32 and 0 <= view.min() < view.max() <= 1 for view in views
    )
    assert not np.array_equal(views[0], views[1])


# -- the teacher ---------------------------------------------------------------------------------------------------------


def test_labels_match_by_any_of_their_names() -> None:
    known = ["background", "tabby, tabby cat", "Hot-Dog", "dog"]
    assert distil.match_labels(known, ["tabby_cat", "hot dog"]) == {"tabby, tabby cat": 0, "Hot-Dog": 1}


@pytest.mark.parametrize(
    "name, labels, takes_pictures, why",
    [
        ("unheard-of", ["normal", "x"], False, "teacher: no model package"),
        ("arm-deviation", ["normal", "x"], True, "takes readings, your samples are pictures"),
        ("person-coarse", ["person", "x"], False, "takes pictures, your samples are readings"),
        ("arm-deviation", ["good", "worn"], False, "none of your labels .good, worn.*: normal, deviation"),
    ],
)
def test_a_teacher_that_cannot_teach_this_is_said_so(
    name: str, labels: list[str], takes_pictures: bool, why: str
) -> None:
    with pytest.raises(DataError, match=why):
        distil.open_teacher(name, labels, takes_pictures)


def test_a_classifier_adds_up_and_a_detector_counts_its_best() -> None:
    arm = distil.open_teacher("arm-deviation", ["collision", "normal", "odd"], pictures=False)
    assert distil.covered_labels(arm) == [0, 1]
    sure = [Finding("normal", 0.6), Finding("collision", 0.2), Finding("overspeed", 0.2)]
    assert distil.soft_labels(arm, sure) == pytest.approx([0.25, 0.75, 0])
    assert not distil.soft_labels(arm, [Finding("overspeed", 0.9), Finding("normal", 0.1)]).any()
    person = distil.open_teacher("person-coarse", ["nobody", "person"], pictures=True)
    assert distil.covered_labels(person) == [0, 1]
    two = [Finding("person", 0.6, Box(0, 0, 1, 1)), Finding("person", 0.7, Box(0, 0, 1, 1))]
    assert distil.soft_labels(person, two) == pytest.approx([0.3, 0.7])
    assert distil.soft_labels(person, []).tolist() == [1, 0]
    assert not np.isnan(distil.soft_labels(person, [Finding("person", float("nan"))])).any()


def test_soft_labels_are_the_teachers_logits_at_the_temperature() -> None:
    logits = np.random.default_rng(1).normal(0, 2, (20, 3))

    def softmax(values):
        return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(distil.soften(softmax(logits), range(3), 3.0), softmax(logits / 3.0), atol=1e-6)
    assert (distil.soften(np.array([[1.0, 0, 0]]), [0, 1], 2.0)[0] > 0).tolist() == [True, True, False]


def test_a_teacher_is_heard_only_where_it_is_right_or_nobody_knows() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1, -1])
    said = np.array([[0.9, 0.1], [0, 0], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9], [0.2, 0.8]], np.float32)
    wanted = distil.targets(labels, said, [0, 1])
    assert distil.agreement(labels, said, [0, 1]) == (4, 5)
    assert wanted[:, :2].sum(axis=1).tolist() == [0.5, 1, 1, 0.5, 0.5, 0.5, 0]
    assert (wanted[:, 2:].sum(axis=1) > 0).tolist() == [True, False, False, True, True, True, True]
    said[3] = said[2]  # now it is right in 3 of 5: not TRUSTED
    assert not distil.targets(labels, said, [0, 1])[6].any()
    assert not distil.is_trusted(0, 0)


def test_a_teacher_reads_as_in_a_lane() -> None:
    arm = distil.open_teacher("arm-deviation", ["normal", "deviation", "collision", "overspeed"], pictures=False)
    fault = {"kind": "deviation", "at_s": 0.1, "for_s": 1}
    lane = offline_lane(
        "arm", "sensor.sim_arm", {"faults": [fault]}, Perception(package.open_package(package.find("arm-deviation")))
    )
    samples, scores = [], []
    for sample, _ in islice(lane.play(Scene(Rules({}, {}))), 300):
        samples.append(sample.payload.copy())
        scores.append(lane.evidence or [])
    said = distil.recording_labeller(arm, lane.source.channels)(np.concatenate(samples))
    assert not said[:31].any() and said[31:].sum(axis=1) == pytest.approx(1, abs=1e-5)
    for evidence, row in zip(scores[31:], said[31:]):
        assert evidence[0].label == ("normal", "deviation", "collision", "overspeed")[row.argmax()]
    with pytest.raises(DataError, match="needs channel 'e1'"):
        distil.recording_labeller(arm, ("x", "y"))


def test_a_teacher_sees_as_in_a_lane() -> None:
    person = distil.open_teacher("person-coarse", ["nothing", "person"], pictures=True)
    shares = distil.picture_labeller(person)(np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8))
    assert shares.shape == (2,) and shares.sum() == pytest.approx(1)


# -- the road ------------------------------------------------------------------------------------------------------------


def run(capsys, *words: object) -> dict:
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def rules(label: str) -> Rules:
    config = Config.model_validate(
        {
            "node": "test",
            "lanes": {"own": {"source": {"driver": "sensor.sim"}, "model": "arm-deviation"}},
            "actuators": {"light": {"device": {"driver": "actuator.sim"}, "rest": "off"}},
            "rules": {
                "seen": {"any": [{"lane": "own", "label": label, "score": 0.6}], "actuator": "light", "verb": "on"}
            },
        }
    )
    return Rules(config.rules, {"light": "off"})


def verbs(place: Path, source: str, options: dict, label: str) -> list[str]:
    """What a lane with the new package makes the light do."""
    played = offline_lane("own", source, options, Perception(package.open_package(place))).play(Scene(rules(label)))
    return [one.verb for _, decisions in played for one in decisions]


def test_a_folder_of_recordings_becomes_a_lanes_decision(tensorflow, levels: Path, tmp_path: Path, capsys) -> None:
    words = ["--from-folder", levels, "--task", "sequence", "--epochs", 4, "--json", "--into"]
    told = run(capsys, *words, tmp_path / "out")
    place = tmp_path / "out" / "levels-model"
    assert told["package"] == str(place) and told["files"] == {"train": 8, "test": 4} and told["teacher"] is None
    networks = told["networks"]
    assert list(networks) == ["float", "pruned", "INT8"]
    assert networks["INT8"]["files_right"] == networks["INT8"]["files_of"] == 4
    assert networks["INT8"]["bytes"] < networks["pruned"]["bytes"] < networks["float"]["bytes"]
    text = (place / "CARD.md").read_text()
    assert f"{networks['INT8']['bytes']:,}" in text and (place / "confusion.png").stat().st_size > 1000
    assert package.compare_golden(package.open_package(place)) <= 1.0
    new = tmp_path / "new.csv"
    told = []
    for level in (-1.0, 1.0):
        recording(new, level, 100)
        told.append(new.read_text().splitlines())
        assert verbs(place, "sensor.replay", {"path": str(new), "rate_hz": 1000}, "high") == [
            "off" if level < 0 else "on"
        ]
    new.write_text("\n".join(told[0] + told[1][1:]))
    said = verbs(place, "sensor.replay", {"path": str(new), "rate_hz": 1000}, "high")
    assert (said[0], said[-1]) == ("off", "on")  # between them windows hold both levels: it may say either
    again = run(capsys, *words, tmp_path / "again")
    assert (place / "levels-model.tflite").read_bytes() == Path(again["package"], "levels-model.tflite").read_bytes()
    assert main([str(word) for word in (*words, tmp_path / "out")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_folder_of_pictures_and_clips_becomes_a_lanes_decision(
    tensorflow, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_FRAMES", 4)
    for number in range(6):
        red, blue = (40, 30, 220), (220, 40, 30)
        picture(tmp_path / f"lamps/red/{number}.png", red, number)
        picture(tmp_path / f"lamps/blue/{number}.jpg", blue, number + 50)
    film(
        tmp_path / "lamps/red/clip.avi",
        [np.full((48, 64, 3), (40, 20 + number, 210), np.uint8) for number in range(10)],
    )
    told = run(
        capsys,
        "--from-folder",
        tmp_path / "lamps",
        "--task",
        "classify",
        "--epochs",
        30,
        "--json",
        "--into",
        tmp_path,
        "--name",
        "lamp",
    )
    assert told["labels"] == ["blue", "red"] and told["capped"] == ["clips: at most 4 frames of each, evenly over it"]
    assert told["networks"]["INT8"]["files_right"] == told["networks"]["INT8"]["files_of"]
    ends = [np.full((48, 64, 3), colour, np.uint8) for colour in ((220, 40, 30), (40, 30, 220))]
    film(tmp_path / "new.avi", [ends[0]] * 10 + [ends[1]] * 10)
    assert verbs(tmp_path / "lamp", "camera.file", {"path": str(tmp_path / "new.avi")}, "red")[-2:] == ["off", "on"]


def test_a_teacher_speaks_about_what_has_no_label(tensorflow, tmp_path: Path, capsys) -> None:
    logging.getLogger("drivers.faults").setLevel(logging.ERROR)
    from drivers.sensor._arm import CHANNELS
    from models.train.arm_deviation.windows import KNOWN, run_of

    for seed in range(10):
        run_now = run_of(seed, 3.0, KNOWN, (1.0, 2.0))
        for label, number in (("normal", 0), ("deviation", 1)):
            rows = run_now.readings[run_now.labels == number]
            if len(rows) >= 60:
                save(tmp_path / "arm" / label / f"{seed}.csv", CHANNELS, rows[:200])
        save(tmp_path / "arm" / "unlabelled" / f"{seed}.csv", CHANNELS, run_now.readings[:1500])
    told = run(
        capsys,
        "--from-folder",
        tmp_path / "arm",
        "--task",
        "sequence",
        "--teacher",
        "arm-deviation",
        "--epochs",
        2,
        "--into",
        tmp_path,
        "--json",
    )
    assert list(told["networks"]) == ["float", "distilled", "pruned", "INT8"] and told["unlabelled"] == 10
    assert told["teacher"]["name"] == "arm-deviation" and told["teacher"]["labels"] == {"normal": 1, "deviation": 0}
    assert told["teacher"]["train_right"] > 0.8 * told["teacher"]["train_of"] > 0
    assert "It was believed about samples without a label" in (tmp_path / "arm-model/CARD.md").read_text()
    assert "taught by arm-deviation" in package.read(tmp_path / "arm-model").data


def save(path: Path, names: tuple[str, ...], rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows.round(3).tolist()])


def test_what_a_user_gets_wrong_is_one_line_and_exit_code_2(tensorflow, levels: Path, tmp_path: Path, capsys) -> None:
    def told(*words: object) -> str:
        assert main(["--from-folder", *map(str, words), "--into", str(tmp_path / "out")]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "high: no files (.jpg" in told(levels, "--task", "classify")
    assert "knows none of your labels (high, low)" in told(levels, "--task", "sequence", "--teacher", "arm-deviation")
    assert "is no good name" in told(levels, "--task", "sequence", "--name", "../x")
    recording(levels / "low/odd.csv", 0.0, names=("x", "z"))
    assert "odd.csv: other channels than" in told(levels, "--task", "sequence")


def test_the_losses_gradient_is_hintons(tensorflow) -> None:
    """dC/dz of the soft part is (q - p) / T each, times T^2: Hinton et al. 2015, equation 2."""
    logits = np.random.default_rng(1).normal(0, 1, (4, 3)).astype(np.float32)
    soft = np.array([[0.6, 0.3, 0.1]] * 4, np.float32)
    temperature = 3.0
    wanted = np.concatenate([np.zeros_like(soft), soft * temperature**2], axis=1)
    with tensorflow.GradientTape() as tape:
        z = tensorflow.Variable(logits)
        tape.watch(z)
        loss = distil.loss(temperature)(wanted, tensorflow.nn.softmax(z))
    q = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tape.gradient(loss, z), (q - soft) * temperature, atol=1e-4)


def test_without_the_extra_the_message_says_what_to_install(levels: Path, monkeypatch, capsys) -> None:
    def missing(name: str):
        raise ModuleNotFoundError("no tensorflow", name="tensorflow")

    monkeypatch.setattr("models.train.__main__.importlib.import_module", missing)
    assert main(["--from-folder", str(levels), "--task", "sequence"]) == 2
    assert "training needs tensorflow: VENV=.venv-train scripts/setup train" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["folder"],
        ["evaluate"],
        ["--from-folder", "x"],
        ["arm-deviation", "--from-folder", "x"],
        ["--from-folder", "x", "--task", "detect"],
    ],
)
def test_words_that_make_no_command_are_refused(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2 and "usage" in capsys.readouterr().err


def test_the_readmes_recordings_can_be_learned_from(tmp_path: Path, monkeypatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setattr("sys.argv", ["record.py", str(tmp_path / "cell")])
    before = logging.root.manager.disable
    try:
        exec(compile(source, "README.md", "exec"), {})
    finally:
        logging.disable(before)
    labels, listed = files.listing(tmp_path / "cell", readings.SUFFIXES, 7)
    assert labels == ["deviation", "normal", "overspeed"]
    assert [sum(file.label == label for file in listed) for label in (-1, 0, 1, 2)] == [16, 16, 16, 16]
    lengths = [len(readings.read(file.path)[1]) for file in listed]
    assert readings.window_length(listed, lengths) == readings.LENGTH
