"""A lock file that ends with its process, also by kill -9."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from agent.errors import ConfigError

WAIT_STEP_S = 0.02


class lock:
    """Held from construction to `release`. Raises ConfigError where another process holds it."""

    def __init__(self, path: Path, taken: str, wait_s: float = 0.0) -> None:
        """taken: the message in that case. wait_s: how long to wait for a process that ends."""
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.file = open(path, "a", encoding="ascii")  # noqa: SIM115 open as long as the lock is held
        except OSError as error:
            advice = "set run_dir to a folder that this user may write"
            raise ConfigError([f"{error.filename or path}: {error.strerror}: {advice}"]) from error
        end = time.monotonic() + wait_s
        while not self._taken():
            if time.monotonic() >= end:
                self.file.close()
                raise ConfigError([taken])
            time.sleep(WAIT_STEP_S)

    def _taken(self) -> bool:
        """By this process, now."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        self.file.close()


def host_lock(name: str, endpoint: str, run_dir: Path) -> Path:
    """The lock file that an actuator's host holds, beside its socket or where that would be."""
    path = endpoint.removeprefix("ipc://")
    return Path(f"{path}.lock") if endpoint.startswith("ipc://") and path[:1] != "@" else run_dir / f"{name}.sock.lock"
