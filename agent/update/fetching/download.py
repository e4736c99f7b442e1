"""A large file, fetched in as many tries as it takes: each goes on where the one before it broke off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError

from agent.box import private
from agent.update.fetching.fetch import Fetcher

RANGE_NOT_SATISFIABLE = 416


def download(fetcher: Fetcher, url: str, path: Path, length: int) -> None:
    """path: of this content alone, as it is named after its hash. Its hash is the caller's to check.

    Raises DownloadError, DownloadLengthMismatchError, OSError; Paused where the fetcher's pace does.
    """
    have = path.stat().st_size if path.exists() else 0
    if have == length and path.exists():
        return
    begin, chunks = _opened(fetcher, url, path, have if have < length else 0)
    if begin not in (0, have):
        raise DownloadError(f"asked from byte {have:,} on, and the server begins at {begin:,}")
    have = begin
    with _part(path, begin) as file:
        for chunk in chunks:
            have += len(chunk)
            if have > length:
                path.unlink()
                raise DownloadLengthMismatchError(f"more than {length:,} bytes")
            file.write(chunk)
    if have < length:
        raise DownloadError(f"broke off after {have:,} of {length:,} bytes; it goes on there next time")


def _part(path: Path, begin: int) -> BinaryIO:
    """Open for what comes from `begin` on. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, private.FILE)
    file = os.fdopen(fd, "wb")
    file.truncate(begin)
    file.seek(begin)
    return file


def _opened(fetcher: Fetcher, url: str, path: Path, offset: int) -> tuple[int, Iterator[bytes]]:
    """As Fetcher.read. Raises DownloadError."""
    try:
        return fetcher.read(url, offset)
    except DownloadHTTPError as error:
        if error.status_code == RANGE_NOT_SATISFIABLE:
            path.unlink(missing_ok=True)  # from the beginning next time
        raise
