"""Why a stream does not open: OpenCV reports only that it does not; FFmpeg's log, on standard output, has the cause."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

STDOUT = 1
MAX_BYTES = 65536  # what a pipe holds; what does not fit is lost, and the cause is at the beginning


class OpenLog:
    """What was written while it was captured."""

    text = ""

    def cause(self, causes: Mapping[str, str], otherwise: str) -> str:
        """The first of `causes` whose key the log contains. The log itself may contain the url: it is not quoted."""
        return next((cause for sign, cause in causes.items() if sign in self.text), otherwise)


@contextmanager
def captured() -> Iterator[OpenLog]:
    """Standard output, of which FFmpeg's part passes through C's own buffer."""
    log = OpenLog()
    outlet, inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    saved = os.dup(STDOUT)
    os.dup2(inlet, STDOUT)
    try:
        yield log
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(saved, STDOUT)
        with suppress(BlockingIOError):
            log.text = os.read(outlet, MAX_BYTES).decode("utf-8", "replace")
        for descriptor in (outlet, inlet, saved):
            os.close(descriptor)
