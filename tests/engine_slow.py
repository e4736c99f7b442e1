"""A module of one engine, as a dotted path names it."""

from tests.engines import Slow as Engine  # noqa: F401
