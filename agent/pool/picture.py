"""Picture files that may be hostile or damaged: whole and within bounds, or refused with the reason."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from agent.box import files
from agent.box.files import BadFile
from agent.data import Array
from agent.vision import reference
from drivers.camera import _jpeg

SUFFIXES = (".jpg", ".jpeg", ".png")


class BadPicture(Exception):
    """The text is the end of a sentence that starts with the file's name."""


def read(path: Path) -> Array:
    """uint8 [height, width, 3], bgr. Raises BadPicture."""
    try:
        with files.open_regular(path, reference.MAX_BYTES) as file:
            raw = file.read()
    except BadFile as error:
        raise BadPicture(str(error)) from error
    except OSError as error:
        raise BadPicture(f"cannot be read: {error.strerror}") from error
    width, height = reference.size(raw) or (0, 0)
    if not width or not height:
        raise BadPicture("is no PNG or JPEG picture, or its header is damaged")
    if width * height > reference.MAX_PIXELS:
        raise BadPicture(f"has {width} x {height} pixels; at most {reference.MAX_PIXELS:,} are read")
    if raw.startswith(reference.PNG) and not _is_whole(raw):
        raise BadPicture("is damaged or breaks off: copy it again")
    picture = _jpeg.decode(np.frombuffer(raw, np.uint8))
    if picture is None:
        raise BadPicture("does not decode: it is damaged or breaks off")
    return picture


def _is_whole(png: bytes) -> bool:
    """Every chunk up to IEND has its checksum: the decoder fills what is missing with black, silently."""
    at = len(reference.PNG)
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 8 + length
        if png[end : end + 4] != struct.pack(">I", zlib.crc32(memoryview(png)[at + 4 : end])):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False
