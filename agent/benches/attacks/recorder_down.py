"""The recorder is killed at random moments, then whenever it starts: is every decision recorded, and once?"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from agent.benches.attacks._recorded import ARM, DEVIATION, SOURCE, Box, configuration, running
from agent.benches.attacks.outcome import Outcome
from agent.tapes.format import READINGS

NAME = "recorder_down"
OUTAGE_S, LIVES_S = 30.0, 4.0
RESTART_S = 1.0
ALWAYS = {"any": [{**DEVIATION, "absent": absent} for absent in (False, True)], "every_sample": True}


def measure(times: int) -> Outcome:
    """Kill it `times` times, then keep it down; count what the ledger has and the recordings lack, or have twice."""
    random = np.random.default_rng(1)
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reflexd-down-") as name:
        lane = {**ARM, "source": {**SOURCE, "rate_hz": 200}}
        config = configuration(Path(name), {"it": lane}, {"files": 1000}, ALWAYS)
        with running(Path(name), config) as box:
            for _ in range(times):
                time.sleep(float(random.uniform(0, LIVES_S)))
                failures += _kill(box)
            _keep_down(box)
            box.wait_for_recorder()
            alive = box.daemon.poll() is None
        uncounted = _uncounted(box)
        failures += _unexplained(box)
    return Outcome(NAME, times, int(not alive), uncounted, (), 0.0, failures)


def _kill(box: Box) -> list[str]:
    """And wait for the next; a line where that took too long."""
    pid = box.wait_for_recorder()
    if not pid:
        return ["no recorder any more"]
    lived_s = time.time() - os.stat(f"/proc/{pid}").st_ctime
    os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    box.wait_for_recorder(other_than=pid)
    away_s = time.monotonic() - begin
    late = lived_s > 2.5 and away_s > RESTART_S  # one that did not live long is restarted after a pause
    return [f"away for {away_s:.1f} s"] if late else []


def _keep_down(box: Box) -> None:
    end = time.monotonic() + OUTAGE_S
    while time.monotonic() < end:
        pid = box.recorder()
        if pid:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _uncounted(box: Box) -> int:
    """Decisions of the ledger that no recording has, and those that are recorded twice."""
    recorded: Counter[int] = Counter()
    for contents in box.contents():
        recorded.update(decision["number"] for _, message in contents.messages for decision in message["decisions"])
    expected = range(1, box.counts()["decisions"] + 1)
    return sum(recorded[number] != 1 for number in expected) + sum(number not in expected for number in recorded)


def _unexplained(box: Box) -> list[str]:
    """Samples that are neither recorded nor counted as lost."""
    recordings = list(box.contents())
    lost = sum(contents.lost for contents in recordings)
    rows = sum(len(message.get("readings", ())) for each in recordings for _, message in each.messages)
    missing = box.counts()["samples"] - rows
    return [] if lost <= missing <= READINGS * lost else [f"{missing} samples are missing, {lost} are counted as lost"]
