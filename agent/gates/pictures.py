"""The gate of a camera: what changed, what moves, and where."""

from __future__ import annotations

import cv2
import numpy as np

from agent.data import Array, Box, Sample
from agent.gates.base import Gate
from agent.gates.config import GateConfig, Motion
from agent.prepare.pixels import Pixels, Region
from agent.vision.tracks import overlap

GRID = 160  # columns of the small picture in which changes are looked for


class PictureGate(Gate):
    """Compares small grey pictures: every few pixels of the frame, smoothed."""

    def __init__(self, config: GateConfig, pixels: Pixels) -> None:
        super().__init__(config)
        self.pixels = pixels
        self.keyframe = config.keyframe
        self.motion = config.motion
        self.shape: tuple[int, ...] = ()
        self.moved: Box | None = None  # at the last look

    def fit(self, shape: tuple[int, ...]) -> None:
        self.shape, self.t_inferred = shape, -(1 << 62)
        self.stride = max(1, round(shape[1] / GRID))
        size = -(-shape[0] // self.stride), -(-shape[1] // self.stride)
        self.picked, self.small, self.kept, self.step = (np.zeros(size, np.uint8) for _ in range(4))
        self.background: Background | None = Background(self.motion, size) if self.motion else None

    def __call__(self, sample: Sample, view: Array) -> bool:
        frame, now = sample.payload, sample.t_capture
        if frame.shape != self.shape:
            self.fit(frame.shape)
        small = self.look(frame)
        moved = self.background.differs(small, now) if self.background else None
        due = self.due(now)
        self.held = not (due or self.elsewhere(moved) or self.changed(small))
        if self.held:
            return False
        self.t_inferred, self.moved = now, moved
        np.copyto(self.kept, small)
        if self.pixels.frame_shape != frame.shape:
            self.pixels.fit(frame.shape)
        self.pixels.aim(self.region(moved) if moved and not due else self.pixels.whole)
        return self.pixels(frame, view)

    def elsewhere(self, moved: Box | None) -> bool:
        """Something moves, and not where it was at the last look if that found anything."""
        if not moved:
            return False
        assert self.motion
        return not self.findings or not self.moved or overlap(moved, self.moved) < 1.0 - self.motion.min_change

    def look(self, frame: Array) -> Array:
        """Brightness: of colours the green, which the eye and the sensor take for most of it; of YUYV the Y."""
        grey = frame if frame.ndim == 2 else frame[:, :, 0 if self.pixels.pixels == "yuyv" else 1]
        np.copyto(self.picked, grey[:: self.stride, :: self.stride])
        return cv2.blur(self.picked, (3, 3), dst=self.small)

    def changed(self, small: Array) -> bool:
        if not self.keyframe:
            return False
        far = np.greater(cv2.absdiff(small, self.kept, dst=self.step), self.keyframe.threshold)
        return bool(np.count_nonzero(far) >= self.keyframe.min_changed * small.size)

    def region(self, moved: Box) -> Region:
        """Around what moved and what was found last: of the frame's shape, and never smaller than what the model takes."""
        assert self.motion
        if not self.motion.crop:
            return self.pixels.whole
        boxes = [moved, *(one.box for one in self.findings if one.box)]
        pad = self.motion.pad
        around = Box(
            min(box.left for box in boxes) - pad,
            min(box.top for box in boxes) - pad,
            max(box.right for box in boxes) + pad,
            max(box.bottom for box in boxes) + pad,
        )
        height, width = self.shape[:2]
        least = max(self.pixels.size[1] / width, self.pixels.size[0] / height)
        return inside(
            around, min(1.0, max(around.right - around.left, around.bottom - around.top, least)), width, height
        )


def inside(around: Box, share: float, width: int, height: int) -> Region:
    """The part of a frame that has `share` of its sides and lies around the middle of a box, within the frame."""
    wide, high = round(share * width / 2) * 2, round(share * height)
    left = round(((around.left + around.right) * width - wide) / 4) * 2  # even, for YUYV
    top = round(((around.top + around.bottom) * height - high) / 2)
    wide, high = min(wide, width), min(high, height)
    return Region(min(max(left, 0), (width - wide) // 2 * 2), min(max(top, 0), height - high), wide, high)


class Background:
    """What a fixed camera sees when nothing happens: a running mean of each pixel."""

    def __init__(self, motion: Motion, size: tuple[int, int]) -> None:
        self.motion = motion
        self.settle_ns = motion.settle_s * 1e9
        self.mean = np.zeros(size, np.float32)
        self.grey, self.far = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        self.t_seen = -1

    def differs(self, small: Array, now: int) -> Box | None:
        """Around all that does, in shares of the picture; None where no part is large enough."""
        if self.t_seen < 0 or now <= self.t_seen:
            self.mean[...] = small
        share = min(1.0, (now - self.t_seen) / self.settle_ns) if 0 <= self.t_seen < now else 1.0
        self.t_seen = now
        cv2.convertScaleAbs(self.mean, dst=self.grey)
        cv2.accumulateWeighted(small, self.mean, share)
        cv2.absdiff(small, self.grey, dst=self.far)
        cv2.threshold(self.far, self.motion.threshold, 1, cv2.THRESH_BINARY, dst=self.far)
        least = self.motion.min_area * small.size
        if cv2.countNonZero(self.far) < least:
            return None
        _, _, parts, _ = cv2.connectedComponentsWithStats(self.far, connectivity=8)
        large = parts[1:][parts[1:, cv2.CC_STAT_AREA] >= least]
        if not len(large):
            return None
        left, top = large[:, :2].min(axis=0).tolist()
        right, bottom = (large[:, :2] + large[:, 2:4]).max(axis=0).tolist()
        height, width = small.shape
        return Box(left / width, top / height, right / width, bottom / height)
