"""A module of one engine, as a dotted path names it."""

from tests.engines import Ends as Engine  # noqa: F401
