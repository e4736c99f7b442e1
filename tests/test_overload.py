"""Overload: less important lanes infer less, in a declared order, and only as long as it lasts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import ledger
from agent.ledger import Ledger
from agent.offline import offline_lane
from agent.overload import CALM_S, MAX_CALM_S, Overload, misses, most_every
from agent.packages import package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from tests.processes import Cell, arm

MS = 1_000_000


def overload(**priorities: int) -> Overload:
    made = Overload(priorities)
    made.most = dict.fromkeys(priorities, 16)
    return made


def test_the_lowest_priority_goes_first_and_as_far_as_it_can() -> None:
    box = overload(arm=9, yard=3, hall=1, door=1)
    box.most["door"] = 3
    seen: list[str] = []
    while box.observe({"arm"}, float(len(seen))):
        seen.append(str(box))
    assert seen[:3] == [
        "hall infers on one sample in 2, door infers on one sample in 2",
        "hall infers on one sample in 4, door infers on one sample in 3",
        "hall infers on one sample in 8, door infers on one sample in 3",
    ]
    assert seen[4].startswith("yard infers on one sample in 2, hall infers on one sample in 16")
    assert box.every == {"arm": 1, "yard": 16, "hall": 16, "door": 3}


def test_no_lane_gives_way_to_an_equal_or_a_lesser_one() -> None:
    assert not overload(arm=5, yard=5).observe({"arm", "yard"}, 0.0)
    box = overload(arm=9, yard=1)
    assert not box.observe({"yard"}, 0.0) and not box


def test_it_ends_by_itself_step_by_step() -> None:
    box = overload(arm=9, yard=1)
    assert box.observe({"arm"}, 0.0) and box.observe({"arm"}, 1.0) and box.every["yard"] == 4
    assert not box.observe(set(), 1.0 + CALM_S - 0.1)
    assert box.observe(set(), 1.0 + CALM_S) and box.every["yard"] == 2 and box
    assert box.observe(set(), 1.0 + 2 * CALM_S) and box.every["yard"] == 1 and not box
    assert not box.observe(set(), 1000.0)


def test_a_step_back_that_was_too_early_is_not_tried_again_as_soon() -> None:
    box, now, waited = overload(arm=9, yard=1), 0.0, []
    for _ in range(6):
        box.observe({"arm"}, now)
        start = now
        while not box.observe(set(), now):
            now += 1.0
        waited.append(now - start)
    assert waited == [CALM_S, 2 * CALM_S, 4 * CALM_S, 8 * CALM_S, MAX_CALM_S, MAX_CALM_S]
    now += 2 * MAX_CALM_S
    box.observe({"arm"}, now)
    assert box.observe(set(), now + CALM_S)


def test_a_lane_is_never_taken_for_dead() -> None:
    """500 ms: commands and conditions expire."""
    assert [most_every(rate_hz, 500.0) for rate_hz in (0.0, 2.0, 10.0, 30.0, 1000.0)] == [1, 1, 2, 7, 16]


def _written(totals_ms: list[float]) -> ledger.LedgerSnapshot:
    lane = Ledger(None, "arm", 2.0)
    lane.state = ledger.RUNNING
    for number, total in enumerate(totals_ms):
        at = (number + 1) * MS
        end = at + int(total * MS)
        lane.write(number, at, at, at, at, at, end, 0)
    return ledger.snapshot(lane.memory)


@pytest.mark.parametrize(
    "totals, expected",
    [
        ([0.3] * 100, False),
        ([0.3] * 97 + [9.0] * 3, True),
        ([9.0] * 100, False),  # too large a model: no other lane is the reason
        ([9.0] * 4, False),  # too few
        ([0.3] * 80 + [float(n) for n in range(20)], True),
    ],
)
def test_what_counts_as_a_miss(totals: list[float], expected: bool) -> None:
    assert misses(_written(totals), 0) is expected
    assert not misses(_written(totals), 1 << 62)


def test_a_sensor_lane_that_sheds_still_reads_every_sample_into_its_window() -> None:
    perceptions = [Perception(package.open_package(package.find("arm-deviation"))) for _ in range(2)]
    lanes = [offline_lane("arm", "sensor.sim_arm", {"seed": 3}, perception) for perception in perceptions]
    perceptions[1].every = 4
    evidence: list[list[Any]] = []
    for lane in lanes:
        results: list[Any] = []
        for sample, _ in lane.play(Scene(Rules({}, {}))):
            results.append(lane.evidence and [(each.label, each.score) for each in lane.evidence])
            if sample.sequence == 99:
                break
        evidence.append(results)
    every, fourth = evidence
    due = [number for number, result in enumerate(fourth) if result is not None]
    assert set(np.diff(due)) == {4} and len(due) >= 16
    assert [fourth[number] for number in due] == [every[number] for number in due]


LATE = """\
import os
from drivers.sensor import sim_arm
Options = sim_arm.Options

class Driver(sim_arm.Driver):
    def read(self, wait_s):
        sample = super().read(wait_s)
        if sample is None or sample.sequence % 8 or not os.path.exists("late"):
            return sample
        return sample._replace(t_capture=sample.t_capture - 100_000_000)
"""


@pytest.mark.slow
def test_overload_is_said_counted_and_ends_by_itself(tmp_path: Path) -> None:
    """While a file exists, every eighth reading of the robot arrives 100 ms late, as on a box with too much to do."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/late.py").write_text(LATE)
    (tmp_path / "late").touch()
    robot_arm = {"source": {"driver": "ours.late", "rate_hz": 200, "timeout_ms": 500}, "model": "arm-deviation"}
    lanes = {
        "arm": {**robot_arm, "priority": 9, "budget_ms": 50.0},
        "floor": {**arm(rate_hz=200), "priority": 1, "budget_ms": 1000.0},
    }
    with Cell(tmp_path, lanes) as cell:
        cell.config["state_dir"] = str(tmp_path / "state")
        _, daemon = cell.start_both()
        daemon.wait_for("overload: lane arm misses its budget; floor infers on one sample in 2")
        asked = cell.start("status", "--json", "-c", str(cell.write()))
        asked.exit_code()
        status = json.loads(asked.text)
        assert status["health"] == "degraded"
        assert any(reason.startswith("overload: floor infers on one sample in") for reason in status["reasons"])
        cell.wait_for_count("floor", "shed", 10)
        (tmp_path / "late").unlink()
        daemon.wait_for("overload is over after")
        left_out = cell.counts("floor")["shed"]
        assert f"{left_out} inferences were left out" in daemon.text and len(daemon.lines("overload")) == 2
        assert cell.counts("arm")["shed"] == 0
        assert daemon.stop() == 0
        replayed = cell.start("replay", *map(str, (tmp_path / "state/recordings").glob("*.mcap")))
        assert replayed.exit_code() == 0 and "all the same" in replayed.text, replayed.text
