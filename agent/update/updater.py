"""The updater, a child process of the daemon: starts a check when one is due.

A check is a process of its own (fetching/check.py): its libraries take 75 MB, too much for an hour of waiting.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from agent.box import background, realtime
from agent.isolated import python
from agent.update.fetching.schedule import Schedule, window_of

STEP_S = 60.0  # the longest sleep: a clock that is set right opens the window in time

Sleep = Callable[[float], object]


def run(schedule: Schedule, check: Callable[[], bool], local: Callable[[], datetime], sleep: Sleep) -> None:
    """Until the process ends. check: False where something was refused. local: the time of day."""
    failures = 0  # in a row
    _wait(schedule.first_s(local()), sleep)
    while True:
        if not schedule.window.wait_s(local()):
            failures = 0 if check() else failures + 1
        _wait(schedule.next_s(failures, local()), sleep)


def _wait(seconds: float, sleep: Sleep) -> None:
    while seconds > 0:
        sleep(min(seconds, STEP_S))
        seconds -= STEP_S


def check(path: str) -> bool:
    """path: of the configuration. The process ends with this one."""
    environment = {**os.environ, realtime.PARENT: str(os.getpid())}
    command = python("agent.update.fetching.check", path)
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="The configuration.")
    parser.add_argument("--every-s", type=float, required=True)
    parser.add_argument("--jitter", type=float, required=True)
    parser.add_argument("--window", type=window_of, default=window_of(""))
    options = parser.parse_args()
    background.settle()
    schedule = Schedule(options.every_s, options.jitter, options.window, random.uniform)
    run(schedule, partial(check, options.path), datetime.now, time.sleep)


if __name__ == "__main__":
    main()
