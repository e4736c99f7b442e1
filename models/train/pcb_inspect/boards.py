"""Pairs of circuit boards, laid out like DeepPCB: a picture with defects, one without, and the boxes of the defects."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array
from models.train.data import DataError, find_set

NAME = "inspect-deeppcb"
KINDS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")  # in the order of the labels' numbers 1 to 6
SIDE = 640  # pixels of a picture's side
MARGIN = 10  # pixels between a defect and its box (median of all the labels)

# A group is a board. Four of them were used only when the recipe was fixed: neither in training nor in any choice.
HELD_OUT = ("group13000", "group20085", "group50600", "group92000")
# The others are the training boards, left out in turn for the choices.
FOLDS = (("group12100",), ("group12000", "group12300"), ("group00041", "group44000", "group90100"))
TRAINED = frozenset(group for fold in FOLDS for group in fold)


class Defect(NamedTuple):
    """kind: index into KINDS. Pixels, right and bottom excluded; with MARGIN around."""

    kind: int
    left: float
    top: float
    right: float
    bottom: float


class Pair(NamedTuple):
    """One place of one board. test, template: uint8 [SIDE, SIDE], copper black."""

    name: str
    group: str
    test: Array
    template: Array
    defects: list[Defect]


def load(data: Path) -> list[Pair]:
    """Every pair below `data`, by name. Raises DataError."""
    folder = find_set(data, NAME, "group*/*/*_test.jpg")
    return [_pair(path) for path in sorted(folder.glob("group*/*/*_test.jpg"))]


def _pair(test: Path) -> Pair:
    """groupX/X/N_test.jpg goes with N_temp.jpg beside it and groupX/X_not/N.txt."""
    name = test.name.removesuffix("_test.jpg")
    labels = test.parent.with_name(f"{test.parent.name}_not") / f"{name}.txt"
    template = _grey(test.with_name(f"{name}_temp.jpg"))
    return Pair(name, test.parent.parent.name, _grey(test), template, _read_labels(labels))


def _grey(path: Path) -> Array:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if picture is None or picture.shape != (SIDE, SIDE):
        raise DataError(f"{path}: expected a picture of {SIDE} x {SIDE} pixels")
    return np.asarray(picture)


def _read_labels(path: Path) -> list[Defect]:
    """Lines of "left top right bottom kind"."""
    defects = []
    try:
        for line_number, line in enumerate(path.read_text().splitlines(), 1):
            left, top, right, bottom, kind = (int(value) for value in line.replace(",", " ").split())
            if not (0 < kind <= len(KINDS) and left < right and top < bottom):
                raise DataError(f"{path}:{line_number}: expected 'left top right bottom kind', kind 1 to {len(KINDS)}")
            defects.append(Defect(kind - 1, left, top, right, bottom))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected lines of 'left top right bottom kind': {error}") from error
    return defects
