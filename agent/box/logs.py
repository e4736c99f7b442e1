"""Log lines of a process: time, level, text without secrets, on standard error."""

import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Callable

from agent import redact


def start(level: int) -> None:
    target = logging.StreamHandler(sys.stderr)
    target.setFormatter(redact.MaskedFormatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [target]
    root.setLevel(level)


def write_in_background() -> Callable[[], None]:
    """From now on by a thread of their own: a terminal that blocks must not block a lane. Returns what ends it."""
    root = logging.getLogger()
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(lines, *root.handlers)
    listener.start()
    root.handlers[:] = [logging.handlers.QueueHandler(lines)]
    return listener.stop


def clock_time(monotonic_ns: int) -> str:
    """HH:MM:SS.mmm of a moment on the monotonic clock, as in the lines of the log."""
    unix_s = time.time() - (time.monotonic_ns() - monotonic_ns) / 1e9
    return f"{time.strftime('%H:%M:%S', time.localtime(unix_s))}.{int(unix_s % 1 * 1e3):03d}"
