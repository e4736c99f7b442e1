"""The recorder's process: its priority, its signals, what it leaves on the disk, and others of its kind."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from agent.box import private, realtime
from agent.box.signals import StopSignal, StopSignals

log = logging.getLogger("reflexd.record")
SHUTDOWN_S = 120  # a disk that accepts nothing more must not delay the shutdown beyond this
WAIT_S, POLL_S = 10.0, 0.05


def prepare() -> StopSignals:
    """First of all. agent/box/child.py has blocked SIGTERM and SIGHUP."""
    os.nice(10)  # never ahead of a lane
    os.umask(private.OTHERS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory holds pictures
    stop = StopSignals(deadline_s=SHUTDOWN_S)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    realtime.die_with_parent()
    return stop


def on_reload(request: Callable[[], None]) -> None:
    signal.signal(signal.SIGHUP, lambda *_: request())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def wait_for_others(run_dir: Path, stop: StopSignal) -> None:
    """The recorder of a daemon that was killed still writes what is on the same tapes. Raises OSError."""
    # Open, and so locked, as long as this process lives.
    fd = os.open(run_dir / "recorder.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, private.FILE)
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            stop.wait(POLL_S)
    log.warning("another recorder in %s does not end; this one begins", run_dir)
