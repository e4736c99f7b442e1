"""Pixels of any frame into the interpreter's input tensor, quantised, without a copy in between."""

from __future__ import annotations

import cv2
import numpy as np

from agent.backends.base import Tensor
from agent.data import Array, Box
from agent.package import Picture
from agent.prepare.base import Preparation
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


class Pixels(Preparation):
    """Resize, recolour and quantise one picture. Works for any frame size; the buffers follow the first one."""

    def __init__(self, picture: Picture, tensor: Tensor, pixels: str, reference: Array | None = None) -> None:
        """pixels: the camera's layout, a key of CHANNELS. reference: uint8 [height, width] in grey, of a good part.

        Raises DeviceFault when the model compares with a reference and there is none, or the other way round.
        """
        if picture.reference != (reference is not None):
            raise DeviceFault(f"the model compares with {'a' if picture.reference else 'no'} reference picture")
        self.picture = picture
        self.reference = reference
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
            self.check_reference(shape)
        height, width = self.size
        if self.picture.fit == "letterbox":
            share = min(width / shape[1], height / shape[0])
            inner = max(1, round(shape[1] * share)), max(1, round(shape[0] * share))
        else:
            inner = width, height
        self.inner = inner
        self.corner = ((width - inner[0]) // 2, (height - inner[1]) // 2)
        # YUYV shares its colour between two pixels, so it is recoloured before it is resized; the rest after.
        first = CHANNELS[self.picture.colour] if self.pixels == "yuyv" else channels
        self.full = np.zeros(grey_or(shape[0], shape[1], first), np.uint8)
        self.small = np.zeros(grey_or(inner[1], inner[0], first), np.uint8)
        self.coloured = np.zeros(grey_or(inner[1], inner[0], CHANNELS[self.picture.colour]), np.uint8)
        self.canvas = np.zeros((height, width, CHANNELS[self.picture.colour]), np.uint8)
        self.stored = np.zeros((height, width), np.uint8 if self.table is None else self.table.dtype)
        x, y = self.corner
        self.place = self.canvas[y : y + inner[1], x : x + inner[0]]
        self.frame_shape, self.compared, self.aspect = shape, False, shape[1] / shape[0]

    def check_reference(self, shape: tuple[int, ...]) -> None:
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
        if self.pixels == "yuyv" and self.conversion is not None:
            source = cv2.cvtColor(frame, self.conversion, dst=self.full)
        small = cv2.resize(source, self.inner, dst=self.small, interpolation=self.interpolation)
        if self.conversion is not None and self.pixels != "yuyv":
            small = cv2.cvtColor(small, self.conversion, dst=self.coloured)
        self.place[...] = small.reshape(self.place.shape)
        if self.reference is None:
            self.quantise(view[0])
        else:
            self.put(view[0], 0)
            if not self.compared:
                self.compare(view[0])
        return True

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

    def quantise(self, target: Array) -> None:
        if self.planar:
            coloured = self.canvas if self.table is None else cv2.LUT(self.canvas, self.table).reshape(self.canvas.shape)
            target[...] = coloured.transpose(2, 0, 1)
        elif self.table is None:
            target[...] = self.canvas
        else:
            target[...] = cv2.LUT(self.canvas, self.table).reshape(target.shape)

    def unmap(self, box: Box) -> Box:
        if self.picture.fit == "stretch" or not self.frame_shape:
            return box
        (height, width), (x, y), (w, h) = self.size, self.corner, self.inner
        return Box(
            (box.left * width - x) / w, (box.top * height - y) / h, (box.right * width - x) / w, (box.bottom * height - y) / h
        )

    def unmap_points(self, points: Array) -> Array:
        if self.picture.fit == "stretch" or not self.frame_shape:
            return points
        (height, width), (x, y), (w, h) = self.size, self.corner, self.inner
        return np.asarray((points * [height, width, 1] - [y, x, 0]) / [h, w, 1])


def grey_or(height: int, width: int, channels: int) -> tuple[int, ...]:
    """OpenCV wants pictures of one channel without the channel axis."""
    return (height, width) if channels == 1 else (height, width, channels)


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
