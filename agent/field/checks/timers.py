"""How late a thread that sleeps a millisecond wakes up: measured for two seconds, with a lane's rights if granted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np

from agent.box import realtime
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check

PERIOD_NS = 1_000_000
SECONDS = 2.0
# A reflex has 10 ms; waking late may cost a tenth of it, not half of it.
WARN_MS, BAD_MS = 1.0, 5.0


def checks(box: Box) -> Iterator[Check]:
    fifo = box.config.realtime and realtime.fifo_setting().on
    kernel = "PREEMPT_RT" if box.text("sys/kernel/realtime") == "1" else "no PREEMPT_RT"
    yield judge(lateness(SECONDS, fifo), "SCHED_FIFO" if fifo else "no SCHED_FIFO", kernel)


def lateness(seconds: float, fifo: bool) -> list[float]:
    """Milliseconds from when a timer was due to when the thread ran."""
    late: list[float] = []

    def sleep_repeatedly() -> None:
        realtime.set_thread([], fifo)
        due = time.monotonic_ns()
        for _ in range(int(seconds * 1e9) // PERIOD_NS):
            due += PERIOD_NS
            ahead = due - time.monotonic_ns()
            if ahead <= 0:  # so late that the next timer is due as well
                late.append(-ahead / 1e6)
                continue
            time.sleep(ahead / 1e9)
            late.append((time.monotonic_ns() - due) / 1e6)

    thread = threading.Thread(target=sleep_repeatedly)
    thread.start()
    thread.join()
    return late


def judge(late: list[float], rights: str, kernel: str) -> Check:
    if not late:
        return Check("timer jitter", SKIP, "not measured")
    p50, p99 = np.percentile(late, [50, 99])
    cause = f"p50 {p50:.3f}, p99 {p99:.3f}, max {max(late):.3f} ms late ({len(late)} timers, {rights}, {kernel})"
    effect = "a sensor that is read every ms is read too late by that much, and so is every heartbeat"
    fix = "see SCHED_FIFO and cpu governor above; top -H shows what else runs; keep a core free with isolcpus="
    if p99 > BAD_MS:
        return Check("timer jitter", BAD, cause, effect, fix)
    if p99 > WARN_MS or max(late) > BAD_MS:
        return Check("timer jitter", WARN, cause, effect, fix)
    return Check("timer jitter", GOOD, cause)
