"""Is an MP4 or MOV mirrored, as by a phone's front camera? OpenCV knows angles only, and would turn it by 180 degrees.

Boxes and matrices: ISO 14496-12, 8.2.2 and 8.3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from agent.data import Array

MAX_BOXES = 10_000  # of a level
MATRIX_AT = {b"mvhd": (36, 48), b"tkhd": (40, 52)}  # behind version and flags, by version: of 32 or 64 bit times


def matrix(path: str | Path) -> Array | None:
    """Int [2, 2] of -1, 0, 1 by which pixels (x, y) are multiplied; None where the picture is not mirrored.

    Raises OSError.
    """
    with open(path, "rb") as file:
        for content in _boxes(file, (0, file.seek(0, 2)), b"moov"):
            movie = next((_matrix(file, b"mvhd", box) for box in _boxes(file, content, b"mvhd")), np.eye(2))
            for track in _boxes(file, content, b"trak"):
                header = next((_matrix(file, b"tkhd", box) for box in _boxes(file, track, b"tkhd")), None)
                if header is not None and _shows_pictures(file, track):
                    return _mirrored(header @ movie)
    return None


def upright(picture: Array, mirrored: Array, target: Array | None = None) -> Array:
    """The picture, mirrored by a `matrix`; in target, where it fits."""
    if mirrored[0, 0] == 0:
        picture = cv2.transpose(picture)
        return picture if mirrored[0, 1] > 0 else cv2.flip(picture, -1, target)
    return cv2.flip(picture, 1 if mirrored[0, 0] < 0 else 0, target)


def _mirrored(product: Array) -> Array | None:
    """Only where the axes stay axes; without the scale."""
    signs = np.sign(np.where(np.abs(product) * 2 > np.abs(product).max(), product, 0)).astype(int)
    return signs if round(np.linalg.det(signs)) == -1 else None


def _boxes(file: BinaryIO, within: tuple[int, int], kind: bytes) -> Iterator[tuple[int, int]]:
    """Where the content of each of this kind starts and ends."""
    start, end = within
    for _ in range(MAX_BOXES):
        file.seek(start)
        head = file.read(16)
        length, content = int.from_bytes(head[:4], "big"), start + 8
        if length == 1:
            length, content = int.from_bytes(head[8:16], "big"), start + 16
        stop = start + length if length else end
        if len(head) < 8 or not content <= stop <= end:
            return
        if head[4:8] == kind:
            yield content, stop
        start = stop


def _matrix(file: BinaryIO, kind: bytes, box: tuple[int, int]) -> Array:
    """Float [2, 2] of a header; the identity where it is too short."""
    file.seek(box[0])
    content = file.read(min(box[1] - box[0], 100))
    at = MATRIX_AT[kind][bool(content[:1] == b"\x01")]
    values = np.frombuffer(content[at : at + 20], ">i4").astype(float)
    return values[[0, 1, 3, 4]].reshape(2, 2) if len(values) == 5 else np.eye(2)


def _shows_pictures(file: BinaryIO, track: tuple[int, int]) -> bool:
    for media in _boxes(file, track, b"mdia"):
        for handler, _ in _boxes(file, media, b"hdlr"):
            file.seek(handler + 8)
            return file.read(4) == b"vide"
    return False
