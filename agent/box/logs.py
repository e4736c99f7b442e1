"""Log lines of a process: time, level, text without secrets, on standard error."""

import logging
import sys

from agent import redact


def start(level: int) -> None:
    target = logging.StreamHandler(sys.stderr)
    target.setFormatter(redact.MaskedFormatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [target]
    root.setLevel(level)
