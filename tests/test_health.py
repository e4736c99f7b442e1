"""The health of a box, from its lanes' ledgers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agent import health, ledger
from agent.ledger import Ledger, LedgerSnapshot

NOW = 100_000_000_000


def lane(state: int, critical: bool = True, age_s: float = 0.0, pid: int | None = None) -> LedgerSnapshot:
    """age_s: since it last made progress."""
    arm = Ledger(None, "arm", 2.0, critical)
    arm.state = state
    arm.cells[ledger.PROGRESS] = NOW - int(age_s * 1e9)
    snapshot = ledger.snapshot(arm.memory)
    return snapshot if pid is None else snapshot._replace(pid=pid)


@pytest.mark.parametrize(
    "state, critical, level",
    [
        (ledger.RUNNING, True, "good"),
        (ledger.RUNNING, False, "good"),
        (ledger.GONE, True, "safe"),
        (ledger.GONE, False, "degraded"),
        (ledger.OPENING, False, "degraded"),
        (ledger.ENDED, True, "safe"),
        (ledger.FAILED, False, "degraded"),
    ],
)
def test_a_state_has_one_effect(state: int, critical: bool, level: str) -> None:
    box = health.judge([lane(state, critical)], NOW)
    assert box.health == level
    assert bool(box.reasons) == (level != "good")


def test_a_lane_that_makes_no_progress_is_stalled() -> None:
    assert health.judge([lane(ledger.RUNNING, age_s=6)], NOW) == (
        "safe",
        ["lane arm stalled: driver call does not return"],
    )
    assert health.judge([lane(ledger.RUNNING, age_s=4)], NOW).health == "good"


def test_a_lane_whose_process_is_gone_is_dead_whatever_its_state() -> None:
    dead = lane(ledger.RUNNING, critical=False, pid=2**22 + 1)
    assert health.judge([dead], NOW).reasons == ["lane arm has no process any more"]


def test_the_worst_lane_counts() -> None:
    lanes = [lane(ledger.RUNNING), lane(ledger.GONE, critical=False), lane(ledger.RUNNING)]
    assert health.judge(lanes, NOW).health == "degraded"
    assert health.judge([], NOW).health == "safe"


def test_every_state_of_a_ledger_is_in_the_table() -> None:
    assert set(ledger.STATES) <= health.EFFECTS.keys()


def test_a_ledger_on_disk_gives_the_same(tmp_path: Path) -> None:
    arm = Ledger(tmp_path / "arm.ledger", "arm", 2.0, critical=False)
    arm.state, arm.cells[ledger.PROGRESS] = ledger.RUNNING, time.monotonic_ns()
    snapshot = ledger.read(tmp_path / "arm.ledger")
    assert (snapshot.critical, snapshot.pid, snapshot.state) == (False, os.getpid(), "running")
    assert health.judge([snapshot]).health == "good"
