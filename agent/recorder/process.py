"""The recorder's process, and others of its kind."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

from agent.box import private
from agent.box.signals import StopSignal

log = logging.getLogger("reflexd.record")
SHUTDOWN_S = 120  # a disk that accepts nothing more must not delay the shutdown beyond this
WAIT_S, POLL_S = 10.0, 0.05


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
