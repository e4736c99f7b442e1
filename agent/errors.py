"""Errors that end a command with exit code 2: a person must change something before it can work."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration is wrong; `mistakes` has one line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class PackageError(Exception):
    """A model package cannot be used; the text names the file, the mistake and the remedy."""


class DataError(Exception):
    """Recordings or training data are missing or not laid out as expected; the text names the file and the remedy."""
