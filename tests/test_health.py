"""What a box is, from its lanes' ledgers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agent import health, ledger
from agent.ledger import Ledger, LedgerSnapshot

NOW = 100_000_000_000


def told(state: int, critical: bool = True, age_s: float = 0.0, pid: int | None = None) -> LedgerSnapshot:
    ledger = Ledger(None, "arm", 2.0, critical)
    ledger.state = state
    ledger.cells[ledger.PROGRESS] = NOW - int(age_s * 1e9)
    snapshot = ledger.snapshot(ledger.memory)
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
    found = health.judge([told(state, critical)], NOW)
    assert found.health == level
    assert bool(found.reasons) == (level != "good")


def test_a_lane_that_does_not_come_round_is_stuck() -> None:
    found = health.judge([told(ledger.RUNNING, age_s=6)], NOW)
    assert found == ("safe", ["lane arm does not come round: its driver hangs in a call"])
    assert health.judge([told(ledger.RUNNING, age_s=4)], NOW).health == "good"


def test_a_lane_whose_process_is_gone_is_dead_whatever_its_ledger_says() -> None:
    nobody = told(ledger.RUNNING, critical=False, pid=2**22 + 1)
    assert health.judge([nobody], NOW).reasons == ["lane arm has no process any more"]


def test_the_worst_lane_counts() -> None:
    lanes = [told(ledger.RUNNING), told(ledger.GONE, critical=False), told(ledger.RUNNING)]
    assert health.judge(lanes, NOW).health == "degraded"
    assert health.judge([], NOW).health == "safe"


def test_every_state_of_a_ledger_is_in_the_table() -> None:
    assert set(ledger.STATES) <= health.EFFECTS.keys()


def test_a_ledger_on_disk_says_the_same(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "arm.ledger", "arm", 2.0, critical=False)
    ledger.state, ledger.cells[ledger.PROGRESS] = ledger.RUNNING, time.monotonic_ns()
    found = ledger.read(tmp_path / "arm.ledger")
    assert (found.critical, found.pid, found.state) == (False, os.getpid(), "running")
    assert health.judge([found]).health == "good"
