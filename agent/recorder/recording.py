"""A recording on disk: MCAP with one topic a lane, JSON messages and their schema inside."""

from __future__ import annotations

import json
import os
import struct
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

from mcap.exceptions import McapError
from mcap.records import Channel, Message, Metadata
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer
from zstandard import ZstdError

from agent.tape import TapeHeader

CHUNK = 1 << 18  # bytes that a power cut may cost
# What reading raises where a file was cut or changed
BROKEN = (McapError, ZstdError, ValueError, LookupError, TypeError, EOFError, OverflowError, MemoryError, struct.error)

SCHEMA = {
    "type": "object",
    "title": "reflexd.Sample",
    "properties": {
        "order": {"type": "integer", "description": "of the inference among those of all lanes"},
        "sequence": {"type": "integer"},
        "t_capture": {"type": "integer", "description": "ns, CLOCK_MONOTONIC"},
        "skipped": {"type": "integer"},
        "discontinuity": {"type": "boolean", "description": "does not follow directly on the sample before"},
        "inferred": {"type": "boolean"},
        "readings": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        "frame": {"type": "array", "items": {"type": "integer"}, "description": "height, width"},
        "region": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "left, top, width, height shown to the model",
        },
        "refined": {"type": "boolean", "description": "the refining model ran"},
        "refine_skipped": {"type": "boolean", "description": "there was no time for the refining model"},
        "outputs": {"type": "array", "items": {"type": "object"}},
        "inputs": {"type": "array", "items": {"type": "object"}},
        "evidence": {"type": "array", "items": {"type": "object"}},
        "decisions": {"type": "array", "items": {"type": "object"}},
    },
}


class Recording:
    """One file being written."""

    def __init__(self, path: Path, facts: dict[str, str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file: IO[bytes] = open(path, "xb")
        self.writer = Writer(self.file, chunk_size=CHUNK, compression=CompressionType.ZSTD)
        self.writer.start("reflexd", f"reflexd {version('reflexd')}")
        self.writer.add_metadata("reflexd", facts)
        self.file.flush()
        self.schema = self.writer.register_schema("reflexd.Sample", "jsonschema", json.dumps(SCHEMA).encode())
        self.channels: dict[str, int] = {}

    def add(self, facts: TapeHeader, message: dict[str, Any], time_ns: int) -> None:
        lane = facts.lane
        if lane not in self.channels:
            about = {"channels": json.dumps(facts.channels)}
            self.channels[lane] = self.writer.register_channel(f"/{lane}", "json", self.schema, about)
        data = json.dumps(message, separators=(",", ":")).encode()
        self.writer.add_message(self.channels[lane], time_ns, data, time_ns, message["sequence"] & 0xFFFFFFFF)

    def note(self, name: str, facts: dict[str, str]) -> None:
        self.writer.add_metadata(name, facts)

    def size(self) -> int:
        self.file.flush()
        return self.file.tell()

    def close(self) -> None:
        self.writer.finish()  # type: ignore[no-untyped-call]
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


class RecordingError(Exception):
    """This file is no recording that can be used; the text says why and what to do."""


class RecordingContents(NamedTuple):
    """facts: configuration, models and what was in force, as JSON (agent/recorder/recorder.py). messages: (lane, message) in the

    order of the file. torn: it ends in the middle.
    """

    facts: dict[str, str]
    messages: list[tuple[str, dict[str, Any]]]
    lost: int
    torn: bool


def read(path: Path, stream: IO[bytes] | None = None) -> RecordingContents:
    """Also of a file whose end is missing, after a power cut. stream: its content, if not in the file. Raises RecordingError."""
    try:
        with stream or open(path, "rb") as file:
            return _parse(path, file)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error


def _parse(path: Path, file: IO[bytes]) -> RecordingContents:
    facts: dict[str, str] = {}
    messages: list[tuple[str, dict[str, Any]]] = []
    topics: dict[int, tuple[str, list[str]]] = {}
    lost, torn = 0, False
    try:
        for record in StreamReader(file, record_size_limit=1 << 28).records:
            if isinstance(record, Channel):
                topics[record.id] = record.topic.removeprefix("/"), json.loads(record.metadata["channels"])
            elif isinstance(record, Message):
                lane, channels = topics[record.channel_id]
                messages.append((lane, {**json.loads(record.data), "channels": channels}))
            elif isinstance(record, Metadata) and record.name == "reflexd":
                facts = dict(record.metadata)
            elif isinstance(record, Metadata) and record.name == "lost":
                lost += int(record.metadata["samples"])
    except BROKEN as error:
        if not facts:
            raise RecordingError(f"{path}: not a recording of reflexd: {error}") from error
        torn = True
    if not facts:
        raise RecordingError(f"{path}: not a recording of reflexd")
    return RecordingContents(facts, messages, lost, torn)
