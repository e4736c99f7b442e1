"""The records of an MCAP file, also around holes: a power cut leaves zeros where data were not yet on disk."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Metadata
from mcap.stream_reader import StreamReader, breakup_chunk
from zstandard import ZstdError, frame_content_size

# What reading raises where a file was cut or changed
READ_ERRORS = (
    McapError,
    ZstdError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
    AttributeError,
    struct.error,
)
# A few kB may expand to gigabytes: a chunk of ours has recording.CHUNK bytes or one message, and text shrinks to a
# twentieth.
MAX_RECORD = 1 << 25
MAX_CONTENT, MAX_RATIO = 1 << 24, 50
MAX_HOLES = 1000
BLOCK = 1 << 20  # read at once in the search for the next chunk
# A chunk: opcode, length, start, end, uncompressed size, CRC, and the name of its compression
CHUNK_START = struct.Struct("<BQQQQI8s")
MAGIC = b"\x89MCAP0\r\n"
FOOTER = struct.Struct("<BQQQI")  # opcode, length, start of the summary, of its offsets, CRC
COMPRESSION = b"\x04\x00\x00\x00zstd"
PRIVATE = 0x80  # opcodes from here on are of other programs; one below that the format lacks is no record


class Hole(NamedTuple):
    """Bytes between two records that cannot be read."""

    size: int


class Expands(Exception):
    """To much more than a recording of its size does."""


class _Reader(StreamReader):
    def _read_record(self, opcode: int, length: int) -> McapRecord | None:
        record = super()._read_record(opcode, length)
        if record is None and opcode < PRIVATE:
            raise McapError(f"no record has the opcode {opcode}")
        return record


def records(file: IO[bytes]) -> Iterator[McapRecord | Hole]:
    """Those inside chunks, too, and holes. Raises READ_ERRORS where the file has no end."""
    content = _Content(file)
    try:
        for _ in range(MAX_HOLES):
            try:
                yield from content.stretch()
                return
            except READ_ERRORS:
                hole = content.hole()
                if hole is None:
                    yield from content.rest()
                    raise
                yield hole
    except Expands as error:
        raise ValueError("it expands to much more than a recording of its size does") from error
    raise ValueError(f"it has more than {MAX_HOLES} holes")


class _Content:
    """A file that is read up to a hole, and on from the chunk behind it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = MAX_CONTENT + MAX_RATIO * file.seek(0, os.SEEK_END)
        self._at = 0  # the end of the last record that could be read

    def stretch(self) -> Iterator[McapRecord | Hole]:
        """Raises READ_ERRORS, Expands."""
        self._file.seek(self._at)
        reader = _Reader(self._file, skip_magic=self._at > 0, emit_chunks=True, record_size_limit=MAX_RECORD)
        for record in reader.records:
            start, self._at = self._at, self._file.tell()
            if isinstance(record, Chunk):
                yield from self._inside(record, self._at - start)
            else:
                yield Hole(self._at - start) if _zeroed(record) else record

    def _inside(self, chunk: Chunk, size: int) -> Iterator[McapRecord | Hole]:
        """What is in a chunk; a hole where its content is damaged, as its check sum says. Raises Expands."""
        try:
            self._left -= _expanded(chunk)
            if self._left < 0:
                raise Expands
            if not chunk.data:
                raise ValueError("a chunk is empty: its own sizes are zeros")
            inside: list[McapRecord | Hole] = [*breakup_chunk(chunk, validate_crc=True)]
        except READ_ERRORS:
            inside = [Hole(size)]
        yield from inside

    def hole(self) -> Hole | None:
        """Up to the next chunk, or to the summary at the end, where reading goes on; None where there is none."""
        end = self._next_chunk()
        if end is None:
            end = self._summary()
        if end is None:
            return None
        size, self._at = end - self._at, end
        return Hole(size)

    def rest(self) -> Iterator[Hole]:
        """Of a recording without an end: what is behind its last record."""
        left = self._file.seek(0, os.SEEK_END) - self._at
        if left and self._at:
            yield Hole(left)

    def _summary(self) -> int | None:
        """Where it begins, as the footer says, behind which the file may be padded with zeros."""
        start = max(self._at, self._file.seek(0, os.SEEK_END) - BLOCK)
        self._file.seek(start)
        tail = self._file.read(BLOCK).rstrip(b"\0")
        if not self._at or not tail.endswith(MAGIC) or len(tail) < FOOTER.size + len(MAGIC):
            return None
        at = len(tail) - FOOTER.size - len(MAGIC)
        opcode, _, summary, *_ = FOOTER.unpack_from(tail, at)
        return int(summary) if opcode == Opcode.FOOTER and self._at < summary < start + at else None

    def _next_chunk(self) -> int | None:
        """The first behind the last record that could be read, and not at its end: that one is damaged."""
        at = self._at + 1
        overlap = CHUNK_START.size - 1
        file_size = self._file.seek(0, os.SEEK_END)
        while at < file_size:
            self._file.seek(at)
            block = self._file.read(BLOCK + overlap)
            for offset in _chunks(block):
                if _fits(block, offset, file_size - at):
                    return at + offset
            at += BLOCK
        return None


def _chunks(block: bytes) -> Iterator[int]:
    """Where compressed chunks may begin in it."""
    before = CHUNK_START.size - len(COMPRESSION)
    place = block.find(COMPRESSION, before)
    while place >= 0:
        yield place - before
        place = block.find(COMPRESSION, place + 1)


def _fits(block: bytes, at: int, left: int) -> bool:
    opcode, length, *_ = CHUNK_START.unpack_from(block, at)
    return bool(opcode == Opcode.CHUNK and length <= min(MAX_RECORD, left - at))


def _zeroed(record: McapRecord) -> bool:
    """Outside of chunks no check sum says so; but no text of ours has a zero in it."""
    if not isinstance(record, (Metadata, Channel)):
        return False
    name = record.name if isinstance(record, Metadata) else record.topic
    return any("\0" in text for text in (name, *record.metadata, *record.metadata.values()))


def _expanded(chunk: Chunk) -> int:
    """Its size in memory, before it is expanded. Raises ValueError, ZstdError."""
    if chunk.compression not in ("", "zstd"):
        raise ValueError(f"a chunk is compressed by {chunk.compression[:10]!r}")
    size = len(chunk.data)
    if chunk.compression:  # the decoder believes the frame's own header, and the chunk's where that has no size
        size = max(chunk.uncompressed_size, frame_content_size(chunk.data))
    if size > MAX_RECORD:
        raise ValueError(f"a chunk expands to {size / 1e6:.0f} MB")
    return size
