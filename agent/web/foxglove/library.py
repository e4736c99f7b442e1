"""The library that this room needs, without importing it."""

from __future__ import annotations

import importlib.util

MISSING = (
    "web.foxglove needs the Python package 'foxglove-sdk': scripts/setup foxglove, or pip install 'reflexd[foxglove]'"
)


def installed() -> bool:
    return importlib.util.find_spec("foxglove") is not None
