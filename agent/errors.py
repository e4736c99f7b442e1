"""Errors of which a person reads one line, and whether they can heal without that person."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# An address, a disk, a name server, a port or memory may come back; what these name stays until somebody changes it.
_LASTING = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP),
        *(errno.ENOSYS, errno.EFBIG, errno.EPIPE),
    }
)


class Pending(str):
    """A mistake that may be none later: a folder on a disk that is not mounted yet."""


def about_file(path: Path, mistake: str) -> str:
    """The mistake of a file; Pending where its folder is absent, as its disk may be late."""
    return mistake if os.path.exists(path.parent) else Pending(mistake)


class ConfigError(Exception):
    """The configuration is wrong; `mistakes` has one line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class PackageError(Exception):
    """A model package cannot be used; the text names the file, the mistake and the remedy."""


class MissingPackage(PackageError):
    """There is no such folder, where its path was given: its disk may be late."""


class DataError(Exception):
    """Recordings or training data are missing or not laid out as expected; the text names the file and the remedy."""


def first_line(error: Exception, length: int = 160) -> str:
    """Of its message: engines add whole traces of their own."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:length]


def heals(error: BaseException | None) -> bool:
    """It may work later as it is: a restart is right. Judged by the first cause of a known kind."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, ConfigError) and any(isinstance(mistake, Pending) for mistake in error.mistakes):
            return all(isinstance(mistake, Pending) for mistake in error.mistakes)
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno not in _LASTING
        error = error.__cause__
    return False
