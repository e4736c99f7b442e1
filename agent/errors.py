"""What ends a command with exit code 2: a person must change something before it can work."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration is wrong; `mistakes` has one line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class PackageError(Exception):
    """This package cannot be used; the text says which file, what is wrong and what to do."""


class DataError(Exception):
    """Recordings or training data are missing or not laid out as they must be; the text says which file and what to do."""
