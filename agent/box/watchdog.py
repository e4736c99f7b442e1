"""A hardware watchdog, Documentation/watchdog/watchdog-api.rst of the kernel: it resets the box unless it is fed."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

log = logging.getLogger("reflexd.watchdog")

FEED_NS = 500_000_000  # the shortest time limit that drivers commonly accept is 1 s
STOP = b"V"  # the magic character: closed after it, the watchdog stops, unless the kernel runs with `nowayout`


class HardwareWatchdog:
    """Started by the first feeding. Where the device cannot be opened, that is said once and tried again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1
        self.fed_at = 0
        self.said = False

    def feed(self, now: int) -> None:
        """now: monotonic ns. Does nothing until half a second after the last time."""
        if self.fed_at and now - self.fed_at < FEED_NS:
            return
        self.fed_at = now
        try:
            self._open()
            os.write(self.fd, b"\0")
        except BlockingIOError:
            pass  # a pipe or a terminal in its place, which nobody reads
        except OSError as error:
            self._failed(error)

    def _open(self) -> None:
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            if stat.S_ISREG(os.fstat(self.fd).st_mode):  # to feed it would be to overwrite it
                raise OSError(errno.ENODEV, "a file, no device")
            log.info("watchdog_device: %s resets this box when it is not fed", self.path)
            self.said = False

    def _failed(self, error: OSError) -> None:
        if not self.said:
            advice = "RuntimeWatchdogSec of systemd may have it; its owner and mode: systemd/README.md"
            log.error("watchdog_device: %s: %s: not fed, and tried again; %s", self.path, error.strerror, advice)
        self.said = True
        self._release()

    def close(self, stop: bool) -> None:
        """stop: nothing is left to watch. Otherwise it goes on, and resets the box unless somebody else feeds it."""
        try:
            if stop and self.fd >= 0:
                os.write(self.fd, STOP)
        except OSError as error:
            log.error("watchdog_device: %s: %s: it may reset this box", self.path, error.strerror)
        self._release()

    def _release(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
