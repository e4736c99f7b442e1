"""What the records of a recording say, also where holes of the file took its beginning or its last samples."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from mcap.records import Channel, McapRecord, Message, Metadata, Statistics

from agent.recorder.records import Hole

HEADER = "reflexd"  # metadata: the configuration and what else a replay needs
CHANNELS = "channels"  # metadata: each channel's lane and source by its number
LOST = "lost"  # metadata: samples and decisions that were not recorded
HOLE = "unreadable"  # metadata: bytes of a hole that an earlier copy had here, messages that it has lost
UNKNOWN = ""  # the lane of channels of which nothing is left


class Beginning:
    """What a file has at its beginning, and again later: the header, and of each channel the lane and its source."""

    def __init__(self) -> None:
        self.header: dict[str, str] = {}
        self.channels: dict[int, tuple[str, dict[str, Any]]] = {}

    def add(self, record: McapRecord | Hole) -> None:
        """Raises READ_ERRORS."""
        if isinstance(record, Channel):
            self.channels.setdefault(record.id, (record.topic.removeprefix("/"), source(record.metadata)))
        elif isinstance(record, Metadata) and record.name == HEADER:
            self.header = self.header or dict(record.metadata)
        elif isinstance(record, Metadata) and record.name == CHANNELS:
            copies = {int(number): json.loads(copy) for number, copy in record.metadata.items()}
            there = {number: (copy["lane"], source(copy)) for number, copy in copies.items()}
            self.channels = {**there, **self.channels}


class Contents(Beginning):
    """Everything of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable = self.lost = self.lost_decisions = 0
        self._entries: list[tuple[int, dict[str, Any]] | None] = []  # channel and message; None: a hole
        self._stored: dict[int, int] = {}  # messages of each channel, as the end of the file says
        self._noted = 0  # messages lost by an earlier copy

    def add(self, record: McapRecord | Hole) -> None:
        super().add(record)
        if isinstance(record, Hole):
            self._note_hole(record.size)
        elif isinstance(record, Message):
            self._note_message(record)
        elif isinstance(record, Statistics):
            self._stored = record.channel_message_counts
        elif isinstance(record, Metadata) and record.name == HOLE:
            self._note_hole(int(record.metadata["bytes"]))
            self._noted += int(record.metadata.get("messages", 0))
        elif isinstance(record, Metadata) and record.name == LOST:
            self.lost += int(record.metadata["samples"])
            self.lost_decisions += int(record.metadata.get("decisions", 0))

    def _note_hole(self, size: int) -> None:
        self.unreadable += size
        self._entries.append(None)

    def _note_message(self, record: Message) -> None:
        if not self.unreadable:
            self.channels[record.channel_id]  # otherwise a hole has it, and a copy may come
        message = json.loads(record.data)
        message["order"], message["sequence"]  # raises where it is damaged
        self._entries.append((record.channel_id, message))

    @property
    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """(lane, message) in the order of the file."""
        known = (entry for entry in self._entries if entry and entry[0] in self.channels)
        return [(self._lane(number), message | self.channels[number][1]) for number, message in known]

    def _lane(self, number: int) -> str:
        return self.channels[number][0] if number in self.channels else UNKNOWN

    @property
    def starts_late(self) -> bool:
        """The first sample of a lane is behind a hole, and may not be its first."""
        seen: set[str] = set()
        behind = False
        for entry in self._entries:
            behind |= entry is None
            if entry and self._lane(entry[0]) not in seen:
                if behind:
                    return True
                seen.add(self._lane(entry[0]))
        return False

    @property
    def missing(self) -> int:
        """Readings and pictures that are known to be in holes; there may have been more.

        By the sequences on both sides of each hole, or by the number of messages at the end of the file.
        """
        short: Counter[str] = Counter()
        for number, count in self._stored.items() if self.unreadable else ():
            short[self._lane(number)] += count
        short.subtract(self._lane(entry[0]) for entry in self._entries if entry and entry[0] in self.channels)
        between = self._missing_between()
        return max(self._noted, sum(max(0, short[lane], between[lane]) for lane in {*short, *between}))

    def _missing_between(self) -> Counter[str]:
        missing: Counter[str] = Counter()
        newest: dict[str, int] = {}
        before: dict[str, int] = {}  # of lanes that have no sample behind the hole yet
        for entry in self._entries:
            if entry is None:
                before = {**newest, **before}
                continue
            lane, message = self._lane(entry[0]), entry[1]
            if lane == UNKNOWN:
                missing[lane] += 1
            elif lane in before:
                missing[lane] += _between(before.pop(lane), message)
            newest[lane] = message["sequence"]
        return missing


def previous(message: dict[str, Any]) -> int:
    """The sequence of the sample before this one, where none is missing. TypeError, LookupError: damaged."""
    before: int = message["sequence"] - len(message.get("readings", "1")) - message.get("skipped", 0)
    return before


def _between(sequence: Any, message: dict[str, Any]) -> int:
    """Samples that are missing between this one and the message; 0 where it is damaged and does not say so."""
    try:
        return max(0, previous(message) - int(sequence))
    except (LookupError, TypeError, ValueError):
        return 0


def source(metadata: dict[str, str]) -> dict[str, Any]:
    """What the lane's source delivers; recordings before 0.2 have no rate."""
    return {"channels": json.loads(metadata["channels"]), "rate_hz": float(metadata.get("rate_hz", 0))}
