"""Lanes of a daemon with heads: recorded and replayed to the bit, whichever heads were in memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent.control.client import ask
from agent.packages import package
from agent.recorder.recording import read
from tests.processes import Cell
from tests.recordings import files, recorded, replayed
from tests.waiting import until

HEADS = {"person-head": {}, "view-head": {"when": "person", "score": 0.5, "idle_s": 30}}
SOURCE = {"driver": "camera.sim", "width": 320, "height": 240, "fps": 25}

NIGHT = """\
from pathlib import Path
from drivers.camera import sim
Options = sim.Options
class Driver(sim.Driver):
    def read(self, wait_s):
        sample = super().read(wait_s)
        night = Path(__file__).with_name("dark").exists()
        return sample._replace(payload=sample.payload // 200) if sample and night else sample
"""


def cell(folder: Path, heads: dict[str, Any]) -> Cell:
    made = Cell(folder, {"cam": {"source": SOURCE, "model": "person-trunk", "heads": heads}})
    condition = {"lane": "cam", "label": "person", "score": 0.6, "within_ms": 2000}
    made.config["rules"] = {"person": {"any": [condition], "actuator": "robot", "verb": "stop"}}
    made.config["state_dir"] = str(folder / "state")
    return made


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.slow
def test_a_recording_with_a_head_on_demand_replays_exactly(tmp_path: Path, pictures: bool) -> None:
    with cell(tmp_path, HEADS) as made:
        made.config["recorder"] = {"pictures": pictures}
        host, daemon = made.actuate(), made.run()
        until(lambda: files(tmp_path / "state"), made.logs)
        until(lambda: _heads(made).get("view-head", {}).get("loaded"), made.logs)
        made.wait_for_count("cam", "samples", made.counts("cam")["samples"] + 50)
        assert _heads(made)["person-head"] == {"loaded": True, "on_demand": False}
        daemon.stop()
        host.stop()
        code, text = replayed(recorded(made), "--json")
        messages = [message for _, message in read(recorded(made)).messages if message["inferred"]]
    assert code == 0, text
    report = json.loads(text)
    assert report["differences"] == [] and report["decisions"] >= 1
    ran = [message["heads"] for message in messages]
    assert ran[0] == 1 and ran[-1] == 3  # the second was not in memory at first
    shapes = [[tensor["shape"] for tensor in message["outputs"]] for message in messages]
    assert all(each == [[1, 16, 16, 1], [1, 4]] for each in shapes)  # what is between the models is not kept
    assert all(len(message["inputs"]) == int(pictures) for message in messages)


def _heads(made: Cell) -> dict[str, Any]:
    lanes = (ask(made.run_dir, {"do": "status"}) or {}).get("lanes", {})
    heads: dict[str, Any] = lanes.get("cam", {}).get("heads", {})
    return heads


@pytest.mark.slow
def test_a_head_that_is_gone_when_it_is_needed_is_a_fault_of_its_lane(tmp_path: Path) -> None:
    """Not a lane that goes on without it: its rules would hold no more, and nobody would know why."""
    driver = tmp_path / "own" / "night.py"
    driver.parent.mkdir()
    driver.write_text(NIGHT)
    copy = Path(shutil.copytree(package.find("person-head"), tmp_path / "person-head-2"))
    with cell(tmp_path, {"view-head": {}, str(copy): {"when": "dark", "idle_s": 0}}) as made:
        made.config["lanes"]["cam"]["source"] = {**SOURCE, "driver": "own.night", "frozen_ms": 0}
        _, daemon = made.start_both()
        made.wait_for_count("cam", "inferences", 5)
        hidden = copy.rename(tmp_path / "elsewhere")
        driver.with_name("dark").touch()
        assert "model person-head-2: it cannot be loaded again" in daemon.wait_for("trying again until it is back")
        hidden.rename(copy)
        daemon.wait_for(" is back", times=2)  # the first line says until when it is tried again
