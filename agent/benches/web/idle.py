"""What a live view that nobody watches costs a sensor lane at 1 kHz: its p99 with that process, over without.

The p99 of a window hangs on its few slowest samples, so that one ratio alone is mostly chance. Windows come in threes,
in each order in turn: with the process, and twice without it, where it is stopped and never runs. The first over each
of the others gives the ratio; these two give the control, which would be 1 were the machine always the same.
"""

from __future__ import annotations

import os
import signal
import time
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from agent.benches.web.served import Served, sensor

WITH, WITHOUT, AGAIN = "with", "without", "again"
ORDERS = list(permutations((WITH, WITHOUT, AGAIN)))
WAKES_S = 5.0


def measure(times: int, seconds: float) -> dict[str, Any]:
    """times: of three windows of so many seconds. Medians of the ratios in each three, and their quartiles."""
    with Served(sensor()) as served:
        wakes = _wakes_per_s(served.web.pid)
        threes = [_three(served, ORDERS[number % len(ORDERS)], seconds) for number in range(times)]
    ratios = np.array([three[WITH] / three[kind] for three in threes for kind in (WITHOUT, AGAIN)])
    controls = np.array([three[AGAIN] / three[WITHOUT] for three in threes])
    return {
        "idle_ratio_p99": _rounded(np.median(ratios)),
        "idle_control_p99": _rounded(np.median(controls)),
        "idle_quartiles": [_rounded(value) for value in np.percentile(ratios, (25, 75))],
        "idle_control_quartiles": [_rounded(value) for value in np.percentile(controls, (25, 75))],
        "idle_wakes_per_s": round(wakes, 1),
    }


def _three(served: Served, order: tuple[str, ...], seconds: float) -> dict[str, float]:
    """p99 of each window, ms."""
    figures: dict[str, float] = {}
    for kind in order:
        os.kill(served.web.pid, signal.SIGCONT if kind == WITH else signal.SIGSTOP)
        figures[kind] = served.p99_ms(seconds)
    return figures


def _wakes_per_s(pid: int) -> float:
    """How often the process has left its sleep, all its threads together."""
    before = _sleeps(pid)
    time.sleep(WAKES_S)
    return (_sleeps(pid) - before) / WAKES_S


def _sleeps(pid: int) -> int:
    lines = [line for path in Path(f"/proc/{pid}/task").glob("*/status") for line in path.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def _rounded(value: np.floating[Any]) -> float:
    return round(float(value), 3)


def text(result: dict[str, Any]) -> str:
    low, high = result["idle_control_quartiles"]
    return (
        f"sensor lane p99 with no viewer: x{result['idle_ratio_p99']}; twice without the live view:"
        f" x{result['idle_control_p99']}, half of the pairs x{low} to x{high};"
        f" it wakes {result['idle_wakes_per_s']} times a second"
    )
