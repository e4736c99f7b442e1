"""Runs one of our programs as if on another box: `python -m agent.benches.other_box agent run -c FILE`.

Its CLOCK_MONOTONIC is hours ahead and has another name, so that no time of it can be compared with ours.
"""

from __future__ import annotations

import runpy
import sys
import time

from agent.commands import wire

AHEAD_NS = 5 * 3600 * 1_000_000_000
CLOCK_ID = 0x0BADC0DE


def main() -> None:
    """Changes this process only; child processes that it starts keep the box's clock."""
    real = time.monotonic_ns
    vars(time)["monotonic_ns"] = lambda: real() + AHEAD_NS
    vars(wire)["clock_id"] = lambda: CLOCK_ID
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
