"""How long this machine kept a thread of the priority of the actuators' network from running: by load of others."""

from __future__ import annotations

import os
import threading
import time

from agent.box import realtime

STEP_S = 0.005


class Pauses(threading.Thread):
    """longest_ms: of any pause, on one core."""

    def __init__(self, core: int) -> None:
        super().__init__(daemon=True)
        self.core = core
        self.longest_ms = 0.0
        self.stopping = threading.Event()

    def run(self) -> None:
        realtime.set_thread([self.core], True, realtime.NETWORK_PRIORITY)
        while not self.stopping.is_set():
            asleep = time.monotonic()
            time.sleep(STEP_S)
            self.longest_ms = max(self.longest_ms, 1e3 * (time.monotonic() - asleep - STEP_S))


def start() -> list[Pauses]:
    """One on each core; they see what is heavier than they are, and hinder nothing that matters."""
    watching = [Pauses(core) for core in sorted(os.sched_getaffinity(0))]
    for each in watching:
        each.start()
    return watching


def stop(watching: list[Pauses]) -> float:
    """The longest pause of all cores, ms."""
    for each in watching:
        each.stopping.set()
        each.join()
    return max(each.longest_ms for each in watching)
