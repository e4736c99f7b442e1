"""Files in memory that a lane writes without a system call and other processes read: ledgers and tapes."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from agent.box import private


def new_file(path: Path, size: int, readers: int = 0) -> mmap.mmap:
    """A mapped file of zeros whose blocks exist, so that a full disk shows here and not as SIGBUS in the lane.

    readers: the mode's bits for others than its owner. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = private.create_unfinished(path)
    try:
        _allocate(fd, size, path)
        os.fchmod(fd, private.FILE | readers)
        # Populated: the first write to a page must not be a page fault in the lane.
        memory = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(fd)
    os.replace(private.unfinished(path), path)  # readers of the old run keep the old file
    return memory


def _allocate(fd: int, size: int, path: Path) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:  # the kernel does not say which file
        raise OSError(error.errno, f"{error.strerror}, it takes {size / 1e6:.1f} MB", str(path)) from error


def inode_of(path: Path | str) -> int:
    """Which file is there now: another number once a lane has made it again; 0 where there is none."""
    try:
        return os.stat(path, follow_symlinks=False).st_ino
    except OSError:
        return 0
