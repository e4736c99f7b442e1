"""A recording on disk: MCAP with a topic per lane, JSON messages and their schema inside."""

from __future__ import annotations

import json
import os
import stat
import sys
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

from mcap.exceptions import EndOfFile, InvalidMagic, McapError
from mcap.writer import CompressionType, Writer
from zstandard import ZstdError

from agent.recorder.contents import CHANNELS, HEADER, Contents
from agent.recorder.records import READ_ERRORS, records
from agent.tapes.format import TapeHeader

CHUNK = 1 << 18  # bytes of messages that are compressed together
_encoded = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
FOREIGN = "an MCAP file of another program, or its beginning is damaged"

VERSION = version("reflexd")
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
        "position": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "of readings, after this sample: since an inference was due, phase of the filter,"
            " readings until its next output",
        },
        "refined": {"type": "boolean", "description": "the refining model ran"},
        "refine_skipped": {"type": "boolean", "description": "there was no time for the refining model"},
        "heads": {"type": "integer", "description": "a bit for each head of the lane that ran"},
        "restarted": {"type": "boolean", "description": "the first inference since the source was opened"},
        "outputs": {"type": "array", "items": {"type": "object"}},
        "inputs": {"type": "array", "items": {"type": "object"}},
        "evidence": {"type": "array", "items": {"type": "object"}},
        "decisions": {"type": "array", "items": {"type": "object"}},
        "lost": {"type": "boolean", "description": "of this sample only its decisions were recorded"},
    },
}


class Recording:
    """One file being written. What was added is in the file after `flush`, not before."""

    def __init__(self, file: IO[bytes], header: dict[str, str]) -> None:
        """header: what a replay needs (agent/recorder/settings.py). Raises OSError."""
        self._file = file
        self._writer = Writer(file, chunk_size=sys.maxsize, compression=CompressionType.ZSTD)
        self._writer.start("reflexd", f"reflexd {VERSION}")
        self._writer.add_metadata(HEADER, header)
        self._header = header
        self._schema = self._writer.register_schema("reflexd.Sample", "jsonschema", json.dumps(SCHEMA).encode())
        self._channels: dict[tuple[str, str, float], int] = {}  # by lane, its channels and their rate
        self._newest: dict[str, tuple[TapeHeader, int]] = {}  # of each lane: tape and channel of its last message
        self._flushes, self._repeat_at = 0, 3  # the first has the schema alone
        self.unflushed = 0  # bytes
        self.size = 0  # bytes in the file
        self.flush()

    def add(self, tape: TapeHeader, message: dict[str, Any], time_ns: int) -> None:
        newest = self._newest.get(tape.lane)
        if newest is None or newest[0] is not tape:
            newest = self._newest[tape.lane] = tape, self._channel(tape)
        channel, data = newest[1], _encoded(message).encode()
        self._writer.add_message(channel, time_ns, data, time_ns, message["sequence"] & 0xFFFFFFFF)
        self.unflushed += len(data)

    def _channel(self, tape: TapeHeader) -> int:
        key = tape.lane, json.dumps(tape.channels), tape.rate_hz
        channel = self._channels.get(key)
        if channel is None:
            channel = self._writer.register_channel(f"/{tape.lane}", "json", self._schema, _source(*key[1:]))
            self._channels[key] = channel
        return channel

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        self._writer.add_metadata(name, values)

    def flush(self) -> None:
        """A process that is killed afterwards leaves all that was added. Raises OSError."""
        self._writer.flush()
        self._flushes += 1
        if self._flushes == self._repeat_at:
            self._repeat()
        self.unflushed, self.size = 0, self._file.tell()

    def _repeat(self) -> None:
        """What a hole at the beginning would take. A few kB, each time after twice as many chunks as before."""
        self._repeat_at *= 2
        self._writer.add_metadata(HEADER, self._header)
        copies = {str(number): {"lane": key[0], **_source(*key[1:])} for key, number in self._channels.items()}
        self._writer.add_metadata(CHANNELS, {number: json.dumps(copy) for number, copy in copies.items()})
        self._file.flush()

    def finish(self) -> None:
        """Nothing is added any more; the file stays open."""
        self._writer.finish()
        self._file.flush()

    def close(self) -> None:
        self.finish()
        os.fsync(self._file.fileno())
        self._file.close()


def _source(channels: str, rate_hz: float) -> dict[str, str]:
    """channels: their names as JSON."""
    return {"channels": channels, "rate_hz": repr(rate_hz)}


class RecordingError(Exception):
    """A file that cannot be used as a recording; the text says why and what to do."""


class RecordingContents(NamedTuple):
    """A recording as it was read.

    header: configuration, models and the decisions in force, as JSON (agent/recorder/recorder.py). messages: (lane,
    message) in the order of the file. lost: samples that were not recorded; lost_decisions: decisions. damaged: the
    file has no end. unreadable: bytes in holes of the file; missing: readings and pictures known to be in them.
    """

    header: dict[str, str]
    messages: list[tuple[str, dict[str, Any]]]
    lost: int
    damaged: bool
    lost_decisions: int = 0
    unreadable: int = 0
    missing: int = 0


def read(path: Path, stream: IO[bytes] | None = None) -> RecordingContents:
    """Also where the end is missing, after a power cut. stream: the content, unless in path. Raises RecordingError."""
    try:
        if not stream and not stat.S_ISREG(os.stat(path).st_mode):
            raise RecordingError(f"{path}: not a file")  # the open of a pipe would wait for its writer
        with stream or open(path, "rb") as file:
            return _parse(path, file)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error


def _parse(path: Path, file: IO[bytes]) -> RecordingContents:
    contents = Contents()
    damaged = False
    try:
        for record in records(file):
            contents.add(record)
    except READ_ERRORS as error:
        if not contents.header:
            raise RecordingError(f"{path}: not a recording of reflexd: {_reason(error, file)}") from error
        damaged = True
    if not contents.header:
        raise RecordingError(f"{path}: not a recording of reflexd: {FOREIGN}")
    return RecordingContents(
        header={**contents.header, "lost_before": "1"} if contents.starts_late else contents.header,
        messages=contents.messages,
        lost=contents.lost,
        damaged=damaged,
        lost_decisions=contents.lost_decisions,
        unreadable=contents.unreadable,
        missing=contents.missing,
    )


def _reason(error: Exception, file: IO[bytes]) -> str:
    """In words, also where the exception has none."""
    if not file.seek(0, os.SEEK_END):
        return "the file is empty"
    if isinstance(error, InvalidMagic):
        return "it does not begin as an MCAP file does"
    if isinstance(error, (EndOfFile, EOFError)):
        return "it ends too early"
    known = isinstance(error, (McapError, ZstdError)) or type(error) is ValueError
    return str(error) if known and str(error) else FOREIGN
