"""The libraries that this room needs, without importing them."""

from __future__ import annotations

import importlib.util

from agent.errors import ConfigError

MISSING = "updates need the Python packages 'tuf' and 'bsdiff4': scripts/setup update, or pip install 'reflexd[update]'"


def installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("tuf", "securesystemslib", "bsdiff4"))


def check_installed() -> None:
    """Raises ConfigError."""
    if not installed():
        raise ConfigError([MISSING])
