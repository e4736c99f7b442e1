"""Frames of any size into the engine's input: resized, in the model's colour, quantised, without extra copies."""

from __future__ import annotations

import cv2
import numpy as np

from agent.backends.base import Tensor
from agent.data import Array, Box
from agent.packages.manifest import Picture
from agent.prepare.base import Preparation
from agent.prepare.quantise import lookup_table
from agent.prepare.region import Region
from agent.prepare.shrink import ShrinkChoice
from drivers.base import DeviceFault

CHANNELS = {"bgr": 3, "rgb": 3, "grey": 1, "yuyv": 2}
MAX_ASPECT_ERROR = 0.02  # share by which width / height of frame and reference may differ

# From the source's layout to the model's colour; a pair that is missing needs no conversion.
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


class Pixels(Preparation):
    """Resizes, converts and quantises one picture. Its buffers follow the shape of the frames."""

    def __init__(
        self, picture: Picture, tensor: Tensor, layout: str, reference: Array | None = None, shrink: int | None = 1
    ) -> None:
        """layout: of the camera's pixels, a key of CHANNELS. reference: uint8 [height, width] in grey, of a good part.

        shrink: first take only every n-th pixel and row; None: as the first frames allow (`shrink.py`).
        Raises DeviceFault when the model compares with a reference and there is none, or the other way round.
        """
        if picture.reference != (reference is not None):
            raise DeviceFault(f"the model compares with {'a' if picture.reference else 'no'} reference picture")
        self.picture = picture
        self.reference = reference
        self.requested_shrink = shrink
        self.shrink = shrink or 1
        self.shrink_choice: ShrinkChoice | None = None  # while it measures
        self.planar, self.size = tensor.planar, tensor.sides
        self.layout = layout
        self.conversion = CONVERSIONS.get((layout, picture.colour))
        self.interpolation = cv2.INTER_AREA if picture.resize == "area" else cv2.INTER_LINEAR
        self.table = lookup_table(picture, tensor)
        self.frame_shape: tuple[int, ...] = ()
        self.reference_written = False  # into the tensor, where it stays: engines write to no input

    def allocate(self, shape: tuple[int, ...]) -> None:
        """Make the buffers for frames of this shape. Raises DeviceFault when it is not one of the camera's layout."""
        channels = shape[2] if len(shape) == 3 else 1
        half_pair = self.layout == "yuyv" and len(shape) == 3 and shape[1] % 2  # two pixels share their colour
        if len(shape) not in (2, 3) or channels != CHANNELS[self.layout] or 0 in shape or half_pair:
            raise DeviceFault(f"a frame of shape {list(shape)} is no {self.layout} picture")
        if self.reference is not None:
            self._check_reference(shape)
        height, width = self.size
        colours = CHANNELS[self.picture.colour]
        yuyv = self.layout == "yuyv"
        self.resized_channels = colours if yuyv else channels
        self.thinned = np.zeros(shape[0] * shape[1] * channels if self.requested_shrink != 1 else 0, np.uint8)
        self.full = np.zeros(shape[0] * shape[1] * self.resized_channels if yuyv else 0, np.uint8)
        self.resized = np.zeros(height * width * self.resized_channels, np.uint8)
        self.converted = np.zeros(2 * height * width * colours, np.uint8)
        self.paired = np.zeros(4 * height * width if yuyv else 0, np.uint8)
        self.canvas = np.zeros((height, width, colours), np.uint8)
        self.quantised = np.zeros((height, width), np.uint8 if self.table is None else self.table.dtype)
        self.frame_shape, self.reference_written, self.aspect = shape, False, shape[1] / shape[0]
        self.whole = Region(0, 0, shape[1], shape[0])
        self.region: Region = Region(0, 0, 0, 0)
        self.aim(self.whole)
        if self.requested_shrink is None:
            self.shrink, self.shrink_choice = 1, ShrinkChoice(shape, self.inner)

    def carry_over(self, other: Preparation) -> None:
        if isinstance(other, Pixels) and other.frame_shape and other.size == self.size:
            self.allocate(other.frame_shape)
            self.shrink, self.shrink_choice = other.shrink, other.shrink_choice
            self.aim(Region(*other.region))

    def aim(self, region: Region) -> None:
        """Give the model this part of the frames from now on. YUYV: left and width are even."""
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
        self.inner_canvas = self.canvas[y : y + inner[1], x : x + inner[0]]
        # frame = model * gain + shift, both as shares; x and y
        frame_height, frame_width = self.frame_shape[:2]
        self.gain = width / inner[0] * region.width / frame_width, height / inner[1] * region.height / frame_height
        self.shift = (
            (region.left - x / inner[0] * region.width) / frame_width,
            (region.top - y / inner[1] * region.height) / frame_height,
        )

    def _check_reference(self, shape: tuple[int, ...]) -> None:
        """Another aspect is another view: no part would lie where it lies in the reference."""
        assert self.reference is not None
        height, width = self.reference.shape
        if abs(width * shape[0] / (height * shape[1]) - 1.0) > MAX_ASPECT_ERROR:
            raise DeviceFault(
                f"the camera gives {shape[1]}x{shape[0]}, the reference is {width}x{height}: take it with this camera"
            )

    def __call__(self, frame: Array, view: Array) -> bool:
        """frame: uint8 in the camera's layout; view: the input tensor [1, ...]."""
        if frame.shape != self.frame_shape:
            self.allocate(frame.shape)
        source = frame
        if self.region is not self.whole:
            left, top, width, height = self.region
            source = frame[top : top + height, left : left + width]
        if self.shrink_choice:
            self._probe_shrink(self.shrink_choice, source)
        self._draw(self._thin(source, self.shrink) if self.shrink > 1 else source)
        if self.reference is None:
            self._quantise(view[0])
        else:
            self._write_channel(view[0], 0)
            if not self.reference_written:
                self._write_reference(view[0])
        return True

    def _probe_shrink(self, choice: ShrinkChoice, source: Array) -> None:
        def draw(factor: int) -> Array:
            self._draw(self._thin(source, factor) if factor > 1 else source)
            return self.canvas

        choice.probe(draw)
        if choice.chosen:
            self.shrink, self.shrink_choice = choice.chosen, None

    def _thin(self, source: Array, step: int) -> Array:
        """Every step-th pixel and row; of YUYV every step-th pair, which shares its colour."""
        paired = self.layout == "yuyv"
        source = _pairs(source) if paired else source
        width, height = max(1, source.shape[1] // step), max(1, source.shape[0] // step)
        buffer = _part(self.thinned, height, width, source.shape[2] if source.ndim == 3 else 1)
        thinned = cv2.resize(source, (width, height), dst=buffer, interpolation=cv2.INTER_NEAREST)
        return np.reshape(thinned, (height, 2 * width, 2)) if paired else thinned

    def _draw(self, source: Array) -> None:
        """Pixels of the camera's layout onto the canvas, resized and in the model's colour."""
        if self.layout == "yuyv" and self.conversion is not None:
            self._draw_pairs(source, self.conversion)
            return
        resized = _part(self.resized, self.inner[1], self.inner[0], self.resized_channels)
        resized = cv2.resize(source, self.inner, dst=resized, interpolation=self.interpolation)
        if self.conversion is not None:
            converted = _part(self.converted, self.inner[1], self.inner[0], CHANNELS[self.picture.colour])
            resized = cv2.cvtColor(resized, self.conversion, dst=converted)
        self.inner_canvas[...] = resized.reshape(self.inner_canvas.shape)

    def _draw_pairs(self, source: Array, conversion: int) -> None:
        """YUYV: two pixels share their colour in four bytes. These are resized, and only what remains is converted.

        Of each remaining pair the first pixel is used. A model wider than half the frame needs both: converted first.
        """
        width, height = self.inner
        if 2 * width > source.shape[1]:
            full = _part(self.full, source.shape[0], source.shape[1], self.resized_channels)
            full = cv2.cvtColor(source, conversion, dst=full)
            resized = _part(self.resized, height, width, self.resized_channels)
            resized = cv2.resize(full, self.inner, dst=resized, interpolation=self.interpolation)
            self.inner_canvas[...] = resized.reshape(self.inner_canvas.shape)
            return
        paired = _part(self.paired, height, width, 4)
        paired = cv2.resize(_pairs(source), self.inner, dst=paired, interpolation=self.interpolation)
        converted = _part(self.converted, height, 2 * width, self.resized_channels)
        cv2.cvtColor(paired.reshape(height, 2 * width, 2), conversion, dst=converted)
        self.inner_canvas[...] = converted.reshape(height, 2 * width, -1)[:, ::2]

    def _write_reference(self, target: Array) -> None:
        """Once, the same way as a frame."""
        assert self.reference is not None
        self.inner_canvas[...] = cv2.resize(self.reference, self.inner, interpolation=self.interpolation)[..., None]
        self._write_channel(target, 1)
        self.reference_written = True

    def _write_channel(self, target: Array, channel: int) -> None:
        """The canvas, in grey, into one channel of the tensor."""
        grey = self.canvas[:, :, 0] if self.table is None else cv2.LUT(self.canvas, self.table, dst=self.quantised)
        if self.planar:
            target[channel] = grey
        else:
            cv2.insertChannel(grey, target, channel)

    def _quantise(self, target: Array) -> None:
        values = self.canvas if self.table is None else cv2.LUT(self.canvas, self.table).reshape(self.canvas.shape)
        target[...] = values.transpose(2, 0, 1) if self.planar else values

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
    """The start of a flat buffer as a picture. OpenCV needs those of one channel without the channel axis."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return buffer[: height * width * channels].reshape(shape)
