"""A model that wants its readings at a lower rate than the source: `check`, a lane, its tape, a replay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agent.packages import package
from agent.recorder import strip
from agent.recorder.recording import Recording, read
from agent.recorder.tape_reader import TapeReader
from agent.replay.compare import replay
from agent.tapes.format import TapeHeader
from agent.tapes.tapes import Tapes
from drivers.sensor import sim
from tests.processes import arm
from tests.recordings import arm_cell, arm_engine, recorded, replayed, start_recording
from tests.test_check import has, problems

CHANNELS = package.read(package.find("arm-deviation")).window.channels  # type: ignore[union-attr]


def slow_arm(folder: Path, rate_hz: float, hop: int = 1) -> Path:
    """arm-deviation, as if it were trained at this rate."""
    place = folder / "slow-arm"
    shutil.copytree(package.find("arm-deviation"), place)
    text = (place / "manifest.yaml").read_text()
    (place / "manifest.yaml").write_text(text.replace("  hop: 1\n", f"  hop: {hop}\n  rate_hz: {rate_hz}\n"))
    return place


def test_a_lane_with_a_faster_source_infers_at_the_models_rate_and_replays_exactly(tmp_path: Path) -> None:
    with arm_cell(tmp_path) as cell:
        cell.config["lanes"]["arm"] = {**arm(fault_every_s=1), "model": str(slow_arm(tmp_path, 400.0, hop=3))}
        daemon = start_recording(cell)
        cell.wait_for("stop")
        cell.wait_for_count("arm", "decisions", 4)
        assert daemon.stop() == 0
        counts = cell.counts("arm")
        report = json.loads(replayed(recorded(cell), "--json")[1])
        assert report["differences"] == [] and report["decisions"] >= 4 and report["lost"] == 0
        assert report["inferences"] == counts["inferences"] < 0.14 * counts["samples"]
        contents = read(recorded(cell))
        for missing in (500, 501, 502, 503):  # a file that begins in the middle, at any phase of hop and filter
            header = {**contents.header, "lost_before": "1"}
            report = replay(contents._replace(header=header, messages=contents.messages[missing:]))
            assert report.differences == [] and report.compared > 100
        messages = [message for lane, message in read(recorded(cell)).messages if lane == "arm"]
        assert messages and {message["rate_hz"] for message in messages} == {1000.0}


def lane(model: Path, rate_hz: float) -> dict:
    source = {"driver": "sensor.sim", "rate_hz": rate_hz, "channels": {name: {} for name in CHANNELS}}
    return {"arm": {"source": source, "model": str(model)}}


@pytest.mark.parametrize(
    "rate_hz, words",
    [
        (100, "wants 400 readings a second, the source gives 100: set its rate_hz to 400 or more"),
        (395, ""),
        (400, ""),
        (1000, ""),
    ],
)
def test_check_refuses_a_source_slower_than_the_model(tmp_path: Path, rate_hz: float, words: str) -> None:
    found = problems(tmp_path, lanes=lane(slow_arm(tmp_path, 400.0), rate_hz))
    assert has(found, *([words] if words else [])) and len(found) <= 1


def test_check_reads_the_rate_of_a_recording(tmp_path: Path) -> None:
    rows = "".join(f"{number / 50:.3f}" + ",0" * len(CHANNELS) + "\n" for number in range(60))
    (tmp_path / "a.csv").write_text(",".join(["t_s", *CHANNELS]) + "\n" + rows)
    for pace in ("real", "fast"):
        source = {"driver": "sensor.replay", "path": str(tmp_path / "a.csv"), "pace": pace}
        place = tmp_path / pace
        place.mkdir()
        lanes = {"arm": {"source": source, "model": str(slow_arm(place, 400.0))}}
        assert has(problems(tmp_path, lanes=lanes), "the source gives 50: set its rate_hz to 400 or more")


def test_a_tape_states_the_rate_and_another_begins_where_the_source_returns_with_another(tmp_path: Path) -> None:
    tapes, engine = Tapes(tmp_path, "arm", recorded=True, pictures=False), arm_engine()

    def source(rate_hz: float) -> sim.Driver:
        driver = sim.Driver(sim.Options.model_validate({"rate_hz": rate_hz, "channels": {"a": {}}}))
        driver.open()
        return driver

    tapes.open([engine], source(100.0))
    first, reader = tapes.tape, TapeReader(tapes.path)
    assert reader.header == TapeHeader("arm", ["a"], [], [], 100.0)
    tapes.open([engine], source(100.0))
    assert tapes.tape is first
    tapes.open([engine], source(50.0))
    assert tapes.tape and tapes.tape is not first
    newest = TapeReader(tapes.path)
    assert newest.header.rate_hz == 50.0 and newest.started != reader.started
    for each in (tapes.tape, reader, newest):
        each.close()
    tapes.close()


def test_a_file_keeps_the_rate_of_each_part_also_without_its_pictures(tmp_path: Path) -> None:
    message = {"sequence": 1, "order": 1}
    path = tmp_path / "recordings" / "a.mcap"
    path.parent.mkdir()
    with open(path, "wb") as file:
        written = Recording(file, {"config": "{}"})
        for rate_hz in (100.0, 50.0, 100.0):
            written.add(TapeHeader("arm", ["a"], [], [], rate_hz), message, 1)
        written.close()
    assert [message["rate_hz"] for _, message in read(path).messages] == [100.0, 50.0, 100.0]
    assert strip._strip(path)
    assert [message["rate_hz"] for _, message in read(path).messages] == [100.0, 50.0, 100.0]
