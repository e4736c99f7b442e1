"""Why an update is refused: a reason that metrics count, and one message of what, where and what to do."""

from __future__ import annotations

import errno

from tuf.api import exceptions as tuf

SIGNATURE, EXPIRED, REPLAYED, MIXED = "signature", "expired", "replayed", "mixed"
ENDLESS, SILENT, UNREACHABLE, DAMAGED = "endless", "silent", "unreachable", "damaged"
DISK, CLOCK, BOMB, GOLDEN, ROOT, ABSENT, SWAP = "disk", "clock", "bomb", "golden", "root", "absent", "swap"
REASONS = (
    *(SIGNATURE, EXPIRED, REPLAYED, MIXED, ENDLESS, SILENT, UNREACHABLE, DAMAGED),
    *(DISK, CLOCK, BOMB, GOLDEN, ROOT, ABSENT, SWAP),
)
FULL = (errno.ENOSPC, errno.EDQUOT)


class Refused(Exception):
    """No update now; the model in use runs on. The text is a sentence for a person."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Paused(Exception):
    """The window has closed, or the process ends: the download goes on later where it was."""


def explain(error: Exception, url: str, clock: str) -> Refused:
    """Of an error of python-tuf or of the system. url: of the repository. clock: what this box's clock says."""
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, tuf.ExpiredMetadataError):
        advice = (
            "sign it again there ('reflexd model refresh'); if the clock is wrong, set it (timedatectl set-ntp true)"
        )
        return Refused(EXPIRED, f"{url}: {error}, as this box's clock says {clock}: {advice}")
    for kind, reason, text in _KINDS:
        if isinstance(error, kind):
            return Refused(reason, f"{url}: {text} ({_words(error)})")
    raise error


_KINDS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        tuf.UnsignedMetadataError,
        SIGNATURE,
        "not signed by the keys of update.root: compare that file with the repository's root.json; if both are the"
        " same, somebody has changed the repository",
    ),
    (
        tuf.BadVersionNumberError,
        REPLAYED,
        "older than what this box has seen: an old copy is served, or the repository was restored from one: publish"
        " again",
    ),
    (
        tuf.LengthOrHashMismatchError,
        MIXED,
        "files that do not belong together: a copy of the repository is incomplete, or somebody has changed it: copy it"
        " whole",
    ),
    (
        tuf.DownloadLengthMismatchError,
        ENDLESS,
        "sends more than was announced: it is no repository, or somebody answers in its place: see what the server"
        " sends",
    ),
    (tuf.SlowRetrievalError, SILENT, "sends nothing or too little: see whether the server and the network are well"),
    (
        tuf.DownloadHTTPError,
        UNREACHABLE,
        "the file is not served: see update.url, and whether the repository lies there whole",
    ),
    (tuf.DownloadError, UNREACHABLE, "not reachable: see update.url, the server and the network"),
    (tuf.RepositoryError, DAMAGED, "no valid repository: see update.url, and whether the repository lies there whole"),
)


def _of_system(error: OSError) -> Refused:
    where = error.filename or "state_dir"
    if error.errno in FULL:
        return Refused(DISK, f"{where}: the disk is full: free some space ('reflexd doctor' says where)")
    return Refused(DISK, f"{where}: {error.strerror or error}: see the rights and the health of the disk")


def _words(error: Exception) -> str:
    """The first cause that says something."""
    cause: BaseException | None = error
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause).splitlines()
    return text[0][:200] if text else type(cause).__name__
