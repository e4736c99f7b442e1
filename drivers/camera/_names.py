"""Names of files that are not UTF-8: OpenCV takes no other, nor does a log or a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path


def readable(path: Path | str) -> str:
    """For messages: a byte that is not UTF-8 as its hexadecimal code."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def local(name: str, example: str) -> str:
    """The name itself. Raises ValueError, whose text quotes no part of it, where it is the address of a camera."""
    if re.match(r"\w+:/?/", name):
        raise ValueError(f"expected {example}: an address of a camera, rtsp://, is the 'url' of driver camera.rtsp")
    return name


def utf8_name(path: str) -> str:
    """A name that OpenCV can open: of a file whose own name is not UTF-8, that of a descriptor. Raises OSError."""
    if readable(path) == path:
        return path
    return f"/proc/self/fd/{os.open(path, os.O_RDONLY | os.O_CLOEXEC)}"
