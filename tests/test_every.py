"""`every: n`: a lane that infers on every n-th picture, or reading that is due; the others are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent import ledger, ledger_text
from agent.build import open_models
from agent.config.models import LaneConfig
from agent.field.lanes import LaneStatus
from agent.field.status import drops
from agent.lane import Lane
from agent.metrics import LedgerCollector
from agent.offline import offline_lane
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from tests.processes import arm, camera
from tests.recordings import arm_cell, recorded, replayed, start_recording
from tests.shared import mistakes

FACTS: dict[str, Any] = dict.fromkeys(("name", "state", "reason", "model", "driver"), "floor")
FACTS |= {"critical": True, "budget_ms": 10.0}


def lane(section: dict[str, Any], driver: str, **options: Any) -> Lane:
    perception = open_models(LaneConfig.model_validate(section), Path())
    return offline_lane("lane", driver, options, perception)


def inferred(made: Lane, samples: int) -> list[bool]:
    """Of the first samples."""
    scene, outcomes = Scene(Rules({}, {})), []
    for _ in made.play(scene):
        outcomes.append(made.evidence is not None)
        if len(outcomes) == samples:
            break
    made.source.close()
    return outcomes


def test_every_third_picture_is_inferred_and_the_others_are_passed_over() -> None:
    made = lane({**camera(), "every": 3}, "camera.sim", width=160, height=120, pictures=3)
    assert inferred(made, 9) == [True, False, False] * 3
    assert made.perception.thinned and not made.perception.shed


def test_every_reading_is_in_the_window_whether_it_is_inferred_or_not() -> None:
    every, third = (lane({**arm(), "every": n}, "sensor.sim_arm", fault_every_s=0.05) for n in (1, 3))
    scenes = [Scene(Rules({}, {})), Scene(Rules({}, {}))]
    scores: list[list[float]] = [[], []]
    for made, scene, kept in zip((every, third), scenes, scores):
        for number, _ in enumerate(made.play(scene)):
            if made.evidence is not None:
                kept.append(made.evidence[0].score)
            if number == 200:
                break
        made.source.close()
    assert len(scores[0]) > 150 and scores[1] == scores[0][::3]


def test_under_overload_only_what_is_left_out_beyond_that_counts_as_shed() -> None:
    made = lane({**camera(), "every": 2}, "camera.sim", width=160, height=120, pictures=3)
    made.perception.every = 4  # as agent/overload.py sets it: two times two
    kinds = []
    for _ in made.play(Scene(Rules({}, {}))):
        kinds.append("shed" if made.perception.shed else "thinned" if made.perception.thinned else "inferred")
        if len(kinds) == 8:
            break
    made.source.close()
    assert kinds == ["inferred", "thinned", "shed", "thinned"] * 2


def test_what_every_leaves_out_is_shown_apart_from_drops(tmp_path: Path) -> None:
    """In the table, the line of statistics, `status` and the metrics; nowhere as a loss."""
    made = ledger.Ledger(tmp_path / "floor.ledger", "floor", 10.0)
    made.count[ledger.SAMPLES], made.count[ledger.THINNED] = 30, 20
    snapshot = ledger.snapshot(made.memory)
    assert "30 samples, 0 inferences, 0 decisions, 0 sent, 0 applied, 20 thinned" in ledger_text.table(snapshot)
    assert "dropped: none" in ledger_text.table(snapshot) and "thinned=20" in ledger_text.stats_line(made.memory)
    status = LaneStatus(**FACTS, counts={"thinned": 20})
    assert drops(status) == "dropped none; 20 thinned, as 'every' says"
    families = {family.name: family for family in LedgerCollector(tmp_path).collect()}
    events = {sample.labels["event"]: sample.value for sample in families["reflexd_lane_events"].samples}
    dropped = {sample.labels["reason"] for sample in families["reflexd_lane_dropped"].samples}
    assert events["thinned"] == 20 and "thinned" not in dropped and "shed" in dropped
    made.close()


def test_a_gate_sees_only_the_pictures_that_are_not_passed_over() -> None:
    section = {**camera(), "gate": {"motion": {}}, "every": 2}
    made = lane(section, "camera.sim", width=160, height=120, pictures=3)
    scene = Scene(Rules({}, {}))
    gated = []
    for number, _ in enumerate(made.play(scene)):
        gated.append(made.perception.gated and not made.perception.thinned)
        if number == 40:
            break
    made.source.close()
    assert not any(gated[1::2])


def test_a_recording_of_such_a_lane_replays_the_same(tmp_path: Path) -> None:
    with arm_cell(tmp_path) as cell:
        cell.config["lanes"] = {"arm": {**arm(fault_every_s=1), "every": 2}}
        daemon = start_recording(cell)
        cell.wait_for("stop")
        counts = cell.counts("arm")
        daemon.stop()
        assert counts["thinned"] > 100 and counts["shed"] == 0
        code, output = replayed(recorded(cell), "--json")
    report = json.loads(output)
    assert (code, report["differences"]) == (0, [])
    assert 0.3 * report["samples"] < report["inferences"] < 0.7 * report["samples"]


@pytest.mark.parametrize("every, expected", [(8, []), (30, ["every", "within_ms"])])
def test_longer_than_a_command_holds_is_a_mistake(tmp_path: Path, every: int, expected: list[str]) -> None:
    config = f"""
lanes:
  a:
    source: {{driver: camera.sim, fps: 30, timeout_ms: 500}}
    model: person-coarse
    every: {every}
actuators: {{r: {{device: {{driver: actuator.sim}}, rest: run}}}}
rules: {{x: {{any: [{{lane: a, label: person}}], actuator: r, verb: stop}}}}
"""
    texts = mistakes(tmp_path / "cell.yaml", config)
    assert len(texts) == len(expected)
    assert all(any(part in text for text in texts) for part in expected)
