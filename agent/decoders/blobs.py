"""Foreground [1, height, width, 1], 0..1, into boxes: parts that touch are one thing, and its size says what kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import Field, field_validator

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding

EVERYTHING = 1e6


class Kind(DecoderOptions):
    """[least, most] of a thing's box: what fits none is not reported, what fits more than one is the first of them."""

    area: tuple[float, float] = Field(description="share of the picture")
    aspect: tuple[float, float] = Field((0.0, EVERYTHING), description="width / height, each a share of the picture's")

    @field_validator("area", "aspect")
    @classmethod
    def least_first(cls, given: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= given[0] < given[1] <= EVERYTHING:
            raise ValueError(f"expected [least, most], found [{given[0]:g}, {given[1]:g}]")
        return given

    def takes(self, area: float, aspect: float) -> bool:
        return self.area[0] <= area <= self.area[1] and self.aspect[0] <= aspect <= self.aspect[1]


class Options(DecoderOptions):
    kinds: dict[str, Kind] = Field(min_length=1, max_length=16, description="of each label")
    threshold: float = Field(0.2, gt=0, le=1, description="a pixel with so much or more is foreground")
    join: float = Field(0.01, ge=0, le=0.2, description="parts less than this share of the picture apart are one thing")
    min_score: float = Field(0.3, ge=0, le=1, description="things below this are not reported")
    top: int = Field(12, ge=1, le=1000, description="report at most so many things, the best ones")


class Decoder(base.Decoder):
    """Score: sqrt(fill * contrast), the share of its box that a thing fills and the mean foreground there; 0..1.

    A thing at the picture's edge is cut and may be larger than what is seen of it, so it can only be of the largest kind.
    """

    Options = Options

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
        self.hot, self.wide = np.zeros((2, self.height, self.width), np.uint8)
        self.marks = np.zeros((self.height, self.width), np.int32)
        # Grown by so much on each side, parts within twice of it touch.
        self.grown = round(options.join * self.width / 2), round(options.join * self.height / 2)
        self.kernel = np.ones((2 * self.grown[1] + 1, 2 * self.grown[0] + 1), np.uint8)

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        foreground = outputs[0][0, :, :, 0]
        np.greater_equal(foreground, np.float32(self.options.threshold), out=self.hot.view(bool))  # NaN is not
        if not cv2.countNonZero(self.hot):
            return []
        wide = cv2.dilate(self.hot, self.kernel, dst=self.wide)
        count, marks, stats, _ = cv2.connectedComponentsWithStats(wide, self.marks, connectivity=8)
        np.multiply(marks, self.hot, out=marks)  # what was grown is background again
        flat = marks.reshape(-1)
        pixels = np.bincount(flat, minlength=count)
        light = np.bincount(flat, weights=np.nan_to_num(foreground, nan=0.0, posinf=1.0).reshape(-1), minlength=count)
        corners: list[list[int]] = np.asarray(stats, int).tolist()
        found = [self.thing(corners[n], int(pixels[n]), float(light[n])) for n in range(1, count)]
        sure = [one for one in found if one is not None and one.score >= self.options.min_score]
        return sorted(sure, key=lambda one: -one.score)[: self.options.top]

    def thing(self, corner: list[int], pixels: int, light: float) -> Finding | None:
        """corner: x, y, width, height of its grown box. pixels, light: number and sum of what is foreground in it."""
        x, y, width, height = corner[:4]
        box = Box(
            (x + self.grown[0] if x else 0) / self.width,
            (y + self.grown[1] if y else 0) / self.height,
            (x + width - (self.grown[0] if x + width < self.width else 0)) / self.width,
            (y + height - (self.grown[1] if y + height < self.height else 0)) / self.height,
        )
        wide, high = box.right - box.left, box.bottom - box.top
        label = self.label(box, wide * high, wide / high)
        if label is None:
            return None
        fill, contrast = pixels / (wide * high * self.width * self.height), light / pixels
        return Finding(label, min(max(fill * contrast, 0.0), 1.0) ** 0.5, box)

    def label(self, box: Box, area: float, aspect: float) -> str | None:
        cut = box.left <= 0 or box.top <= 0 or box.right >= 1 or box.bottom >= 1
        kinds = {self.largest: self.options.kinds[self.largest]} if cut else self.options.kinds
        return next((label for label, kind in kinds.items() if kind.takes(area, aspect)), None)
