"""Where a daemon keeps its files when its configuration does not say; imports nothing slow."""

from __future__ import annotations

import os
from pathlib import Path


def default_run_dir() -> Path:
    """RUNTIME_DIRECTORY of systemd, else /run/reflexd for root, else the user's runtime folder."""
    of_user = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/reflexd-{os.geteuid()}"
    return _folder_of("RUNTIME_DIRECTORY", "/run", of_user)


def default_state_dir() -> Path:
    """STATE_DIRECTORY of systemd, else /var/lib/reflexd for root, else the user's state folder."""
    of_user = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return _folder_of("STATE_DIRECTORY", "/var/lib", of_user)


def _folder_of(variable: str, of_root: str, of_user: str | Path) -> Path:
    """variable: a list from systemd, of which the first folder is used as it is."""
    first = os.environ.get(variable, "").split(":")[0]
    return Path(first) if first else Path(of_root if os.geteuid() == 0 else of_user) / "reflexd"
