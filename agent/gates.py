"""What does not matter is dropped before it costs an inference; what lasts is looked at again and again until it ends.

A gate stands between a lane's source and its preparation. It is pure: it knows the samples, their times and what was found
in those that it let through. Silence is bounded: by `silence_ms` while nothing is found, by `beat_ms` while something is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.data import Array, Box, Sample
from agent.decoders.base import Finding
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels, Region
from agent.prepare.readings import Readings
from agent.tracks import overlap

MS = 1_000_000
GRID = 160  # columns of the small picture in which changes are looked for
ALPHA, BETA = 0.5, 0.1  # of the alpha-beta filter (Benedict and Bordner 1962): half of an error is the place, a tenth the speed


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Keyframe(Section):
    """Pictures that differ enough from the last one that was looked at."""

    changed: float = Field(0.10, gt=0, le=1, description="share of the pixels that must have changed")
    step: float = Field(20.0, gt=0, lt=255, description="grey levels by which a pixel has changed")


class Motion(Section):
    """Pictures in which something differs from what a fixed camera has seen there before."""

    least: float = Field(0.005, gt=0, le=1, description="share of the picture that the smallest moving part covers")
    step: float = Field(20.0, gt=0, lt=255, description="grey levels by which a pixel has changed")
    settle_s: float = Field(1.0, gt=0, le=3600, description="what stays for some times as long belongs to the background")
    again: float = Field(
        0.5, ge=0, lt=1, description="while something is found: look again when what moves overlaps less than 1 - this with then"
    )
    crop: bool = Field(False, description="show the model only the part that moved and what was found last")
    pad: float = Field(0.1, ge=0, le=1, description="margin around that part, share of the picture")


class Outlier(Section):
    """Readings off their reference."""

    around: float | Literal["predicted"] = Field("predicted", description="a value, or what the readings before foretell")
    by: float = Field(gt=0, description="outside from here on")
    back: float | None = Field(None, ge=0, description="inside again below this; default four fifths of `by`")

    @model_validator(mode="after")
    def hysteresis(self) -> Outlier:
        if self.back is not None and self.back > self.by:
            raise ValueError(f"back: {self.back:g} is further out than by: {self.by:g}")
        return self


class GateConfig(Section):
    """Which samples of a lane are worth an inference: those that any of its parts lets through."""

    keyframe: Keyframe | None = None
    motion: Motion | None = None
    outlier: dict[str, Outlier] = Field({}, max_length=64, description="by channel")
    silence_ms: float = Field(1000.0, gt=0, le=3.6e6, description="look at least so often")
    beat_ms: float = Field(400.0, gt=0, le=3.6e6, description="while the model finds something, look at least so often")
    sure_ms: float = Field(300.0, ge=0, le=3.6e6, description="look at every sample for so long once something begins or ends")

    @model_validator(mode="after")
    def something(self) -> GateConfig:
        if bool(self.outlier) == bool(self.keyframe or self.motion):
            raise ValueError("a gate has 'keyframe' or 'motion' or both (pictures), or 'outlier' (readings)")
        return self


class Gate(ABC):
    def __init__(self, config: GateConfig) -> None:
        self.silence_ns, self.beat_ns = int(config.silence_ms * MS), int(config.beat_ms * MS)
        self.sure_ns = int(config.sure_ms * MS)
        self.t_looked = self.t_turn = -(1 << 62)
        self.found: Sequence[Finding] = ()
        self.held = False  # the newest sample was held back by this gate, and by nothing else

    @abstractmethod
    def __call__(self, sample: Sample, view: Array) -> bool:
        """As the preparation behind it: True when the tensor is filled and an inference is due. Raises DeviceFault."""

    def saw(self, found: Sequence[Finding]) -> None:
        """What the model made of what came through."""
        if bool(found) != bool(self.found):
            self.t_turn = self.t_looked
        self.found = found

    def due(self, now: int) -> bool:
        """Time to look, whatever the sample shows. A clock that went back is a new beginning."""
        if 0 <= now - self.t_turn < self.sure_ns:  # rules count hits: they shall not wait for beats to be sure
            return True
        return not 0 <= now - self.t_looked < (self.beat_ns if self.found else self.silence_ns)


def fit(config: GateConfig, prepare: Preparation) -> Gate:
    """The gate before this preparation. Raises ValueError where they do not fit each other."""
    if isinstance(prepare, Pixels) and not config.outlier:
        return PictureGate(config, prepare)
    if isinstance(prepare, Readings) and config.outlier:
        return ReadingGate(config, prepare)
    raise ValueError("gate: 'keyframe' and 'motion' are for pictures, 'outlier' for readings")


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
        self.shape, self.t_looked = shape, -(1 << 62)
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
        self.t_looked, self.moved = now, moved
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
        return not self.found or not self.moved or overlap(moved, self.moved) < 1.0 - self.motion.again

    def look(self, frame: Array) -> Array:
        """Brightness: of colours the green, which the eye and the sensor take for most of it; of YUYV the Y."""
        grey = frame if frame.ndim == 2 else frame[:, :, 0 if self.pixels.pixels == "yuyv" else 1]
        np.copyto(self.picked, grey[:: self.stride, :: self.stride])
        return cv2.blur(self.picked, (3, 3), dst=self.small)

    def changed(self, small: Array) -> bool:
        if not self.keyframe:
            return False
        far = np.greater(cv2.absdiff(small, self.kept, dst=self.step), self.keyframe.step)
        return bool(np.count_nonzero(far) >= self.keyframe.changed * small.size)

    def region(self, moved: Box) -> Region:
        """Around what moved and what was found last: of the frame's shape, and never smaller than what the model takes."""
        assert self.motion
        if not self.motion.crop:
            return self.pixels.whole
        boxes = [moved, *(one.box for one in self.found if one.box)]
        pad = self.motion.pad
        around = Box(
            min(box.left for box in boxes) - pad, min(box.top for box in boxes) - pad,
            max(box.right for box in boxes) + pad, max(box.bottom for box in boxes) + pad,
        )  # fmt: skip
        height, width = self.shape[:2]
        least = max(self.pixels.size[1] / width, self.pixels.size[0] / height)
        return inside(around, min(1.0, max(around.right - around.left, around.bottom - around.top, least)), width, height)


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
        cv2.threshold(self.far, self.motion.step, 1, cv2.THRESH_BINARY, dst=self.far)
        least = self.motion.least * small.size
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


