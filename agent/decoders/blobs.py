"""Foreground [1, height, width, 1], 0..1, into boxes: parts that touch are one object, and its size gives its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import Field, field_validator

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding

UNLIMITED = 1e6


class Kind(DecoderOptions):
    """[least, most] of an object's box. An object that fits no kind is not reported; else its first kind counts."""

    area: tuple[float, float] = Field(description="share of the picture")
    aspect: tuple[float, float] = Field((0.0, UNLIMITED), description="width / height, each a share of the picture's")

    @field_validator("area", "aspect")
    @classmethod
    def _least_first(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= limits[0] < limits[1] <= UNLIMITED:
            raise ValueError(f"expected [least, most], found [{limits[0]:g}, {limits[1]:g}]")
        return limits

    def fits(self, area: float, aspect: float) -> bool:
        return self.area[0] <= area <= self.area[1] and self.aspect[0] <= aspect <= self.aspect[1]


class Options(DecoderOptions):
    """Kinds of objects and what becomes one object."""

    kinds: dict[str, Kind] = Field(min_length=1, max_length=16, description="of each label")
    threshold: float = Field(0.2, gt=0, le=1, description="a pixel with this value or more is foreground")
    join: float = Field(
        0.01, ge=0, le=0.2, description="parts less than this share of the picture apart are one object"
    )
    min_score: float = Field(0.3, ge=0, le=1, description="objects below this are not reported")
    top: int = Field(12, ge=1, le=1000, description="report at most this many objects, the best ones")


class Decoder(base.Decoder):
    """Score: sqrt(fill * contrast), the share of its box that an object fills and the mean foreground there; 0..1.

    An object at the picture's edge is cut and may be larger than its box, so it can only be of the largest kind.
    """

    Options = Options
    NEEDS = "one output [1, height, width, 1] of foreground 0..1"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1 or shapes[0][3] != 1:
            raise DecoderError(f"blobs needs one output [1, height, width, 1]; the model gives {list(shapes)}")
        if set(labels) != set(options.kinds):
            raise DecoderError(
                f"blobs: labels are {', '.join(labels) or 'none'}, options.kinds has {', '.join(options.kinds)}"
            )
        self.height, self.width = shapes[0][1:3]
        self.largest = max(options.kinds, key=lambda label: float(options.kinds[label].area[1]))
        self.mask, self.grown_mask = np.zeros((2, self.height, self.width), np.uint8)
        self.numbers = np.zeros((self.height, self.width), np.int32)
        # Parts grown by this much on each side touch if they are within twice of it.
        self.margin = round(options.join * self.width / 2), round(options.join * self.height / 2)
        self.kernel = np.ones((2 * self.margin[1] + 1, 2 * self.margin[0] + 1), np.uint8)

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        foreground = outputs[0][0, :, :, 0]
        np.greater_equal(foreground, np.float32(self.options.threshold), out=self.mask.view(bool))  # NaN is background
        if not cv2.countNonZero(self.mask):
            return []
        grown = cv2.dilate(self.mask, self.kernel, dst=self.grown_mask)
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(grown, self.numbers, connectivity=8)
        np.multiply(numbers, self.mask, out=numbers)  # the margin grown is background again
        flat = numbers.reshape(-1)
        pixels = np.bincount(flat, minlength=count)
        light = np.bincount(flat, weights=np.nan_to_num(foreground, nan=0.0, posinf=1.0).reshape(-1), minlength=count)
        corners: list[list[int]] = np.asarray(stats, int).tolist()
        objects = [self._finding(corners[n], int(pixels[n]), float(light[n])) for n in range(1, count)]
        findings = [item for item in objects if item is not None and item.score >= self.options.min_score]
        return sorted(findings, key=lambda finding: -finding.score)[: self.options.top]

    def _finding(self, corner: list[int], pixels: int, light: float) -> Finding | None:
        """corner: x, y, width, height of its grown box. pixels, light: number and sum of its foreground pixels."""
        x, y, width, height = corner[:4]
        box = Box(
            (x + self.margin[0] if x else 0) / self.width,
            (y + self.margin[1] if y else 0) / self.height,
            (x + width - (self.margin[0] if x + width < self.width else 0)) / self.width,
            (y + height - (self.margin[1] if y + height < self.height else 0)) / self.height,
        )
        wide, high = box.right - box.left, box.bottom - box.top
        label = self._label(box, wide * high, wide / high)
        if label is None:
            return None
        fill, contrast = pixels / (wide * high * self.width * self.height), light / pixels
        return Finding(label, min(max(fill * contrast, 0.0), 1.0) ** 0.5, box)

    def _label(self, box: Box, area: float, aspect: float) -> str | None:
        cut = box.left <= 0 or box.top <= 0 or box.right >= 1 or box.bottom >= 1
        kinds = {self.largest: self.options.kinds[self.largest]} if cut else self.options.kinds
        return next((label for label, kind in kinds.items() if kind.fits(area, aspect)), None)
