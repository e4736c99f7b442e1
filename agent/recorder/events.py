"""Event clips: the seconds around a decision in a file of their own, kept apart from the recordings; sealed if asked."""

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
STAMPED = r"-\d{8}T\d{6}[.-].+"  # how their names go on after the node's
MOST_BYTES = 64_000_000  # kept in memory; a clip of pictures that needs more loses its beginning, and says so


class Moment(NamedTuple):
    facts: TapeHeader
    message: dict[str, Any]
    time_ns: int
    size: int


class Clips:
    """Fed with every message of the recorder."""

    def __init__(self, events: Events, folder: Path, node: str, about: dict[str, str]) -> None:
        """Raises OSError where the key cannot be read."""
        self.events = events
        self.folder = folder
        self.node = node
        self.about = about
        self.public = keys.read(events.seal)[0] if events.seal else None
        self.moments: deque[Moment] = deque()
        self.bytes = 0
        self.cut = False
        self.rule = ""
        self.until_ns = 0

    def take(self, facts: TapeHeader, message: dict[str, Any], time_ns: int, size: int) -> None:
        """size: about what the message takes in memory, bytes."""
        self.moments.append(Moment(facts, message, time_ns, size))
        self.bytes += size
        for decision in message["decisions"]:
            if decision["rule"] in self.events.rules:
                self.rule = self.rule or decision["rule"]
                self.until_ns = time_ns + int(self.events.after_s * 1e9)
        if self.rule and time_ns >= self.until_ns:
            self.write()
        self.forget(time_ns)

    def forget(self, now_ns: int) -> None:
        """What lies too far back while nothing happens, or is too much."""
        oldest = now_ns - int(self.events.before_s * 1e9)
        while self.moments and (self.bytes > MOST_BYTES or (not self.rule and self.moments[0].time_ns < oldest)):
            self.cut |= bool(self.rule)
            self.bytes -= self.moments.popleft().size

    def write(self) -> None:
        """One file: the rule's name and the time in its name."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self.until_ns / 1e9 - self.events.after_s))
        path = self.folder / f"{self.node}-{stamp}-{self.rule}.mcap"
        rule, self.rule = self.rule, ""
        if path.exists():
            return  # a second event in this second is in the clip
        clip = Recording(path, {**self.about, "event": rule, "in_force": "{}", "lost_before": "1"})
        for moment in self.moments:
            clip.add(moment.facts, moment.message, moment.time_ns)
        clip.close()
        if self.cut:
            log.warning("event %s: its beginning did not fit into %d MB", rule, MOST_BYTES // 1_000_000)
            self.cut = False
        if self.public:
            from agent.recorder import seal

            sealed = path.with_suffix(".mcap.sealed")
            sealed.write_bytes(seal.close(path.read_bytes(), self.public))
            path.unlink()
            path = sealed
        log.warning("event %s: %s", rule, path)
        prune(self.folder, self.node, self.events.files)


def prune(folder: Path, node: str, files: int) -> None:
    """Delete the oldest files of this node beyond `files`: recordings, or clips.

    Not those of node `box-2` for `box`: a folder may hold what the box wrote under another name.
    """
    ours = re.compile(re.escape(node) + STAMPED)
    found = sorted(path for path in folder.glob(f"{node}-*") if ours.fullmatch(path.name))  # by name is by time
    for old in found[:-files]:
        old.unlink(missing_ok=True)
