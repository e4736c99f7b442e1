"""A user's folder: one sub-folder per label, files in it, and which of them the network never sees."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.train.data import DataError

UNLABELLED = "unlabelled"
LEAST = 3  # files a label: two to learn from, one to be tested on
TEST_SHARE = 0.25
MAX_FILES = 5000  # more than that is for a recipe of its own
MAX_LABELS = 100


class File(NamedTuple):
    """label: its number, -1 for none. test: held out."""

    path: Path
    label: int
    test: bool = False


def listing(folder: Path, suffixes: Iterable[str], seed: int) -> tuple[list[str], list[File]]:
    """Labels in the order of their names, and the files of each, split. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    parts = sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    labels = [part.name for part in parts if part.name != UNLABELLED]
    if not 2 <= len(labels) <= MAX_LABELS:
        raise DataError(
            f"{folder}: {len(labels)} sub-folders that name labels; make one for each label, 2 to {MAX_LABELS}"
        )
    kinds = tuple(suffixes)
    found = {label: _usable(folder / label, kinds) for label in labels}
    for label, paths in found.items():
        if len(paths) < LEAST:
            raise DataError(
                f"{folder / label}: {len(paths) or 'no'} files ({', '.join(kinds)}); a label needs {LEAST} or more: "
                "whole files are held out for the test"
            )
    _unique(found)
    files = [file for number, label in enumerate(labels) for file in _split(found[label], number, seed)]
    if UNLABELLED in (part.name for part in parts):
        files += [File(path, -1) for path in _usable(folder / UNLABELLED, kinds)]
    if len(files) > MAX_FILES:
        raise DataError(f"{folder}: {len(files):,} files; at most {MAX_FILES:,} are read: take a choice of them")
    return labels, files


def _usable(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    good = [path for path in paths if path.suffix.lower() in suffixes]
    if len(good) < len(paths):
        say(f"{folder}: {len(paths) - len(good)} files passed over, not {', '.join(suffixes)}")
    return good


def _unique(found: dict[str, list[Path]]) -> None:
    """A copy of a file on the other side of the split would be a test that proves nothing. Raises DataError."""
    seen: dict[tuple[int, bytes], Path] = {}
    for path in (path for paths in found.values() for path in paths):
        mark = path.stat().st_size, _digest(path)
        if mark in seen:
            raise DataError(f"{path} is the same as {seen[mark]}: remove one, as copies would be learned and tested")
        seen[mark] = path


def _digest(path: Path) -> bytes:
    """Of the first megabyte; the size counts, too."""
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(1 << 20)).digest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _split(paths: list[Path], label: int, seed: int) -> list[File]:
    """A quarter of a label's files, at least one, is held out; whole files, as parts of one recording are too alike."""
    order = np.random.default_rng(seed).permutation(len(paths))
    held = {int(number) for number in order[: max(1, round(TEST_SHARE * len(paths)))]}
    return [File(path, label, number in held) for number, path in enumerate(paths)]


def say(text: str) -> None:
    print(text, file=sys.stderr)
