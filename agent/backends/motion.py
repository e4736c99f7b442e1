"""Motion before a fixed camera, without a network: OpenCV's background model, after exposure was compensated.

Each pixel is a mixture of Gaussians (Zivkovic, Improved adaptive Gaussian mixture model for background subtraction,
2004).
The model file is YAML, the fields of `Parameters`. The engine has a memory: its output depends on the pictures before.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from pydantic import Field

from agent.backends import base
from agent.backends.base import AS_IT_IS, Tensor, TensorSpec
from agent.data import Array
from agent.section import Section

STRIDE = 4  # the exposure is measured at every fourth pixel and row
MIN_FOREGROUND = 64  # of 255: value of a foreground pixel that hardly differs in brightness
MAX_GAIN = 8.0  # three stops; more is not exposure but a covered lens


class Parameters(Section):
    """Times are counted in pictures that the lane inferred."""

    height: int = Field(144, ge=16, le=1080)
    width: int = Field(256, ge=16, le=1920)
    history: int = Field(3000, ge=10, le=1_000_000, description="pictures over which the background is averaged")
    share: float = Field(
        0.7,
        gt=0,
        lt=1,
        description="what stands still becomes background after -ln(share) * history pictures: 0.36 * history",
    )
    sigmas: float = Field(4.0, gt=0, le=20, description="standard deviations from the background that are foreground")
    noise: float = Field(5.0, gt=0, le=50, description="least standard deviation of a pixel, grey levels")
    contrast: float = Field(64.0, ge=1, le=255, description="grey levels off the background that make 1.0")
    shadow: float = Field(
        0.4,
        gt=0,
        le=1,
        description="darker than the background, but not below this share of it, is shadow; 1.0: no shadows",
    )
    exposure: bool = Field(True, description="compensate changes of brightness of most of the picture")
    specks: int = Field(3, ge=1, le=31, description="foreground narrower than this many pixels is noise")
    gaps: int = Field(
        7, ge=1, le=63, description="background narrower than this many pixels, within foreground, is filled"
    )
    settle: int = Field(25, ge=1, le=100_000, description="pictures after the start in which nothing is reported")
    flood: float = Field(0.8, gt=0, le=1, description="with more of the picture foreground the camera was moved ...")
    flooded: int = Field(50, ge=1, le=1_000_000, description="... if for this many pictures: then it starts again")


class Engine(base.Engine):
    """Input uint8 [1, height, width, 1] in grey. Output [1, height, width, 1], 0..1 stored as uint8: 0 is background,
    foreground MIN_FOREGROUND / 255 to 1 by its contrast.

    An invoke learns from the picture written since the last one; without a new picture it changes nothing, so that the
    warm-up of a package teaches it nothing. `reset` drops all; it happens by itself when the camera was moved.
    """

    has_memory = True

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        base.require_cpu("motion", provider)
        p = self.parameters = base.load_parameters(path, Parameters)
        shape = 1, p.height, p.width, 1
        self.inputs = [Tensor("picture", shape, np.uint8)]
        self.outputs = [Tensor("foreground", shape, np.uint8, 1.0 / 255.0)]
        self.picture, self.foreground = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        self.evened, self.mask, self.level, self.background = (
            np.zeros((p.height, p.width), np.uint8) for _ in range(4)
        )
        self.exposure = Exposure(p.height, p.width, p.history)
        self.model = cv2.createBackgroundSubtractorMOG2(p.history, p.sigmas**2, detectShadows=False)
        self.model.setBackgroundRatio(p.share)
        self.model.setVarMin(p.noise**2)
        self.model.setVarInit(p.noise**2)
        self.specks, self.gaps = _square(p.specks), _square(p.gaps)
        self.model.apply(self.evened, self.mask, 1.0)  # allocates its memory now, not on the lane
        self.reset()

    def reset(self) -> None:
        """Drop the background: the next `settle` pictures have no foreground."""
        self.pictures = self.flooded = 0
        self.new_picture = False
        self.foreground.fill(0)

    def input(self, index: int) -> Array:
        self.new_picture = True
        return self.picture

    def output(self, index: int) -> Array:
        return self.foreground

    def invoke(self) -> None:
        if not self.new_picture:
            return
        self.new_picture = False
        picture, first = self.picture[0, :, :, 0], self.pictures == 0
        self.pictures += 1
        factor = self.exposure(picture, first) if self.parameters.exposure else 1.0
        cv2.convertScaleAbs(picture, dst=self.evened, alpha=factor)
        self.model.apply(self.evened, self.mask, 1.0 if first else -1.0)  # a rate of one drops all before
        if self.pictures > self.parameters.settle:
            covered = cv2.countNonZero(self.mask)
            self._clean()
            self._check_flooded(covered)

    def _check_flooded(self, foreground: int) -> None:
        """Start again when nearly all is foreground for long."""
        self.flooded = self.flooded + 1 if foreground > self.parameters.flood * self.mask.size else 0
        if self.flooded >= self.parameters.flooded:
            self.reset()

    def _clean(self) -> None:
        """Remove shadows and specks, close gaps; then measure how far each pixel is off the background."""
        mask, level = self.mask, self.level
        self.model.getBackgroundImage(self.background)
        cv2.convertScaleAbs(self.background, dst=level, alpha=self.parameters.shadow)
        cv2.inRange(self.evened, level, self.background, dst=level)  # darker, and not too dark
        np.bitwise_and(mask, np.invert(level, out=level), out=mask)
        cv2.morphologyEx(mask, cv2.MORPH_OPEN, self.specks, dst=mask)
        cv2.morphologyEx(mask, cv2.MORPH_CLOSE, self.gaps, dst=mask)
        cv2.absdiff(self.evened, self.background, dst=level)
        cv2.convertScaleAbs(level, dst=level, alpha=255.0 / self.parameters.contrast)
        np.bitwise_and(np.maximum(level, MIN_FOREGROUND, out=level), mask, out=self.foreground[0, :, :, 0])


class Exposure:
    """By how much a camera's automatic exposure has made the picture darker: a white car in view costs a stop.

    Exposure multiplies the light, and so, through a gamma curve, the pixels:
    (g * light) ** gamma = g ** gamma * light ** gamma. The median over the pixels of reference / picture is the factor
    back, as long as less than half of them are covered. The reference follows the pictures as slowly as the background
    does, so that nightfall changes both alike.
    """

    def __init__(self, height: int, width: int, history: int) -> None:
        shape = -(-height // STRIDE), -(-width // STRIDE)
        self.history = history
        self.sampled, self.reference = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.ratio = np.zeros(shape[0] * shape[1], np.float32)
        self.pictures = 0

    def __call__(self, picture: Array, first: bool) -> float:
        """The factor that compensates the exposure of `picture`, uint8 [height, width]. first: it is the reference."""
        np.add(picture[::STRIDE, ::STRIDE], np.float32(1.0), out=self.sampled)  # a black pixel has no ratio
        if first:
            self.pictures = 0
            np.copyto(self.reference, self.sampled)
        self.pictures += 1
        np.divide(self.reference, self.sampled, out=self.ratio.reshape(self.sampled.shape))
        self.ratio.partition(len(self.ratio) // 2)
        cv2.accumulateWeighted(self.sampled, self.reference, 1.0 / min(2 * self.pictures, self.history))
        return min(max(float(self.ratio[len(self.ratio) // 2]), 1.0 / MAX_GAIN), MAX_GAIN)


def _square(side: int) -> Array:
    ones: Array = np.ones((side, side), np.uint8)
    return ones
