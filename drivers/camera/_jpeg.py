"""Pictures, whole or not at all: a JPEG decoder fills what is missing before the end mark with grey, silently."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from agent.data import Array
from drivers.camera import _jpeg_restarts, _jpeg_scans

START = b"\xff\xd8"
GREY = 128  # of a block without coefficients, in all three colours
# Decoded as more coefficients where some are missing, and skipped where the picture is complete. No marker: no 0xff;
# and 0 first, in case the data end with one.
FILLER = bytes((0, *range(7, 250, 3)))
ONE_SCAN = _jpeg_scans.Scans(several=False, all_there=True)
SIZE_MARKERS = (0xC0, 0xC1, 0xC2)  # start of frame: baseline, extended, progressive


def decode(content: Array, flags: int = cv2.IMREAD_COLOR, one_scan: bool = False) -> Array | None:
    """uint8 bgr of the bytes of a picture file; None where it does not decode, or a JPEG that was cut and ended.

    one_scan: it has no more, as from a camera. Not noticed: missing bytes of the last block only; some holes in a
    scan that refines, whose wrong codes may end the blocks before its data end.
    """
    picture = _decoded(content, flags)
    if picture is None or content[:2].tobytes() != START:
        return picture
    scans = ONE_SCAN if one_scan else _jpeg_scans.read(content.data)
    if not scans.all_there or not _jpeg_restarts.all_there(content.data):
        return None
    if scans.several or _ends_grey(picture):
        return picture if _complete(content.tobytes(), picture, flags) else None
    return picture


def size(jpeg: bytes) -> tuple[int, int]:
    """Height and width by its header; (0, 0) where there is none."""
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        if jpeg[at + 1] in SIZE_MARKERS:
            return int.from_bytes(jpeg[at + 5 : at + 7], "big"), int.from_bytes(jpeg[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return 0, 0


def _decoded(content: Array, flags: int) -> Array | None:
    try:
        picture: Array | None = cv2.imdecode(content, flags)
    except cv2.error:
        return None
    return picture


def _ends_grey(picture: Array) -> bool:
    """The last block, in one of the corners: a photograph may be stored turned."""
    return any((picture[y, x] == GREY).all() for y in (-1, 0) for x in (-1, 0))


def _complete(jpeg: bytes, picture: Array, flags: int) -> bool:
    """More data at the end of each stretch change nothing: every block was there."""
    bounds = [0, *_jpeg_scans.stretches(memoryview(jpeg)), len(jpeg)]
    more = FILLER.join(jpeg[start:end] for start, end in pairwise(bounds))
    filled = _decoded(np.frombuffer(more, np.uint8), flags)
    return filled is not None and np.array_equal(picture, filled)