class ReadingGate(Gate):
    """Every reading goes into the window; whether the window is worth an inference is what this gate says."""

    def __init__(self, config: GateConfig, readings: Readings) -> None:
        super().__init__(config)
        self.readings = readings
        self.watched = [Drift(readings.channel(name), one) for name, one in config.outlier.items()]
        self.outside = True  # since the last inference; the first one is always worth it

    def __call__(self, sample: Sample, view: Array) -> bool:
        for drift in self.watched:
            for reading in sample.payload[:, drift.column].tolist():
                self.outside |= drift.outside  # the reading that ends it, too
                self.outside |= drift(reading)
        due = self.readings(sample.payload, view)
        self.held = due and not self.outside and not self.due(sample.t_capture)
        if not due or self.held:
            return False
        self.t_looked, self.outside = sample.t_capture, False
        return True


class Drift:
    """Whether one channel is off its reference. NaN is: the preparation behind refuses it with a clear word."""

    def __init__(self, column: int, config: Outlier) -> None:
        self.column = column
        self.by = config.by
        self.back = 0.8 * config.by if config.back is None else config.back
        self.fixed = None if config.around == "predicted" else config.around
        self.place = self.speed = 0.0
        self.begun = False
        self.outside = False

    def __call__(self, reading: float) -> bool:
        off = abs(reading - self.fixed) if self.fixed is not None else abs(self.surprise(reading))
        self.outside = not off < (self.back if self.outside else self.by)
        return self.outside

    def surprise(self, reading: float) -> float:
        """Reading less what the filter foretold, which then learns from it."""
        if not self.begun:
            self.place, self.begun = reading, True
        self.place += self.speed
        error = reading - self.place
        self.place += ALPHA * error
        self.speed += BETA * error
        return error
