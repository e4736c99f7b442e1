"""The picture of a good part with which a model compares the camera's; read once, within bounds."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np

from agent.data import Array
from agent.errors import PackageError

MAX_BYTES = 64_000_000
MAX_PIXELS = 4096 * 4096  # a few kB of PNG may expand to 100 GB of pixels: the header is read first
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# JPEG markers that start a frame (ITU T.81, table B.1): C0 to CF without DHT, JPG and DAC
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
DECODER_ERRORS = b"libpng error", b"Corrupt JPEG", b"Premature end of JPEG"
MIN_CONTRAST = 2.0  # grey levels of standard deviation; less is a covered lens


class BadReference(PackageError):
    """A file that cannot be the reference of a package; the text names it, the fault and the remedy."""


def read(path: Path) -> Array:
    """The picture in grey, uint8 [height, width]. Raises BadReference."""
    raw = _read_bytes(path)
    width, height = size(raw) or (0, 0)
    if not width or not height:
        raise BadReference(f"'{path}' is no PNG or JPEG picture, or its header is damaged")
    if width * height > MAX_PIXELS:
        raise BadReference(f"'{path}' has {width} x {height} pixels; at most {MAX_PIXELS:,} are read: make it smaller")
    if not raw.rstrip(b"\0").endswith((PNG_END, JPEG_END)):
        raise BadReference(f"'{path}' breaks off before its end: copy it again")
    picture, damaged = _decode(raw)
    if picture is None or damaged:
        raise BadReference(f"'{path}' does not decode: it is damaged; save it again")
    if float(picture.std()) < MIN_CONTRAST:
        raise BadReference(f"'{path}' has no contrast, all of it is one grey: take a picture of a good part")
    return picture


def _decode(raw: bytes) -> tuple[Array | None, bool]:
    """The picture, and whether it is damaged: decoders report that on standard error only, and make up pixels."""
    stderr, captured = os.dup(2), os.memfd_create("stderr")
    os.dup2(captured, 2)
    try:
        picture: Array | None = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        picture = None
    finally:
        os.dup2(stderr, 2)
        os.lseek(captured, 0, os.SEEK_SET)
        lines = os.read(captured, 1 << 16).splitlines(keepends=True)
        os.write(2, b"".join(line for line in lines if not line.startswith(DECODER_ERRORS)))  # lines of other threads
        os.close(captured)
        os.close(stderr)
    return picture, any(line.startswith(DECODER_ERRORS) for line in lines)


def _read_bytes(path: Path) -> bytes:
    try:
        if not os.path.isfile(path):  # a pipe or a device would never end
            raise BadReference(f"'{path}' {'is no file' if os.path.exists(path) else 'does not exist'}")
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadReference(f"'{path}' cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise BadReference(f"'{path}' is larger than {MAX_BYTES:,} bytes: make it smaller")
    return raw


def size(raw: bytes) -> tuple[int, int] | None:
    """Width and height in the header; None where it is neither PNG nor JPEG."""
    if raw.startswith(PNG) and len(raw) >= 24:
        width, height = struct.unpack_from(">II", raw, 16)
        return width, height
    at = 2 if raw.startswith(JPEG) else len(raw)
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker, length = raw[at + 1], struct.unpack_from(">H", raw, at + 2)[0]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in START_OF_FRAME:
            height, width = struct.unpack_from(">HH", raw, at + 5)
            return width, height
        else:
            at += 2 + length
    return None
