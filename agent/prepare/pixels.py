"""Pixels of any frame into the interpreter's input tensor, quantised, without a copy in between."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from agent.backends.base import Tensor
from agent.data import Array, Box
from agent.manifest import Picture
from agent.prepare.base import Preparation
from agent.prepare.ladder import Ladder
from drivers.base import DeviceFault

CHANNELS = {"bgr": 3, "rgb": 3, "grey": 1, "yuyv": 2}
SHAPES_DIFFER = 0.02  # share by which width / height of frame and reference may differ

# What turns source pixels into the model's colour; None where nothing is to do.
CONVERSIONS = {
    ("bgr", "rgb"): cv2.COLOR_BGR2RGB,
    ("rgb", "bgr"): cv2.COLOR_RGB2BGR,
    ("bgr", "grey"): cv2.COLOR_BGR2GRAY,
    ("rgb", "grey"): cv2.COLOR_RGB2GRAY,
    ("grey", "rgb"): cv2.COLOR_GRAY2RGB,
    ("grey", "bgr"): cv2.COLOR_GRAY2BGR,
    ("yuyv", "rgb"): cv2.COLOR_YUV2RGB_YUYV,
    ("yuyv", "bgr"): cv2.COLOR_YUV2BGR_YUYV,
    ("yuyv", "grey"): cv2.COLOR_YUV2GRAY_YUYV,
}


class Region(NamedTuple):
    """A part of a frame, in pixels."""

    left: int
    top: int
    width: int
    height: int


class Pixels(Preparation):
    """Resize, recolour and quantise one picture. Works for any frame size; the buffers follow the first one."""

    def __init__(
        self, picture: Picture, tensor: Tensor, pixels: str, reference: Array | None = None, shrink: int | None = 1
    ) -> None:
        """pixels: the camera's layout, a key of CHANNELS. reference: uint8 [height, width] in grey, of a good part.

        shrink: take every so many pixels only, before anything else; None: as many as the first frames allow (`ladder.py`).
        Raises DeviceFault when the model compares with a reference and there is none, or the other way round.
        """
        if picture.reference != (reference is not None):
            raise DeviceFault(f"the model compares with {'a' if picture.reference else 'no'} reference picture")
        self.picture = picture
        self.reference = reference
        self.asked = shrink
        self.shrink = shrink or 1
        self.ladder: Ladder | None = None  # while it chooses
        self.planar = tensor.shape[3] not in (1, 2, 3)
        self.size = (tensor.shape[1], tensor.shape[2]) if not self.planar else (tensor.shape[2], tensor.shape[3])
        self.pixels = pixels
        self.conversion = CONVERSIONS.get((pixels, picture.colour))
        self.interpolation = cv2.INTER_AREA if picture.resize == "area" else cv2.INTER_LINEAR
        self.table = lookup(picture, tensor)
        self.frame_shape: tuple[int, ...] = ()
        self.compared = False  # the reference is in the tensor, which keeps it: engines write to no input

    def fit(self, shape: tuple[int, ...]) -> None:
        """Make the buffers for frames of this shape. Raises DeviceFault when it is no picture of the camera's layout."""
        channels = shape[2] if len(shape) == 3 else 1
        halved = self.pixels == "yuyv" and len(shape) == 3 and shape[1] % 2  # two pixels share their colour
        if len(shape) not in (2, 3) or channels != CHANNELS[self.pixels] or 0 in shape or halved:
            raise DeviceFault(f"a frame of shape {list(shape)} is no {self.pixels} picture")
        if self.reference is not None:
            self._check_reference(shape)
        height, width = self.size
        colours = CHANNELS[self.picture.colour]
        self.first = colours if self.pixels == "yuyv" else channels
        self.thinned = np.zeros(shape[0] * shape[1] * channels if self.asked != 1 else 0, np.uint8)
        self.full = np.zeros(shape[0] * shape[1] * self.first if self.pixels == "yuyv" else 0, np.uint8)
        self.small = np.zeros(height * width * self.first, np.uint8)
        self.coloured = np.zeros(2 * height * width * colours, np.uint8)
        self.paired = np.zeros(4 * height * width if self.pixels == "yuyv" else 0, np.uint8)
        self.canvas = np.zeros((height, width, colours), np.uint8)
        self.stored = np.zeros((height, width), np.uint8 if self.table is None else self.table.dtype)
        self.frame_shape, self.compared, self.aspect = shape, False, shape[1] / shape[0]
        self.whole = Region(0, 0, shape[1], shape[0])
        self.region: Region = Region(0, 0, 0, 0)
        self.aim(self.whole)
        if self.asked is None:
            self.shrink, self.ladder = 1, Ladder(shape, self.inner)

    def aim(self, region: Region) -> None:
        """Look at this part of the frames from now on. YUYV: left and width are even."""
        if region == self.region:
            return
        height, width = self.size
        inner = width, height
        if self.picture.fit == "letterbox":
            share = min(width / region.width, height / region.height)
            inner = max(1, round(region.width * share)), max(1, round(region.height * share))
            self.canvas.fill(0)
        x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
        self.region, self.inner, self.corner = region, inner, (x, y)
        self.place = self.canvas[y : y + inner[1], x : x + inner[0]]
        # frame = model * gain + shift, both as shares; x and y
        frame_height, frame_width = self.frame_shape[:2]
        self.gain = width / inner[0] * region.width / frame_width, height / inner[1] * region.height / frame_height
        self.shift = (
            (region.left - x / inner[0] * region.width) / frame_width,
            (region.top - y / inner[1] * region.height) / frame_height,
        )

    def _check_reference(self, shape: tuple[int, ...]) -> None:
        """Another shape is another view: nothing would lie where it lies in the reference."""
        assert self.reference is not None
        height, width = self.reference.shape
        if abs(width * shape[0] / (height * shape[1]) - 1.0) > SHAPES_DIFFER:
            raise DeviceFault(
                f"the camera gives {shape[1]}x{shape[0]}, the reference is {width}x{height}: take it with this camera"
            )

    def __call__(self, frame: Array, view: Array) -> bool:
        """frame: uint8 as the camera gives it; view: the input tensor [1, ...]."""
        if frame.shape != self.frame_shape:
            self.fit(frame.shape)
        source = frame
        if self.region is not self.whole:
            left, top, width, height = self.region
            source = frame[top : top + height, left : left + width]
        if self.ladder:
            self.climb(self.ladder, source)
        self.draw(self.thin(source, self.shrink) if self.shrink > 1 else source)
        if self.reference is None:
            self._quantise(view[0])
        else:
            self.put(view[0], 0)
            if not self.compared:
                self.compare(view[0])
        return True

    def climb(self, ladder: Ladder, source: Array) -> None:
        def drawn(rung: int) -> Array:
            self.draw(self.thin(source, rung) if rung > 1 else source)
            return self.canvas

        ladder.probe(drawn)
        if ladder.chosen:
            self.shrink, self.ladder = ladder.chosen, None

    def thin(self, source: Array, step: int) -> Array:
        """Every step-th pixel and row; of YUYV every so many pairs, which share their colour."""
        paired = self.pixels == "yuyv"
        source = _pairs(source) if paired else source
        few = max(1, source.shape[1] // step), max(1, source.shape[0] // step)
        channels = source.shape[2] if source.ndim == 3 else 1
        out = cv2.resize(
            source, few, dst=_part(self.thinned, few[1], few[0], channels), interpolation=cv2.INTER_NEAREST
        )
        return np.reshape(out, (few[1], 2 * few[0], 2)) if paired else out

    def draw(self, source: Array) -> None:
        """Pixels of the camera's layout onto the canvas, resized and in the model's colour."""
        if self.pixels == "yuyv" and self.conversion is not None:
            self._draw_pairs(source, self.conversion)
            return
        small = _part(self.small, self.inner[1], self.inner[0], self.first)
        small = cv2.resize(source, self.inner, dst=small, interpolation=self.interpolation)
        if self.conversion is not None:
            coloured = _part(self.coloured, self.inner[1], self.inner[0], CHANNELS[self.picture.colour])
            small = cv2.cvtColor(small, self.conversion, dst=coloured)
        self.place[...] = small.reshape(self.place.shape)

    def _draw_pairs(self, source: Array, conversion: int) -> None:
        """YUYV: two pixels share their colour, as one of four bytes. Those are resized, and only what is left is recoloured.

        Of each pair that is left the first pixel is taken. A model wider than half the frame needs both: recoloured first.
        """
        width, height = self.inner
        if 2 * width > source.shape[1]:
            full = cv2.cvtColor(source, conversion, dst=_part(self.full, source.shape[0], source.shape[1], self.first))
            small = _part(self.small, height, width, self.first)
            small = cv2.resize(full, self.inner, dst=small, interpolation=self.interpolation)
            self.place[...] = small.reshape(self.place.shape)
            return
        few = cv2.resize(
            _pairs(source), self.inner, dst=_part(self.paired, height, width, 4), interpolation=self.interpolation
        )
        coloured = _part(self.coloured, height, 2 * width, self.first)
        cv2.cvtColor(few.reshape(height, 2 * width, 2), conversion, dst=coloured)
        self.place[...] = coloured.reshape(height, 2 * width, -1)[:, ::2]

    def compare(self, target: Array) -> None:
        """The reference into the tensor, once, the same way as a frame."""
        assert self.reference is not None
        self.place[...] = cv2.resize(self.reference, self.inner, interpolation=self.interpolation)[..., None]
        self.put(target, 1)
        self.compared = True

    def put(self, target: Array, channel: int) -> None:
        """The canvas, in grey, into one channel of the tensor."""
        grey = self.canvas[:, :, 0] if self.table is None else cv2.LUT(self.canvas, self.table, dst=self.stored)
        if self.planar:
            target[channel] = grey
        else:
            cv2.insertChannel(grey, target, channel)

    def _quantise(self, target: Array) -> None:
        if self.planar:
            coloured = (
                self.canvas if self.table is None else cv2.LUT(self.canvas, self.table).reshape(self.canvas.shape)
            )
            target[...] = coloured.transpose(2, 0, 1)
        elif self.table is None:
            target[...] = self.canvas
        else:
            target[...] = cv2.LUT(self.canvas, self.table).reshape(target.shape)

    def unmap(self, box: Box) -> Box:
        if not self.frame_shape:
            return box
        (gx, gy), (sx, sy) = self.gain, self.shift
        return Box(box.left * gx + sx, box.top * gy + sy, box.right * gx + sx, box.bottom * gy + sy)

    def unmap_points(self, points: Array) -> Array:
        if not self.frame_shape:
            return points
        return np.asarray(points * (self.gain[1], self.gain[0], 1.0) + (self.shift[1], self.shift[0], 0.0))


def _pairs(frame: Array) -> Array:
    """YUYV [height, width, 2] as [height, width / 2, 4]: two pixels of two bytes are one of four."""
    height, width = frame.shape[:2]
    return np.lib.stride_tricks.as_strided(frame, (height, width // 2, 4), (frame.strides[0], 4, 1))


def _part(buffer: Array, height: int, width: int, channels: int) -> Array:
    """The beginning of a flat buffer as a picture. OpenCV wants those of one channel without the channel axis."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return buffer[: height * width * channels].reshape(shape)


def lookup(picture: Picture, tensor: Tensor) -> Array | None:
    """Stored input value of each pixel value, [256] or [1, 256, 3]; None when a pixel is stored as it is.

    stored = round((pixel - mean) / std / scale + zero_point), clipped to the type (quantised), else the real value.
    """
    pixel = np.arange(256, dtype=np.float64)[:, None]
    real = (pixel - np.atleast_1d(picture.mean)) / np.atleast_1d(picture.std)
    dtype = np.dtype(tensor.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        scale = tensor.scale or 1.0
        table = np.clip(np.rint(real / scale + tensor.zero_point), limits.min, limits.max).astype(dtype)
    else:
        table = real.astype(dtype)
    if dtype == np.uint8 and (table == pixel.astype(np.uint8)).all():
        return None
    return table[:, 0] if table.shape[1] == 1 else np.ascontiguousarray(table[None])
