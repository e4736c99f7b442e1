"""Groups of files: persons, machines, days. Whole groups are held out, so that the test is on one never seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.train.data import DataError
from models.train.folder.files import TEST_SHARE, File, warn

TRIALS = 200  # random choices of each number of groups


def name_groups(files: Sequence[File], folder: Path, pattern: str) -> list[File]:
    """The files with the group that the pattern finds in each one's path inside the folder. Raises DataError."""
    expression = _compiled(pattern)
    number = min(expression.groupindex.values(), default=1)
    names = []
    for file in files:
        match = expression.search(file.path.relative_to(folder).as_posix())
        names.append(match.group(number) or "" if match else "")
    missing = [file.path.relative_to(folder) for file, name in zip(files, names) if not name]
    if missing:
        raise DataError(
            f"--group '{pattern}' matches {_number(len(files) - len(missing))} of {len(files)} files"
            f", and not '{missing[0].as_posix()}': every file needs a group"
        )
    return [file._replace(group=name) for file, name in zip(files, names)]


def _number(count: int) -> str:
    return f"only {count}" if count else "none"


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"--group '{pattern}' is not a regular expression: {error}") from error
    if not expression.groups:
        raise DataError(f"--group '{pattern}' has no brackets: put them around what names the group, as in '(p[0-9]+)'")
    return expression


def hold_out(files: Sequence[File], own: Sequence[set[int]], labels: Sequence[str], seed: int) -> list[File]:
    """The files, split by group: a quarter of the groups, at least one, is held out, and each label is on both sides.

    own: the labels in each file. A file without a group is one of its own; one without a label whose group is held out
    is left out. Raises DataError where there is no such split.
    """
    names = [file.group or file.path.name for file in files]
    by_group: dict[str, set[int]] = {}
    for file, name, present in zip(files, names, own):
        if file.label >= 0:
            by_group[name] = by_group.get(name, set()) | present
    kind = "group" if any(file.group for file in files) else "file"
    if len(by_group) < 2:
        raise DataError(
            f"all files are in the one {kind} '{next(iter(by_group))}': whole groups are held out, so it"
            " takes two or more"
        )
    _check_labels(by_group, labels, kind)
    held_out = _choose(by_group, len(labels), seed)
    if not held_out:
        raise DataError(
            f"no choice of {kind}s to hold out leaves every label on both sides: add recordings of those"
            f" labels that few {kind}s have"
        )
    split = [file._replace(test=file.label >= 0 and name in held_out) for file, name in zip(files, names)]
    kept = [file for file, name in zip(split, names) if file.label >= 0 or name not in held_out]
    if len(kept) < len(split):
        warn(f"{len(split) - len(kept)} files without a label left out: their {kind} is held out")
    return kept


def _check_labels(by_group: dict[str, set[int]], labels: Sequence[str], kind: str) -> None:
    for number, label in enumerate(labels):
        having = [name for name, present in by_group.items() if number in present]
        if not having:
            raise DataError(f"label '{label}': no file and no event has it")
        if len(having) < 2:
            raise DataError(f"label '{label}' is only in {kind} '{having[0]}': to learn and to test take two or more")


def _choose(by_group: dict[str, set[int]], labels: int, seed: int) -> set[str]:
    """Empty where none is found. As near to TEST_SHARE as the labels allow."""
    names, random = sorted(by_group), np.random.default_rng(seed)
    wanted = max(1, round(TEST_SHARE * len(names)))
    for size in [*range(wanted, len(names)), *range(wanted - 1, 0, -1)]:
        for _ in range(TRIALS):
            order = [names[number] for number in random.permutation(len(names))]
            sides = order[:size], order[size:]
            if all(len(set().union(*(by_group[name] for name in side))) == labels for side in sides):
                return set(sides[0])
    return set()
