"""A package measured on a folder of the user's files: `evaluate --package DIR --data FOLDER`, without TensorFlow."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.packages import package
from drivers.faults import Fault
from drivers.sensor._arm import CHANNELS, LABELS, simulate
from drivers.sensor._arm_plan import Setting
from models.train.__main__ import main
from models.train.card import wilson
from models.train.folder.evaluate import _alarms


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs of two arms at 1 kHz with a collision in each second one, as an event."""
    folder = tmp_path_factory.mktemp("arms")
    for number in range(4):
        faults = [Fault(kind="deviation", at_s=0.5, for_s=0.3)] if number % 2 else []
        run = simulate(Setting(), 1.0, faults, number)
        path = folder / "normal" / f"arm{number // 2}-{number}.csv"
        path.parent.mkdir(exist_ok=True)
        rows = np.column_stack([np.arange(len(run.readings)) / 1000, run.readings])
        np.savetxt(path, rows, "%.3f", ",", header=",".join(["t_s", *CHANNELS]), comments="")
        during = np.flatnonzero(run.labels == LABELS.index("deviation"))
        if len(during):
            event = f"start_s,end_s,label\n{during[0] / 1000},{(during[-1] + 1) / 1000},deviation\n"
            path.with_suffix(".events.csv").write_text(event)
    return folder


def run(capsys, *arguments: object) -> dict:
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_package_for_readings(arms: Path, capsys) -> None:
    figures = run(capsys, "--package", "arm-deviation", "--data", arms, "--group", "(arm[0-9])")
    assert figures["files"] == 4 and figures["files_of"] == 6  # and two events
    assert figures["files_right"] >= 5 and figures["right"] > 0.9 * figures["of"]
    assert figures["labels"]["deviation"]["deviation"] > 200
    groups = figures["groups"]
    assert list(groups) == ["arm0", "arm1"] and sum(group["of"] for group in groups.values()) == figures["of"]
    low, high = wilson(groups["arm0"]["right"], groups["arm0"]["of"])
    assert f"({100 * low:.2f} to {100 * high:.2f}, " in groups["arm0"]["samples_share"]
    assert 0 < figures["false_alarms"]["hours"] < 4 / 3600
    assert main(["evaluate", "--package", "arm-deviation", "--data", str(arms)]) == 0
    assert "samples_share" in capsys.readouterr().out


def test_a_package_reads_faster_recordings_at_its_own_rate(arms: Path, tmp_path: Path, capsys) -> None:
    """As fast as arm-deviation thinks: a window of 32 readings lasts four times as long, and fewer are due."""
    shutil.copytree(package.find("arm-deviation"), tmp_path / "slow")
    text = (tmp_path / "slow" / "manifest.yaml").read_text()
    (tmp_path / "slow" / "manifest.yaml").write_text(text.replace("  hop: 1\n", "  hop: 1\n  rate_hz: 250\n"))
    whole = run(capsys, "--package", "arm-deviation", "--data", arms)
    figures = run(capsys, "--package", tmp_path / "slow", "--data", arms)
    assert 0.15 * whole["of"] < figures["of"] < 0.26 * whole["of"]
    (tmp_path / "slow" / "manifest.yaml").write_text(text.replace("  hop: 1\n", "  hop: 1\n  rate_hz: 2000\n"))
    assert main(["evaluate", "--package", str(tmp_path / "slow"), "--data", str(arms)]) == 2
    error = capsys.readouterr().err
    assert "arm0-0.csv: model slow wants 2000 readings a second, the source gives 1000\n" in error


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda data: (data / "normal").rename(data / "usual"), "sub-folder 'usual' is no label of the package"),
        (lambda data: shutil.rmtree(data / "normal"), "no sub-folder that names a label; its labels are normal"),
        (lambda data: shutil.rmtree(data), "no such folder"),
        (lambda data: [path.unlink() for path in (data / "normal").iterdir()], r"no files \(.csv\)"),
        (lambda data: (data / "normal" / "arm0-0.csv").write_text("t_s,x\n0,1\n1,2\n"), "other channels than"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line(arms: Path, tmp_path: Path, capsys, harm, words: str) -> None:
    data = tmp_path / "data"
    shutil.copytree(arms, data)
    harm(data)
    assert main(["evaluate", "--package", "arm-deviation", "--data", str(data)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(words, error), error


def test_recordings_shorter_than_the_window_and_other_channels(arms: Path, tmp_path: Path, capsys) -> None:
    short = tmp_path / "normal" / "a.csv"
    short.parent.mkdir()
    lines = (arms / "normal" / "arm0-0.csv").read_text().splitlines()
    short.write_text("\n".join(lines[:20]))
    assert main(["evaluate", "--package", "arm-deviation", "--data", str(tmp_path)]) == 2
    assert "a.csv: shorter than the window of arm-deviation, 32 readings" in capsys.readouterr().err
    short.write_text("t_s,x\n" + "".join(f"{number / 1000},0\n" for number in range(50)))
    assert main(["evaluate", "--package", "arm-deviation", "--data", str(tmp_path)]) == 2
    assert "a.csv: the model needs channel 'e1'; the source has x" in capsys.readouterr().err


def test_a_package_for_pictures(tmp_path: Path, capsys) -> None:
    for number in range(3):
        path = tmp_path / "person" / f"day{number % 2}-{number}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((96, 96, 3), 40 * number, np.uint8))
    figures = run(capsys, "--package", "person-coarse", "--data", tmp_path, "--group", "(day[0-9])")
    assert figures["files"] == figures["of"] == 3 and list(figures["groups"]) == ["day0", "day1"]
    assert main(["evaluate", "--package", "person-coarse", "--data", str(tmp_path), "--events", "x"]) == 2
    assert "reads pictures: events and rates are of readings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["evaluate", "--package", "x"], ["--package", "x"], ["arm-deviation", "--package", "x", "--data", "y"]],
)
def test_a_package_needs_data(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--package is for: evaluate --package DIR --data FOLDER" in capsys.readouterr().err


def test_a_false_alarm_is_counted_where_it_begins() -> None:
    predicted, labels = np.array([1, 1, 0, 1, 2, 0, 1, 1]), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    assert _alarms(predicted, labels, 0) == 2
