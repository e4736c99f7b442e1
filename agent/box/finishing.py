"""What a process beside the daemon does first that keeps data, and has something to finish: see also background.py."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable

from agent.box import private, realtime
from agent.box.signals import StopSignals


def prepare(deadline_s: int) -> StopSignals:
    """First of all. agent/box/child.py has blocked SIGTERM and SIGHUP. deadline_s: as of StopSignals."""
    os.nice(10)  # never ahead of a lane
    os.umask(private.OTHERS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory holds pictures
    stop = StopSignals(deadline_s=deadline_s)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    realtime.die_with_parent()
    return stop


def on_reload(request: Callable[[], None]) -> None:
    signal.signal(signal.SIGHUP, lambda *_: request())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
