"""Where a daemon keeps its files when its configuration does not say; imports nothing slow."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent.errors import ConfigError


def default_run_dir() -> Path:
    """RUNTIME_DIRECTORY of systemd, else /run/reflexd for root, else the user's runtime folder. Raises ConfigError."""

    def of_user() -> Path:
        return Path(os.environ.get("XDG_RUNTIME_DIR") or _checked(_fallback()))

    return _folder_of("RUNTIME_DIRECTORY", "/run", of_user)


def default_state_dir() -> Path:
    """STATE_DIRECTORY of systemd, else /var/lib/reflexd for root, else the user's state folder. Raises ConfigError."""
    return _folder_of("STATE_DIRECTORY", "/var/lib", lambda: _of_user("XDG_STATE_HOME", ".local/state"))


def default_cache_dir() -> Path:
    """CACHE_DIRECTORY of systemd, else /var/cache/reflexd for root, else the user's cache. Raises ConfigError."""
    return _folder_of("CACHE_DIRECTORY", "/var/cache", lambda: _of_user("XDG_CACHE_HOME", ".cache"))


def make(folder: Path) -> None:
    """Make it where it is missing; the one in /tmp for its owner alone. Raises OSError, ConfigError."""
    fallback = _fallback()
    if fallback in (folder, *folder.parents):
        with suppress(FileExistsError):
            os.mkdir(fallback, 0o700)
        os.chmod(_checked(fallback), 0o700)
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)


def _fallback() -> Path:
    return Path(f"/tmp/reflexd-{os.geteuid()}")


def _checked(folder: Path) -> Path:
    """Unless somebody else made it, or could put links into it, which our files would be written through."""
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return folder
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError([f"{folder}: a link or a file, not a folder: remove it, or set run_dir to another folder"])
    if status.st_uid != os.geteuid():
        raise ConfigError([f"{folder}: belongs to user {status.st_uid}: remove it, or set run_dir to another folder"])
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError([f"{folder}: other users may write there: remove it, or set run_dir to another folder"])
    return folder


def _of_user(variable: str, folder: str) -> Path:
    """folder: in the user's home. Raises ConfigError."""
    try:
        return Path(os.environ.get(variable) or Path.home() / folder)
    except RuntimeError as error:
        raise ConfigError(["this user has no home folder: set state_dir in the configuration"]) from error


def _folder_of(variable: str, of_root: str, of_user: Callable[[], Path]) -> Path:
    """variable: a list from systemd, of which the first folder is used as it is."""
    first = os.environ.get(variable, "").split(":")[0]
    if first:
        return Path(first)
    return (Path(of_root) if os.geteuid() == 0 else of_user()) / "reflexd"
