"""From a user's folder to a package that a lane runs, by the command line."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.config.models import Config
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from models.train.__main__ import main
from models.train.folder import pictures
from tests.training_data import film, recording, write_levels


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    return write_levels(tmp_path / "levels")


def picture(path: Path, colour: tuple[int, int, int], seed: int) -> np.ndarray:
    frame = np.full((48, 64, 3), colour, np.uint8)
    frame[: seed % 20 + 5] = np.random.default_rng(seed).integers(0, 80, (seed % 20 + 5, 64, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), frame)
    return frame


def run(capsys, *arguments: object) -> dict:
    assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
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
    """The commands of a lane with the new package to the light."""
    played = offline_lane("own", source, options, Perception(package.open_package(place))).play(Scene(rules(label)))
    return [decision.verb for _, decisions in played for decision in decisions]


def test_a_package_from_recordings_decides_in_a_lane(tensorflow, levels: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--from-folder", levels, "--task", "sequence", "--epochs", 4, "--json", "--into"]
    figures = run(capsys, *arguments, tmp_path / "out")
    place = tmp_path / "out" / "levels-model"
    assert (
        figures["package"] == str(place) and figures["files"] == {"train": 8, "test": 4} and figures["teacher"] is None
    )
    networks = figures["networks"]
    assert list(networks) == ["float", "pruned", "INT8"]
    assert networks["INT8"]["files_right"] == networks["INT8"]["files_of"] == 4
    assert networks["INT8"]["bytes"] < networks["pruned"]["bytes"] < networks["float"]["bytes"]
    text = (place / "CARD.md").read_text()
    assert f"{networks['INT8']['bytes']:,}" in text and (place / "confusion.png").stat().st_size > 1000
    assert package.compare_golden(package.open_package(place)) <= 1.0
    new = tmp_path / "new.csv"
    recordings = []
    for level in (-1.0, 1.0):
        recording(new, level, 100)
        recordings.append(new.read_text().splitlines())
        assert verbs(place, "sensor.replay", {"path": str(new), "rate_hz": 1000}, "high") == [
            "off" if level < 0 else "on"
        ]
    new.write_text("\n".join(recordings[0] + recordings[1][1:]))
    commands = verbs(place, "sensor.replay", {"path": str(new), "rate_hz": 1000}, "high")
    assert (commands[0], commands[-1]) == ("off", "on")  # windows between them contain both levels: either is right
    again = run(capsys, *arguments, tmp_path / "again")
    assert (place / "levels-model.tflite").read_bytes() == Path(again["package"], "levels-model.tflite").read_bytes()
    assert main([str(argument) for argument in (*arguments, tmp_path / "out")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.long
def test_a_package_from_pictures_and_clips_decides_in_a_lane(tensorflow, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "MAX_FRAMES", 4)
    for number in range(6):
        red, blue = (40, 30, 220), (220, 40, 30)
        picture(tmp_path / f"lamps/red/{number}.png", red, number)
        picture(tmp_path / f"lamps/blue/{number}.jpg", blue, number + 50)
    film(
        tmp_path / "lamps/red/clip.avi",
        [np.full((48, 64, 3), (40, 20 + number, 210), np.uint8) for number in range(10)],
    )
    figures = run(
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
    assert figures["labels"] == ["blue", "red"] and figures["capped"] == [
        "clips: at most 4 frames of each, evenly over it"
    ]
    assert figures["networks"]["INT8"]["files_right"] == figures["networks"]["INT8"]["files_of"]
    ends = [np.full((48, 64, 3), colour, np.uint8) for colour in ((220, 40, 30), (40, 30, 220))]
    film(tmp_path / "new.avi", [ends[0]] * 10 + [ends[1]] * 10)
    assert verbs(tmp_path / "lamp", "camera.file", {"path": str(tmp_path / "new.avi")}, "red")[-2:] == ["off", "on"]


def test_a_teacher_labels_unlabelled_files(tensorflow, tmp_path: Path, capsys, caplog) -> None:
    caplog.set_level(logging.ERROR, "drivers.faults")
    from drivers.sensor._arm import CHANNELS
    from models.train.arm_deviation.windows import KNOWN, draw_run

    for seed in range(10):
        arm_run = draw_run(seed, 3.0, KNOWN, (1.0, 2.0))
        for label, number in (("normal", 0), ("deviation", 1)):
            rows = arm_run.readings[arm_run.labels == number]
            if len(rows) >= 60:
                save(tmp_path / "arm" / label / f"{seed}.csv", CHANNELS, rows[:200])
        save(tmp_path / "arm" / "unlabelled" / f"{seed}.csv", CHANNELS, arm_run.readings[:1500])
    figures = run(
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
    assert list(figures["networks"]) == ["float", "distilled", "pruned", "INT8"] and figures["unlabelled"] == 10
    assert figures["teacher"]["name"] == "arm-deviation" and figures["teacher"]["labels"] == {
        "normal": 1,
        "deviation": 0,
    }
    assert figures["teacher"]["train_right"] > 0.8 * figures["teacher"]["train_of"] > 0
    assert "It was used for samples without a label" in (tmp_path / "arm-model/CARD.md").read_text()
    assert "taught by arm-deviation" in package.read(tmp_path / "arm-model").data


def save(path: Path, names: tuple[str, ...], rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows.round(3).tolist()])


def test_a_mistake_of_the_user_is_one_line_and_exit_code_2(tensorflow, levels: Path, tmp_path: Path, capsys) -> None:
    def message(*arguments: object) -> str:
        assert main(["--from-folder", *map(str, arguments), "--into", str(tmp_path / "out")]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "high: no files (.jpg" in message(levels, "--task", "classify")
    assert "knows none of your labels (high, low)" in message(
        levels, "--task", "sequence", "--teacher", "arm-deviation"
    )
    assert "is not a valid package name" in message(levels, "--task", "sequence", "--name", "../x")
    recording(levels / "low/odd.csv", 0.0, names=("x", "z"))
    assert "odd.csv: other channels than" in message(levels, "--task", "sequence")


def test_a_missing_training_library_is_reported_with_the_command_to_install_it(
    levels: Path, monkeypatch, capsys
) -> None:
    def missing(name: str):
        raise ModuleNotFoundError("no tensorflow", name="tensorflow")

    monkeypatch.setattr("models.train.__main__.importlib.import_module", missing)
    assert main(["--from-folder", str(levels), "--task", "sequence"]) == 2
    assert "training needs tensorflow: VENV=.venv-train scripts/setup train" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["folder"],
        ["evaluate"],
        ["--from-folder", "x"],
        ["arm-deviation", "--from-folder", "x"],
        ["--from-folder", "x", "--task", "detect"],
    ],
)
def test_invalid_arguments_are_refused(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2 and "usage" in capsys.readouterr().err
