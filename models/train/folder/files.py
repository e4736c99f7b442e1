"""A user's folder: one sub-folder for each label, the files in it, and which of them are held out for the test."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.train.data import DataError

UNLABELLED = "unlabelled"
SIDECAR = ".events.csv"  # in place of a recording's .csv
MIN_FILES = 3  # of a label: two to learn from, one for the test
TEST_SHARE = 0.25
MAX_FILES = 5000  # more files need a recipe of their own
MAX_LABELS = 100


class File(NamedTuple):
    """label: its number, -1 for none. test: held out. group: the person, machine or day, "" for none."""

    path: Path
    label: int
    test: bool = False
    group: str = ""


def list_files(
    folder: Path, suffixes: Iterable[str], seed: int, events: Sequence[str] = ()
) -> tuple[list[str], list[File]]:
    """Labels in the order of their names, and the files of each, split. Raises DataError.

    events: labels without a sub-folder; they come after the others.
    """
    labels, names = _labels(folder, events)
    accepted = tuple(suffixes)
    by_label = {label: _labelled(folder / label, accepted) for label in labels if label in names}
    _check_unique(by_label)
    files = [file for number, label in enumerate(by_label) for file in _split(by_label[label], number, seed)]
    if UNLABELLED in names:
        files += [File(path, -1) for path in usable(folder / UNLABELLED, accepted)]
    if len(files) > MAX_FILES:
        raise DataError(f"{folder}: {len(files):,} files; at most {MAX_FILES:,} are read: use a selection of them")
    return labels, files


def _labels(folder: Path, events: Sequence[str]) -> tuple[list[str], list[str]]:
    """Labels, and names of sub-folders. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    names = sorted(part.name for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    labels = [name for name in names if name != UNLABELLED]
    both = [event for event in events if event in names or events.count(event) > 1]
    if both:
        raise DataError(f"--events {both[0]}: there is a sub-folder of that name, or it is named twice: leave it out")
    if not labels or not 2 <= len(labels) + len(events) <= MAX_LABELS:
        raise DataError(
            f"{folder}: {len(labels)} sub-folders that name labels; make one for each label, 2 to {MAX_LABELS}"
        )
    return [*labels, *events], names


def _labelled(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    paths = usable(folder, suffixes)
    if len(paths) < MIN_FILES:
        raise DataError(
            f"{folder}: {len(paths) or 'no'} files ({', '.join(suffixes)}); a label needs {MIN_FILES} or more: "
            "whole files are held out for the test"
        )
    return paths


def usable(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    paths = _without_sidecars(paths)
    usable = [path for path in paths if path.suffix.lower() in suffixes]
    if len(usable) < len(paths):
        warn(f"{folder}: {len(paths) - len(usable)} files skipped, not {', '.join(suffixes)}")
    return usable


def _without_sidecars(paths: list[Path]) -> list[Path]:
    """Raises DataError where one has no recording."""
    rest = [path for path in paths if not path.name.endswith(SIDECAR)]
    known = {path.with_suffix("") for path in rest if path.suffix.lower() == ".csv"}
    for path in paths:
        if path.name.endswith(SIDECAR) and path.with_name(path.name.removesuffix(SIDECAR)) not in known:
            raise DataError(f"{path}: events of a recording {path.name.removesuffix(SIDECAR)}.csv that is not there")
    return rest


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
