"""Event clips: the seconds around a decision in a file of their own, apart from the recordings, encrypted if wanted.

A clip is made in memory, and encrypted there where it is sealed: no byte of a sealed clip is ever plain on the disk.
"""

from __future__ import annotations

import logging
from collections import deque
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from agent.box import private
from agent.recorder.recording import Recording
from agent.recorder.series import CLIPS, Series
from agent.recorder.settings import ClipSettings
from agent.tapes.format import TapeHeader

log = logging.getLogger("reflexd.record")
SEALED = ".sealed"
MAX_BYTES = 64_000_000  # in memory; a clip of pictures that needs more loses its beginning, with a warning
LONGEST_NS = 60_000_000_000  # of a clip, from its first decision: a rule may decide without end
MAX_LEFTOVER = 200_000_000  # a plain clip beyond this is not sealed afterwards, but deleted


class ClipMessage(NamedTuple):
    """A recorder message that may become part of a clip. time_ns: of the clock. size: about its memory, bytes."""

    tape: TapeHeader
    message: dict[str, Any]
    time_ns: int
    size: int


class EventClips:
    """Gets every message of the recorder, keeps the newest, and writes a clip around each decision of certain rules."""

    def __init__(self, settings: ClipSettings, folder: Path, node: str, header: dict[str, str]) -> None:
        """header: of each clip's file. Raises OSError where the key cannot be read."""
        self.header = header
        self.rule = ""  # of the clip that is being collected
        self.until = 0  # capture time at which it ends
        self._first = 0  # capture time of its first decision
        self._settings = settings
        self.series = Series(folder, node, CLIPS)
        self._public = _public_key(settings.seal) if settings.seal else None
        self._messages: deque[ClipMessage] = deque()
        self._bytes = 0
        self._truncated = False

    def resume(self, rule: str, until: int) -> None:
        """The clip that another recorder was collecting when it died."""
        self.rule, self.until, self._first = rule, until, until

    def clean(self) -> None:
        """What a recorder left behind that died while it wrote, and plain clips of a time without sealing."""
        if not self.series.folder.is_dir():
            return
        private.make_folder(self.series.folder)
        self.series.clean()
        if self._public:
            for path in self.series.paths():
                if path.suffix != SEALED:
                    self._seal_leftover(path, self._public)

    def _seal_leftover(self, path: Path, public: bytes) -> None:
        if path.stat().st_size <= MAX_LEFTOVER:
            sealed = path.with_name(path.name + SEALED)
            private.write(sealed, _encrypted(path.read_bytes(), public))
            log.warning("%s was plain and is sealed now: %s", path, sealed.name)
        else:
            log.warning("%s was plain, too large to be sealed, and is deleted", path)
        path.unlink()

    def add(self, new: ClipMessage) -> None:
        """The newest message. Raises OSError."""
        now = new.message["t_capture"]
        self._messages.append(new)
        self._bytes += new.size
        for decision in new.message["decisions"]:
            if decision["rule"] in self._settings.rules:
                self._first = self._first if self.rule else now
                self.rule = self.rule or decision["rule"]
                self.until = min(now + int(self._settings.after_s * 1e9), self._first + LONGEST_NS)
        if self.rule and now >= self.until:
            self._write(new.time_ns)
        self._drop_old(now)

    def _drop_old(self, now: int) -> None:
        """What is older than a clip needs, unless one is being collected; and what exceeds the memory."""
        oldest = now - int(self._settings.before_s * 1e9)
        messages = self._messages
        while messages and (self._bytes > MAX_BYTES or (not self.rule and messages[0].message["t_capture"] < oldest)):
            self._truncated |= bool(self.rule)
            self._bytes -= messages.popleft().size

    def _write(self, time_ns: int) -> None:
        """One file, with the rule and the time in its name."""
        rule, self.rule = self.rule, ""
        content = self._content(rule)
        ending = f"-{rule}.mcap"
        if self._public:
            content, ending = _encrypted(content, self._public), ending + SEALED
        path, file = self.series.begin(time_ns - int(self._settings.after_s * 1e9), ending)
        with file:
            private.write(path, content)
        if self._truncated:
            log.warning("event %s: the beginning of the clip did not fit into %d MB", rule, MAX_BYTES // 1_000_000)
            self._truncated = False
        log.warning("event %s: %s", rule, path)
        self.series.prune(self._settings.files)

    def _content(self, rule: str) -> bytes:
        plain = BytesIO()
        clip = Recording(plain, {**self.header, "event": rule, "in_force": "{}", "lost_before": "1"})
        for message in self._messages:
            clip.add(message.tape, message.message, message.time_ns)
        clip.finish()
        return plain.getvalue()


def _public_key(path: str) -> bytes:
    from agent import keys  # with ZeroMQ: only where something is sealed

    return keys.read(Path(path))[0]


def _encrypted(plain: bytes, public: bytes) -> bytes:
    from agent.recorder import seal

    return seal.encrypt(plain, public)
