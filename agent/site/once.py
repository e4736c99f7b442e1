"""Messages that are said once when something begins, and once when it has ended, however often it happens between."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger("reflexd.site")
CALM_S = 5.0  # without it happening again


class Once:
    """Of one subject. Used from several threads. now: s of a monotonic clock."""

    def __init__(self, subject: str) -> None:
        """subject: starts every message."""
        self._subject = subject
        self._last: dict[str, float] = {}  # when each kind happened last
        self._messages: dict[str, str] = {}
        self._lock = threading.Lock()

    def happens(self, kind: str, message: str, now: float) -> None:
        with self._lock:
            begins = kind not in self._last
            self._last[kind], self._messages[kind] = now, message
        if begins:
            log.warning("%s: %s", self._subject, message)

    def expire(self, now: float) -> None:
        """Often; what has not happened for a while has ended."""
        with self._lock:
            ended = [kind for kind, last in self._last.items() if now - last > CALM_S]
            messages = [self._end(kind) for kind in ended]
        for message in messages:
            log.warning("%s: no longer: %s", self._subject, message)

    def ends(self, kind: str) -> None:
        """Known to have ended: said by what follows."""
        with self._lock:
            self._end(kind)

    def _end(self, kind: str) -> str:
        self._last.pop(kind, None)
        return self._messages.pop(kind, "")

    @property
    def messages(self) -> list[str]:
        with self._lock:
            return list(self._messages.values())
