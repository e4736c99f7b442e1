"""Event clips: the seconds around a decision in a file of their own, apart from the recordings, encrypted if wanted."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from agent import keys
from agent.config.models import Events
from agent.recorder.recording import Recording
from agent.tape import TapeHeader

log = logging.getLogger("reflexd.record")
STAMPED = r"-\d{8}T\d{6}[.-].+"  # the rest of a file's name, after the node's
MAX_BYTES = 64_000_000  # in memory; a clip of pictures that needs more loses its beginning, with a warning


class ClipMessage(NamedTuple):
    """A recorder message that may become part of a clip. size: about the memory it takes, bytes."""

    tape: TapeHeader
    message: dict[str, Any]
    time_ns: int
    size: int


class EventClips:
    """Gets every message of the recorder, keeps the newest, and writes a clip around each decision of certain rules."""

    def __init__(self, events: Events, folder: Path, node: str, header: dict[str, str]) -> None:
        """header: of each clip's file. Raises OSError where the key cannot be read."""
        self.header = header
        self._events = events
        self._folder = folder
        self._node = node
        self._public = keys.read(events.seal)[0] if events.seal else None
        self._messages: deque[ClipMessage] = deque()
        self._bytes = 0
        self._truncated = False
        self._rule = ""  # of the clip that is being collected
        self._until_ns = 0

    def add(self, tape: TapeHeader, message: dict[str, Any], time_ns: int, size: int) -> None:
        """size: about the memory that the message takes, bytes."""
        self._messages.append(ClipMessage(tape, message, time_ns, size))
        self._bytes += size
        for decision in message["decisions"]:
            if decision["rule"] in self._events.rules:
                self._rule = self._rule or decision["rule"]
                self._until_ns = time_ns + int(self._events.after_s * 1e9)
        if self._rule and time_ns >= self._until_ns:
            self._write()
        self._drop_old(time_ns)

    def _drop_old(self, now_ns: int) -> None:
        """What is older than a clip needs, unless one is being collected; and what exceeds the memory."""
        oldest = now_ns - int(self._events.before_s * 1e9)
        messages = self._messages
        while messages and (self._bytes > MAX_BYTES or (not self._rule and messages[0].time_ns < oldest)):
            self._truncated |= bool(self._rule)
            self._bytes -= messages.popleft().size

    def _write(self) -> None:
        """One file, with the rule and the time in its name."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._until_ns / 1e9 - self._events.after_s))
        path = self._folder / f"{self._node}-{stamp}-{self._rule}.mcap"
        rule, self._rule = self._rule, ""
        if path.exists():
            return  # a second event within this second is in that clip
        clip = Recording(path, {**self.header, "event": rule, "in_force": "{}", "lost_before": "1"})
        for message in self._messages:
            clip.add(message.tape, message.message, message.time_ns)
        clip.close()
        if self._truncated:
            log.warning("event %s: the beginning of the clip did not fit into %d MB", rule, MAX_BYTES // 1_000_000)
            self._truncated = False
        log.warning("event %s: %s", rule, _sealed(path, self._public) if self._public else path)
        prune(self._folder, self._node, self._events.files)


def _sealed(path: Path, public: bytes) -> Path:
    """Replace the file with an encrypted one; its path."""
    from agent.recorder import seal

    sealed = path.with_suffix(".mcap.sealed")
    sealed.write_bytes(seal.encrypt(path.read_bytes(), public))
    path.unlink()
    return sealed


def prune(folder: Path, node: str, files: int) -> None:
    """Delete the oldest files of this node beyond `files`: recordings, or clips.

    Not those of node `box-2` for `box`: a folder may contain files that the box wrote under another name.
    """
    of_node = re.compile(re.escape(node) + STAMPED)
    paths = sorted(path for path in folder.glob(f"{node}-*") if of_node.fullmatch(path.name))  # by name is by time
    for old in paths[:-files]:
        old.unlink(missing_ok=True)
