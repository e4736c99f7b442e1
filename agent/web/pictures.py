"""The only place where a raw picture becomes something that may leave: as the configuration allows, or not at all."""

from __future__ import annotations

import cv2
import numpy as np

from agent.data import Array
from agent.tapes.live_reader import RawPicture

SHOWN, EDGES, HIDDEN = "shown", "edges", "hidden"
QUALITY = 80  # of JPEG
LOW, HIGH = 60, 140  # thresholds of the outlines (Canny 1986)
TO_BGR = {"rgb": cv2.COLOR_RGB2BGR, "yuyv": cv2.COLOR_YUV2BGR_YUYV}

cv2.setNumThreads(1)  # beside lanes


def mode(wanted: bool | str | None, local: bool) -> tuple[str, str]:
    """How pictures are shown, and why they are not. wanted: web.pictures. local: only this box can reach the view."""
    wanted = local if wanted is None else wanted
    if wanted == EDGES:
        return EDGES, "only outlines are shown here (web.pictures: edges)"
    if wanted:
        return SHOWN, ""
    return HIDDEN, "pictures do not leave this box by this way (web.pictures: true would show them)"


def encode(picture: RawPicture, mode: str, width: int = 0) -> tuple[bytes, int, int]:
    """(JPEG, its width, its height); no JPEG where pictures are hidden. mode: SHOWN, EDGES or HIDDEN.

    width: scale down to it; 0: as it is.
    """
    values = picture.values
    height, full = values.shape[:2]
    if 0 < width < full:
        size = width, max(1, round(height * width / full))
    else:
        size = full, height
    if mode not in (SHOWN, EDGES):
        return b"", *size
    bgr = _scaled(_to_bgr(values, picture.pixels), size)
    if mode == EDGES:
        bgr = _outlines(bgr)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes(), *size


def _to_bgr(values: Array, pixels: str) -> Array:
    """Grey stays grey, which JPEG knows."""
    converted: Array = cv2.cvtColor(values, TO_BGR[pixels]) if pixels in TO_BGR else values
    return converted


def _scaled(picture: Array, size: tuple[int, int]) -> Array:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    scaled: Array = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return scaled


def _outlines(picture: Array) -> Array:
    """uint8 grey [height, width]: light lines on dark, nothing of what is between them."""
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    edges: Array = cv2.Canny(cv2.GaussianBlur(grey, (5, 5), 0), LOW, HIGH)
    lines: Array = np.where(edges > 0, np.uint8(190), np.uint8(24))
    return lines
