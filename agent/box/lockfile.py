"""A lock file that ends with its process, also by kill -9."""

from __future__ import annotations

import fcntl
from pathlib import Path

from agent.errors import ConfigError


class lock:
    """Held from construction to `release`. Raises ConfigError where another process holds it."""

    def __init__(self, path: Path, taken: str) -> None:
        """taken: the message in that case."""
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.file = open(path, "a", encoding="ascii")  # noqa: SIM115 open as long as the lock is held
        except OSError as error:
            advice = "set run_dir to a folder that this user may write"
            raise ConfigError([f"{error.filename or path}: {error.strerror}: {advice}"]) from error
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise ConfigError([taken]) from None

    def release(self) -> None:
        self.file.close()
