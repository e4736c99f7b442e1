"""Is a video file whole? Its headers say how long it is; how many pictures it has, many of them only estimate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

# Top-level boxes of ISO 14496-12 and QuickTime. Anything else ends the walk: cameras append data of their own.
BOXES = (
    *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"meta", b"sidx", b"mfra", b"emsg", b"prft", b"pdin", b"udta"),
    *(b"free", b"skip", b"wide", b"uuid", b"pnot"),
)
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # RFC 8794, RFC 9559
MAX_PARTS = 100_000  # of a file: a hostile one may have a part every eight bytes
EMPTY_END = 4096  # a download that reserved its space and stopped leaves zeros


def missing_bytes(path: str | Path) -> int:
    """How many bytes MP4, MOV, Matroska, WebM and AVI promise beyond the file's end; 0 where whole, or another kind."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[4:8] in BOXES:
            promised = _end_of_boxes(file, size)
        elif head.startswith(EBML):
            promised = _end_of_segment(file)
        elif head.startswith(b"RIFF") and head[8:] == b"AVI ":
            promised = _end_of_riff(file, size)
        else:
            return 0
        # What follows the promised end is padding, of a block or of a reserved size.
        return max(0, promised - size) or (_empty_end(file, size) if promised == size else 0)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    at = 0
    for _ in range(MAX_PARTS):
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if at >= size or kind not in BOXES:
            return at
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file
            return size
        at += length
    return size


def _end_of_segment(file: BinaryIO) -> int:
    """0 where the size is unknown: a live recording."""
    file.seek(len(EBML))
    header = _ebml_size(file)
    file.seek(header, os.SEEK_CUR)
    if file.read(len(SEGMENT)) != SEGMENT:
        return 0
    length = _ebml_size(file)
    return file.tell() + length if length else 0


def _ebml_size(file: BinaryIO) -> int:
    """An integer whose length is the number of leading zero bits; 0 where all its other bits are ones: unknown."""
    first = file.read(1)
    length = 9 - first[0].bit_length() if first and first[0] else 1
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return 0 if value == (1 << 7 * length) - 1 else value


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """Of the last RIFF chunk: files of more than 1 GB have several. 0 where the recording was never finished."""
    at = 0
    for _ in range(MAX_PARTS):
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF":
            break
        if length in (0, 0xFFFFFFFF):
            return 0
        at += 8 + length + length % 2
    return at - 1 if at == size + 1 else at  # the last padding byte is often left out


def _empty_end(file: BinaryIO, size: int) -> int:
    """Bytes at the end that were never written, at most EMPTY_END."""
    file.seek(max(0, size - EMPTY_END))
    end = file.read(EMPTY_END)
    return 0 if len(end) < EMPTY_END or any(end) else EMPTY_END
