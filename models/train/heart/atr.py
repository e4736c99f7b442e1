"""The annotations of a PhysioNet record, MIT format (RECORD.atr): what experts say where the beats are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.data import DataError

MAX_BYTES = 10_000_000
# Codes of what is a beat: N L R a V F J A S E j / Q e f r n B ? (WFDB Applications Guide, ecgcodes.h)
BEATS = frozenset([*range(1, 14), 25, 30, 34, 35, 38, 41])
FIBRILLATION, OVER = 32, 33  # [ and ]
SKIP, NUMBERS, AUX = 59, (60, 61, 62), 63


class Annotations(NamedTuple):
    """beats: int64, sample of each. fibrillation: int64 [n, 2], first and last sample of each episode."""

    beats: Array
    fibrillation: Array


def read(path: Path) -> Annotations:
    """Raises DataError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES} bytes")
        marks = parse(data)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no annotations in MIT format: {error}") from error
    starts = [at for at, code in marks if code == FIBRILLATION]
    ends = [at for at, code in marks if code == OVER]
    if len(starts) != len(ends) or any(end < start for start, end in zip(starts, ends)):
        raise DataError(f"{path}: {len(starts)} times [ and {len(ends)} times ], which do not pair")
    episodes = np.array(list(zip(starts, ends)), np.int64).reshape(-1, 2)
    return Annotations(np.array([at for at, code in marks if code in BEATS], np.int64), episodes)


def parse(data: bytes) -> list[tuple[int, int]]:
    """(sample, code) of each annotation. Raises ValueError.

    Words of 16 bits: 6 of code, 10 of samples since the one before. SKIP: a longer time follows, high word first.
    AUX: so many bytes of text follow, padded to even. NUMBERS belong to the annotation before. Two zero bytes end it.
    """
    words = np.frombuffer(data, "<u2", len(data) // 2).tolist()
    marks, at, place = [], 0, 0
    while place < len(words):
        code, value = words[place] >> 10, words[place] & 1023
        place += 1
        if code == 0 and value == 0:
            return marks
        if code == SKIP:
            if place + 2 > len(words):
                break
            far = words[place] << 16 | words[place + 1]
            at += far - (far >> 31 << 32)
            place += 2
        elif code == AUX:
            place += (value + 1) // 2
        elif code not in NUMBERS:
            at += value
            if marks and at < marks[-1][0] or at < 0:
                raise ValueError("time steps back")
            marks.append((at, code))
    raise ValueError("it is cut short")
