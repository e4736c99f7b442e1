"""A module of one engine, as a dotted path names it."""

from tests.engines import Other as Engine  # noqa: F401
