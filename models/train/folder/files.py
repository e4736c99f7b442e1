"""A user's folder: one sub-folder for each label, the files in it, and which of them are held out for the test."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.train.data import DataError

UNLABELLED = "unlabelled"
MIN_FILES = 3  # of a label: two to learn from, one for the test
TEST_SHARE = 0.25
MAX_FILES = 5000  # more files need a recipe of their own
MAX_LABELS = 100


class File(NamedTuple):
    """label: its number, -1 for none. test: held out."""

    path: Path
    label: int
    test: bool = False


def list_files(folder: Path, suffixes: Iterable[str], seed: int) -> tuple[list[str], list[File]]:
    """Labels in the order of their names, and the files of each, split. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    names = sorted(part.name for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    labels = [name for name in names if name != UNLABELLED]
    if not 2 <= len(labels) <= MAX_LABELS:
        raise DataError(
            f"{folder}: {len(labels)} sub-folders that name labels; make one for each label, 2 to {MAX_LABELS}"
        )
    accepted = tuple(suffixes)
    by_label = {label: _labelled(folder / label, accepted) for label in labels}
    _check_unique(by_label)
    files = [file for number, label in enumerate(labels) for file in _split(by_label[label], number, seed)]
    if UNLABELLED in names:
        files += [File(path, -1) for path in _usable(folder / UNLABELLED, accepted)]
    if len(files) > MAX_FILES:
        raise DataError(f"{folder}: {len(files):,} files; at most {MAX_FILES:,} are read: use a selection of them")
    return labels, files


def _labelled(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    paths = _usable(folder, suffixes)
    if len(paths) < MIN_FILES:
        raise DataError(
            f"{folder}: {len(paths) or 'no'} files ({', '.join(suffixes)}); a label needs {MIN_FILES} or more: "
            "whole files are held out for the test"
        )
    return paths


def _usable(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    usable = [path for path in paths if path.suffix.lower() in suffixes]
    if len(usable) < len(paths):
        warn(f"{folder}: {len(paths) - len(usable)} files skipped, not {', '.join(suffixes)}")
    return usable


def _check_unique(by_label: dict[str, list[Path]]) -> None:
    """A copy of a file on the other side of the split would be a test that proves nothing. Raises DataError."""
    known: dict[tuple[int, bytes], Path] = {}
    for path in (path for paths in by_label.values() for path in paths):
        content = path.stat().st_size, _digest(path)
        if content in known:
            raise DataError(
                f"{path} is the same as {known[content]}: remove one, as copies would be learned and tested"
            )
        known[content] = path


def _digest(path: Path) -> bytes:
    """Of the first megabyte; the size is compared, too."""
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(1 << 20)).digest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _split(paths: list[Path], label: int, seed: int) -> list[File]:
    """A quarter of a label's files, at least one, is held out; whole files, as parts of one recording are too alike."""
    order = np.random.default_rng(seed).permutation(len(paths))
    held_out = {int(number) for number in order[: max(1, round(TEST_SHARE * len(paths)))]}
    return [File(path, label, number in held_out) for number, path in enumerate(paths)]


def warn(text: str) -> None:
    print(text, file=sys.stderr)
