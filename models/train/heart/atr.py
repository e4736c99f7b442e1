"""The annotations of a PhysioNet record in MIT format (RECORD.atr): where the beats are, by experts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.data import DataError

MAX_BYTES = 10_000_000
# Codes of beats: N L R a V F J A S E j / Q e f r n B ? (WFDB Applications Guide, ecgcodes.h)
BEATS = frozenset([*range(1, 14), 25, 30, 34, 35, 38, 41])
FIBRILLATION, FIBRILLATION_END = 32, 33  # [ and ]
SKIP, NUMBERS, AUX = 59, (60, 61, 62), 63


class Annotations(NamedTuple):
    """beats: int64 [n], sample number of each. fibrillation: int64 [n, 2], first and last sample of each episode."""

    beats: Array
    fibrillation: Array


def read(path: Path) -> Annotations:
    """Read RECORD.atr. Raises DataError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES} bytes")
        annotations = parse(data)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no annotations in MIT format: {error}") from error
    starts = [sample for sample, code in annotations if code == FIBRILLATION]
    ends = [sample for sample, code in annotations if code == FIBRILLATION_END]
    if len(starts) != len(ends) or any(end < start for start, end in zip(starts, ends)):
        raise DataError(f"{path}: {len(starts)} annotations [ and {len(ends)} annotations ] do not form pairs")
    episodes = np.array(list(zip(starts, ends)), np.int64).reshape(-1, 2)
    return Annotations(np.array([sample for sample, code in annotations if code in BEATS], np.int64), episodes)


def parse(data: bytes) -> list[tuple[int, int]]:
    """(sample, code) of each annotation. Raises ValueError.

    Words of 16 bits: 6 bits code, 10 bits samples since the annotation before. SKIP: a long interval follows, high word
    first. AUX: that many bytes of text follow, padded to an even number. NUMBERS belong to the annotation before. Two
    zero bytes end the list.
    """
    words = np.frombuffer(data, "<u2", len(data) // 2).tolist()
    annotations: list[tuple[int, int]] = []
    sample = position = 0
    while position < len(words):
        code, value = words[position] >> 10, words[position] & 1023
        position += 1
        if code == 0 and value == 0:
            return annotations
        if code == SKIP:
            if position + 2 > len(words):
                break
            interval = words[position] << 16 | words[position + 1]
            sample += interval - (interval >> 31 << 32)
            position += 2
        elif code == AUX:
            position += (value + 1) // 2
        elif code not in NUMBERS:
            sample += value
            if annotations and sample < annotations[-1][0] or sample < 0:
                raise ValueError("the time steps back")
            annotations.append((sample, code))
    raise ValueError("the file is cut short")
