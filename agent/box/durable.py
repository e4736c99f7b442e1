"""Whole folders on the disk, also after a power cut."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path


def same(folder: Path, other: Path) -> bool:
    """Both have the same files with the same bytes."""
    names = [sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()) for root in (folder, other)]
    return names[0] == names[1] and not any(filecmp.cmpfiles(folder, other, names[0], shallow=False)[1:])


def own_as(path: Path, folder: Path) -> None:
    """What root makes belongs to who owns the folder: the daemon, which is another user, must change it, too."""
    if os.geteuid() == 0:
        status = os.stat(folder)
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def remove(path: Path) -> None:
    """Raises OSError."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def sync(folder: Path) -> None:
    """Every file and folder below, and it: on the disk. Raises OSError."""
    for where, _, names in os.walk(folder):
        for name in names:
            _sync_path(os.path.join(where, name), os.O_RDONLY)
        _sync_path(where, os.O_RDONLY | os.O_DIRECTORY)


def sync_folder(folder: Path) -> None:
    _sync_path(str(folder), os.O_RDONLY | os.O_DIRECTORY)


def _sync_path(path: str, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
