"""The library that this room needs, without importing it."""

from __future__ import annotations

import importlib.util

MISSING = "a site needs the Python package 'eclipse-zenoh': scripts/setup site, or pip install 'reflexd[site]'"


def installed() -> bool:
    return importlib.util.find_spec("zenoh") is not None
