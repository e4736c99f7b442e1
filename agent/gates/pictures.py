"""The gate of a camera: what changed, what moves, and where."""

from __future__ import annotations

import cv2
import numpy as np

from agent.data import Array, Box, Sample
from agent.gates.base import LONG_AGO, Gate
from agent.gates.config import GateConfig, Motion
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels
from agent.prepare.region import Region
from agent.vision.tracks import overlap

THUMBNAIL_COLUMNS = 160  # about: of the small grey picture that is compared


class PictureGate(Gate):
    """Compares thumbnails: every few pixels of the frame, in grey and smoothed."""

    def __init__(self, config: GateConfig, pixels: Pixels) -> None:
        super().__init__(config)
        self.pixels = pixels
        self.keyframe = config.keyframe
        self.motion = config.motion
        self.shape: tuple[int, ...] = ()
        self.moved: Box | None = None  # in the last inferred frame

    def set_preparation(self, preparation: Preparation) -> None:
        assert isinstance(preparation, Pixels)
        self.pixels = preparation

    def _allocate(self, shape: tuple[int, ...]) -> None:
        self.shape, self.t_inferred = shape, LONG_AGO
        self.stride = max(1, round(shape[1] / THUMBNAIL_COLUMNS))
        size = -(-shape[0] // self.stride), -(-shape[1] // self.stride)
        self.sampled, self.smooth, self.inferred, self.difference = (np.zeros(size, np.uint8) for _ in range(4))
        self.background: Background | None = Background(self.motion, size) if self.motion else None

    def __call__(self, sample: Sample, view: Array) -> bool:
        frame, now = sample.payload, sample.t_capture
        if frame.shape != self.shape:
            self._allocate(frame.shape)
        thumbnail = self._thumbnail(frame)
        moved = self.background.differs(thumbnail, now) if self.background else None
        due = self.due(now)
        self.gated = not (due or self._moved_on(moved) or self._changed(thumbnail))
        if self.gated:
            return False
        self.t_inferred, self.moved = now, moved
        np.copyto(self.inferred, thumbnail)
        if self.pixels.frame_shape != frame.shape:
            self.pixels.allocate(frame.shape)
        self.pixels.aim(self._region(moved) if moved and not due else self.pixels.whole)
        return self.pixels(frame, view)

    def _moved_on(self, moved: Box | None) -> bool:
        """Something moves, and elsewhere than in the last inferred frame if that had findings."""
        if not moved:
            return False
        assert self.motion
        return not self.findings or not self.moved or overlap(moved, self.moved) < 1.0 - self.motion.min_change

    def _thumbnail(self, frame: Array) -> Array:
        """Brightness: of colours the green, which makes up most of it to eye and sensor; of YUYV the Y."""
        grey = frame if frame.ndim == 2 else frame[:, :, 0 if self.pixels.layout == "yuyv" else 1]
        np.copyto(self.sampled, grey[:: self.stride, :: self.stride])
        return cv2.blur(self.sampled, (3, 3), dst=self.smooth)

    def _changed(self, thumbnail: Array) -> bool:
        if not self.keyframe:
            return False
        changed = np.greater(cv2.absdiff(thumbnail, self.inferred, dst=self.difference), self.keyframe.threshold)
        return bool(np.count_nonzero(changed) >= self.keyframe.min_changed * thumbnail.size)

    def _region(self, moved: Box) -> Region:
        """Around what moved and the last findings: of the frame's aspect, never smaller than the model's input."""
        assert self.motion
        if not self.motion.crop:
            return self.pixels.whole
        boxes = [moved, *(finding.box for finding in self.findings if finding.box)]
        pad = self.motion.pad
        around = Box(
            min(box.left for box in boxes) - pad,
            min(box.top for box in boxes) - pad,
            max(box.right for box in boxes) + pad,
            max(box.bottom for box in boxes) + pad,
        )
        height, width = self.shape[:2]
        min_share = max(self.pixels.size[1] / width, self.pixels.size[0] / height)
        share = min(1.0, max(around.right - around.left, around.bottom - around.top, min_share))
        return _region_around(around, share, width, height)


def _region_around(box: Box, share: float, width: int, height: int) -> Region:
    """The part of a frame with `share` of its sides around the middle of a box, shifted into the frame."""
    wide, high = round(share * width / 2) * 2, round(share * height)
    left = round(((box.left + box.right) * width - wide) / 4) * 2  # even, for YUYV
    top = round(((box.top + box.bottom) * height - high) / 2)
    wide, high = min(wide, width), min(high, height)
    return Region(min(max(left, 0), (width - wide) // 2 * 2), min(max(top, 0), height - high), wide, high)


class Background:
    """The thumbnail of a fixed camera when nothing happens: a running mean of each pixel."""

    def __init__(self, motion: Motion, size: tuple[int, int]) -> None:
        self.motion = motion
        self.settle_ns = motion.settle_s * 1e9
        self.mean = np.zeros(size, np.float32)
        self.grey, self.mask = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        self.t_update = -1

    def differs(self, thumbnail: Array, now: int) -> Box | None:
        """The box around all large parts that differ, in shares of the picture; None without one. Updates the mean."""
        if self.t_update < 0 or now <= self.t_update:
            self.mean[...] = thumbnail
        share = min(1.0, (now - self.t_update) / self.settle_ns) if 0 <= self.t_update < now else 1.0
        self.t_update = now
        cv2.convertScaleAbs(self.mean, dst=self.grey)
        cv2.accumulateWeighted(thumbnail, self.mean, share)
        cv2.absdiff(thumbnail, self.grey, dst=self.mask)
        cv2.threshold(self.mask, self.motion.threshold, 1, cv2.THRESH_BINARY, dst=self.mask)
        min_pixels = self.motion.min_area * thumbnail.size
        if cv2.countNonZero(self.mask) < min_pixels:
            return None
        _, _, parts, _ = cv2.connectedComponentsWithStats(self.mask, connectivity=8)
        large = parts[1:][parts[1:, cv2.CC_STAT_AREA] >= min_pixels]
        if not len(large):
            return None
        left, top = large[:, :2].min(axis=0).tolist()
        right, bottom = (large[:, :2] + large[:, 2:4]).max(axis=0).tolist()
        height, width = thumbnail.shape
        return Box(left / width, top / height, right / width, bottom / height)
