"""Recordings of lanes with gates, crops and a refining model replay exactly, whether it had time to run or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.recorder.recording import read
from tests.processes import Cell, arm
from tests.recordings import files, recorded, replayed
from tests.waiting import until

PERSON = {"lane": "cam", "label": "person", "score": 0.6, "within_ms": 2000}


def lane(**more: Any) -> dict[str, Any]:
    return {
        "source": {"driver": "camera.sim", "width": 320, "height": 240, "fps": 25},
        "model": "person-coarse",
        **more,
    }


def recorded_and_replayed(cell: Cell) -> tuple[dict[str, Any], dict[str, int]]:
    """The report of a replay of some seconds of the lane, and the lane's counters."""
    cell.config["state_dir"] = str(cell.folder / "state")
    host = cell.actuate()
    daemon = cell.run()
    until(lambda: files(cell.folder / "state"), cell.logs)
    name = next(iter(cell.config["lanes"]))
    cell.wait_for_count(name, "samples", 150 if name == "cam" else 2500)
    counts = cell.counts(name)
    daemon.stop()
    host.stop()
    code, text = replayed(recorded(cell), "--json")
    assert code == 0, text
    return json.loads(text), counts


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.slow
def test_a_gated_camera(tmp_path: Path, crop: bool, pictures: bool) -> None:
    """With a zone, so that a box mapped back from the wrong part of the frame would lead to other decisions."""
    zones = {"right": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]}
    gated = lane(gate={"keyframe": {}, "motion": {"crop": crop}}, zones=zones)
    with Cell(tmp_path, {"cam": gated}) as cell:
        cell.config["rules"] = {"right": {"any": [PERSON | {"zone": "right"}], "actuator": "robot", "verb": "stop"}}
        cell.config["recorder"] = {"pictures": pictures}
        report, counts = recorded_and_replayed(cell)
    assert report["differences"] == [] and report["decisions"] >= 2
    assert counts["gated"] > 20 and 10 < report["inferences"] < report["samples"]


@pytest.mark.parametrize("budget_ms, refine_skipped", [(1000.0, False), (0.001, True)])
@pytest.mark.slow
def test_a_refining_model_that_had_time_or_not(tmp_path: Path, budget_ms: float, refine_skipped: bool) -> None:
    refine = {"model": "person-coarse", "label": "person", "pad": 0.5}
    with Cell(tmp_path, {"cam": lane(refine=refine, budget_ms=budget_ms)}) as cell:
        cell.config["rules"] = {"person": {"any": [PERSON], "actuator": "robot", "verb": "stop"}}
        report, _ = recorded_and_replayed(cell)
        messages = [message for _, message in read(recorded(cell)).messages]
    assert report["differences"] == []
    assert any(message["refine_skipped"] for message in messages) is refine_skipped
    assert any(message["refined"] for message in messages) is not refine_skipped
    marks = {item["mark"] for message in messages for item in message["evidence"]}
    assert ("coarse" in marks) is refine_skipped


def test_gated_readings(tmp_path: Path) -> None:
    """Of a healthy arm within its bounds few readings are inferred; of one that leaves its plan every reading."""
    made = arm(faults=[{"kind": "deviation", "at_s": 1.5, "for_s": 0.4}])
    made["gate"] = {
        "outlier": {"e1": {"center": 0.0, "tolerance": 1.0}},
        "idle_interval_ms": 50,
        "active_interval_ms": 50,
    }
    with Cell(tmp_path, {"arm": made}) as cell:
        condition = {"lane": "arm", "label": "deviation", "score": 0.7, "hits": 2, "of": 3}
        cell.config["rules"] = {"off": {"any": [condition], "actuator": "robot", "verb": "stop"}}
        report, counts = recorded_and_replayed(cell)
        assert "stop" in cell.verbs()
    assert report["differences"] == [] and counts["gated"] > 100
