"""Files that may be hostile: only regular ones are read, inside their folder and within a size; a FIFO never blocks."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

CHUNK = 1 << 20


class BadFile(Exception):
    """A file that is not read; the text is the end of a sentence that starts with its path."""


def open_regular(path: Path, limit: int) -> BinaryIO:
    """limit: bytes, of a file that may be larger than memory. Raises BadFile."""
    try:
        unfit = _unfit(os.stat(path).st_mode)  # before open, which may do something to a device
        if unfit:
            raise BadFile(unfit)
        # Not blocking: it may have been replaced by a FIFO just now.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a zero byte, a lone surrogate
        raise BadFile(f"cannot be read: {error}") from error
    status = os.fstat(number)
    reason = _unfit(status.st_mode)
    if status.st_size > limit:
        reason = f"has {status.st_size:,} bytes; at most {limit:,} are read"
    if reason:
        os.close(number)
        raise BadFile(reason)
    return open(number, "rb")


def _unfit(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "is no regular file but a folder"
    return "" if stat.S_ISREG(mode) else "is no regular file"


def digest(path: Path, limit: int) -> str:
    """sha256 in hexadecimal digits. Raises BadFile."""
    import hashlib  # slow to import, and `reflexd status` reads files, too

    sha256, left = hashlib.sha256(), limit
    with open_regular(path, limit) as file:
        try:
            while (chunk := file.read(CHUNK)) and left >= 0:
                sha256.update(chunk)
                left -= len(chunk)
        except OSError as error:
            raise BadFile(f"cannot be read: {error.strerror}") from error
    return sha256.hexdigest()


def leads_out(name: str) -> bool:
    """The path is absolute or has a '..', so that it may name a file outside of its folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def inside(folder: Path, name: str) -> Path:
    """The path of a file of the folder. Raises BadFile where it is outside, or a link that leads out."""
    try:
        root, real = os.path.realpath(folder), os.path.realpath(folder / name)
    except (OSError, ValueError) as error:
        raise BadFile(f"cannot be read: {error}") from error
    if leads_out(name) or os.path.commonpath([root, real]) != root:
        raise BadFile("is outside of the folder, or a link out of it: put the file itself there")
    return folder / name
