"""Bit-identical pictures one after the other: the camera, or what feeds it, is frozen."""

from __future__ import annotations

import cv2
import numpy as np

from agent.data import Array

ROWS, COLUMNS = 12, 16  # of the pixels that are compared first: in the picture of a live camera some of them differ
STRIPES = 8  # the rest is compared in so many parts, up to the first that differs
MIN_REPEATS = 3  # of a slow camera: two pictures may be longer apart than the limit


class FrozenPictures:
    """Remembers the newest picture, also while the camera is closed: opening a frozen one again does not heal it."""

    def __init__(self, limit_ms: float) -> None:
        """limit_ms: identical pictures for this long are frozen."""
        self.limit_ns = int(limit_ms * 1e6)
        self.shape: tuple[int, ...] = ()
        self.repeats = 0
        self.since = 0  # capture time of the first of the identical pictures
        self.sample = b""  # the pixels compared first, of the newest picture
        self.full: Array | None = None  # a copy, made once the compared pixels did not differ
        self.copied = False  # `full` is the newest picture

    def __call__(self, picture: Array, t_capture: int, comparable: bool = True) -> bool:
        """True once pictures have been identical for the limit. comparable: False counts as one that differs."""
        if not (comparable and self._repeats(picture)):
            self.repeats, self.since = 0, t_capture
            return False
        self.repeats += 1
        return self.repeats >= MIN_REPEATS and t_capture - self.since >= self.limit_ns

    def _repeats(self, picture: Array) -> bool:
        """The picture is the one before, bit by bit. Live pictures cost the comparison of a few pixels."""
        if picture.shape != self.shape:
            self._start(picture)
            return False
        before, self.sample = self.sample, self._sampled(picture)
        if self.sample != before:
            self.copied = False
            return False
        if self.copied and self._equals_copy(picture):
            return True
        if self.full is None:
            self.full = np.empty_like(picture)
        np.copyto(self.full, picture)
        self.copied = True
        return False

    def _equals_copy(self, picture: Array) -> bool:
        assert self.full is not None
        rows = -(-self.shape[0] // STRIPES)
        return all(
            cv2.norm(picture[top : top + rows], self.full[top : top + rows], cv2.NORM_INF) == 0
            for top in range(0, self.shape[0], rows)
        )

    def _sampled(self, picture: Array) -> bytes:
        return bytes(picture[self.pixels].tobytes())

    def _start(self, picture: Array) -> None:
        self.shape, self.full, self.copied = picture.shape, None, False
        channel = ((picture.shape[2] - 1) // 2,) if picture.ndim == 3 else ()
        steps = (
            slice(None, None, max(1, picture.shape[0] // ROWS)),
            slice(None, None, max(1, picture.shape[1] // COLUMNS)),
        )
        self.pixels = *steps, *channel
        self.sample = self._sampled(picture)
