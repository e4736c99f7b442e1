"""What a process beside the daemon does first that has nothing to finish: signals, priority, log."""

from __future__ import annotations

import logging
import os
import signal

from agent.box import logs, realtime


def settle() -> None:
    """Ends with its parent, or at once by SIGTERM and Ctrl-C: it has nothing to finish."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it looks at the configuration itself, or is started again
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # agent/box/child.py blocked it
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.environ.get(realtime.PARENT):
        realtime.die_with_parent()
    os.nice(10)  # never ahead of a lane
    logs.start(logging.INFO)
