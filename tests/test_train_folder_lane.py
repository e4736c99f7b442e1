"""Groups, events and a rate of its own: from a folder by the command line to a lane, and measured on new recordings."""

from __future__ import annotations

import logging
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.scene import Scene
from drivers.base import DeviceFault
from models.train.__main__ import main
from models.train.folder import files, groups, readings
from models.train.folder.options import Marks
from tests.shared import ROOT
from tests.test_train_from_folder import rules, run, verbs
from tests.training_data import timed, write_falls

README = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
MARKS = ["--group", "(p[0-9]+)", "--events", "fall"]


def fall(path: Path, rate_hz: float) -> Path:
    """A walk of 4 s with a fall from 2 s to 3 s, of a person of whom nothing was learned."""
    values = np.random.default_rng(1000).normal(-1.0, 0.2, (round(4 * rate_hz), 2))
    values[round(2 * rate_hz) : round(3 * rate_hz)] += 2.0
    return timed(path, values, rate_hz)


@pytest.mark.slow
def test_a_package_for_a_lower_rate_decides_in_a_lane_with_a_faster_source(tensorflow, tmp_path: Path, capsys) -> None:
    data = write_falls(tmp_path / "data", rate_hz=200.0)
    window = ["--rate-hz", 50, "--window-ms", 400, "--hop", 2]
    made = ["--from-folder", data, "--task", "sequence", *MARKS, *window, "--epochs", 4, "--json", "--into", tmp_path]
    figures = run(capsys, *made)
    place = tmp_path / "data-model"
    assert figures["labels"] == ["walk", "fall"] and figures["files"] == {"train": 8, "test": 4}
    assert len(figures["groups"]) == 2 and figures["networks"]["INT8"]["files_of"] == 8
    for group in figures["groups"].values():
        assert group["files_of"] == 4 and group["right"] > 0.9 * group["of"]
        assert group["interval_95"][0] < group["right"] / group["of"] <= group["interval_95"][1]
    described = package.read(place).window
    assert described and (described.rate_hz, described.length, described.hop) == (50.0, 20, 2)
    text = (place / "CARD.md").read_text()
    held_out = ", ".join(figures["groups"])
    assert f"Whole groups were held out, at random: {held_out}; learned from: 4 others." in text
    assert "--group '(p[0-9]+)' --events fall --window-ms 400 --rate-hz 50 --hop 2" in text
    for rate_hz in (50.0, 200.0, 330.0):
        source = {"path": str(fall(tmp_path / f"{rate_hz:g}.csv", rate_hz))}
        assert verbs(place, "sensor.replay", source, "fall") == ["off", "on", "off"]
    slow = {"path": str(fall(tmp_path / "slow.csv", 40.0))}
    lane = offline_lane("own", "sensor.replay", slow, Perception(package.open_package(place)))
    with pytest.raises(DeviceFault, match="data-model wants 50 readings a second, the source gives 40: set its rate"):
        list(lane.play(Scene(rules("fall"))))
    again = write_falls(tmp_path / "again", people=2, rate_hz=1000.0)
    measured = run(capsys, "evaluate", "--package", place, "--data", again, "--group", "(p[0-9]+)", "--json")
    assert measured["files_right"] == measured["files_of"] == 8 and list(measured["groups"]) == ["p0", "p1"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--group", "(q[0-9]+)"], r"--group '\(q\[0-9\]\+\)' matches none of 12 files"),
        (["--group", "(walk)"], "all files are in the one group 'walk': whole groups are held out"),
        (["--events", "trip"], "p0-0.events.csv:2: unknown label 'fall'; known are walk, trip"),
        ([*MARKS, "--rate-hz", "150"], "p0-0.csv: 100 readings a second; --rate-hz 150 needs as many or more"),
        ([*MARKS, "--recorded-hz", "50"], "100 readings a second by its column t_s, but --recorded-hz 50"),
        ([*MARKS, "--length", "7"], "a window of 7 readings: 8 to 4,096 are possible"),
        ([*MARKS, "--window-ms", "5000"], "400 readings in a row at 100 Hz; a recording needs 500 or more"),
        ([*MARKS, "--label-column", "z"], "--label-column z: no file has this column"),
    ],
)
def test_a_mistake_is_one_line(tensorflow, tmp_path: Path, capsys, arguments: list[str], words: str) -> None:
    data = write_falls(tmp_path / "data")
    if arguments[:2] != MARKS[:2] and "--events" not in arguments:
        arguments = [*arguments, "--events", "fall"]
    assert main(["--from-folder", str(data), "--task", "sequence", "--into", str(tmp_path / "out"), *arguments]) == 2
    assert not (tmp_path / "out").exists()
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(words, last), last


def test_pictures_take_no_options_of_readings(tensorflow, tmp_path: Path, capsys) -> None:
    for option in (["--rate-hz", "50"], ["--events", "fall"], ["--hop", "2"]):
        assert main(["--from-folder", str(tmp_path), "--task", "classify", "--into", str(tmp_path / "x"), *option]) == 2
        assert "--task classify takes none of their options" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rate-hz=0", "--window-ms=x", "--length=0", "--hop=-1", "--recorded-hz=nan"])
def test_a_number_out_of_range_is_refused(option: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--from-folder", "x", "--task", "sequence", option])
    assert f"argument {option.split('=')[0]}: '" in capsys.readouterr().err


def record(folder: Path, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the README's script."""
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.setattr("sys.argv", ["record.py", str(folder), str(first)])
    before = logging.root.manager.disable
    try:
        exec(compile(source, "models/README.md", "exec"), {})
    finally:
        logging.disable(before)


def commands() -> list[list[str]]:
    """The README's calls of models.train on its example."""
    lines = re.findall(r"^\$ \S+ -m models.train (.*)$", README.replace("\\\n", ""), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_recordings_of_the_readme_can_be_learned_from(tmp_path: Path, monkeypatch) -> None:
    record(tmp_path / "cell", 0, monkeypatch)
    train, evaluate = commands()
    group, events = train[train.index("--group") + 1], train[train.index("--events") + 1].split(",")
    assert group == evaluate[evaluate.index("--group") + 1] and train[train.index("--from-folder") + 1] == "cell"
    labels, listed = files.list_files(tmp_path / "cell", readings.SUFFIXES, 7, events)
    named = groups.name_groups(listed, tmp_path / "cell", group)
    assert labels == ["normal", "deviation", "overspeed"] and len({file.group for file in named}) == 8
    read = readings.read_all(named, labels, Marks(events=tuple(events)), 250.0)
    assert {round(each.rate_hz) for each in read} == {1000} and sum(file.label < 0 for file in named) == 16
    split = groups.hold_out(named, [set(each.labels.tolist()) for each in read], labels, 7)
    assert len({file.group for file in split if file.test}) == 2


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_run(tensorflow, tmp_path: Path, monkeypatch, capsys) -> None:
    record(tmp_path / "cell", 0, monkeypatch)
    record(tmp_path / "elsewhere", 8, monkeypatch)
    train, evaluate = commands()
    monkeypatch.chdir(tmp_path)
    figures = run(capsys, *train, "--epochs", 1, "--json")
    assert len(figures["groups"]) == 2 and figures["teacher"]["name"] == "arm-deviation"
    measured = run(capsys, *evaluate, "--json")
    assert len(measured["groups"]) == 8 and measured["right"] > 0.8 * measured["of"]
    with np.load(tmp_path / "cell-model" / "golden.npz") as golden:
        assert golden["input_0"].shape[1:] == (16, 12)
