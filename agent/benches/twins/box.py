"""`reflexd run` as one of two boxes on this machine: on a core of its own, by a clock of its own.

`python -m agent.benches.twins.box CORE OFFSET_S PPM ARGUMENTS...`; offset and rate 0: this machine's clock. The clock
is replaced in this process, in Python, before anything else is imported: time.monotonic and time.monotonic_ns, which
the lanes, drivers and links read, and the clock's id in commands. What waits in C (sleep, poll) keeps the real rate.
"""

from __future__ import annotations

import os
import runpy
import sys
import time

ANOTHER_CLOCK = 0x5EC0ED


def set_clock(offset_s: float, ppm: int) -> None:
    """From now on ahead by that, and faster by millionths."""
    real, start, ahead = time.monotonic_ns, time.monotonic_ns(), int(offset_s * 1e9)

    def monotonic_ns() -> int:
        now = real()
        return now + ahead + (now - start) * ppm // 1_000_000

    time.monotonic_ns = monotonic_ns
    time.monotonic = lambda: monotonic_ns() / 1e9
    from agent.commands import wire

    wire.clock_id = lambda: ANOTHER_CLOCK  # type: ignore[assignment]


def main() -> None:
    core, offset_s, ppm, *arguments = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    if float(offset_s) or int(ppm):
        set_clock(float(offset_s), int(ppm))
    sys.argv[1:] = arguments
    runpy.run_module("agent", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
