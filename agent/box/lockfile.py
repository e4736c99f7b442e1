"""A lock file that ends with its process, also by kill -9."""

from __future__ import annotations

import fcntl
from pathlib import Path

from agent.errors import ConfigError


class lock:
    """Held from the moment it is made until `release`. Raises ConfigError when another process has it."""

    def __init__(self, path: Path, taken: str) -> None:
        """taken: what to say then."""
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.file = open(path, "a", encoding="ascii")
        except OSError as error:
            where = error.filename or path
            raise ConfigError(
                [f"{where}: {error.strerror}: set run_dir to a folder that this user may write"]
            ) from error
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise ConfigError([taken]) from None

    def release(self) -> None:
        self.file.close()
