"""The pictures of a clip: what its models were given, as the configuration lets pictures leave."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from agent.data import Array
from agent.errors import PackageError
from agent.packages import package
from agent.packages.manifest import Picture
from agent.replay.header import Header
from agent.tapes.live_reader import RawPicture
from agent.web import pictures

MAX_BYTES = 1_500_000  # of all JPEGs, a third more as text
Message = dict[str, Any]


def is_frame(message: Message) -> bool:
    """Of a camera, not of a microphone."""
    return bool(message.get("frame") and message["frame"][1])


def has_picture(message: Message) -> bool:
    inputs = message.get("inputs") or []
    return bool(inputs) and is_frame(message) and len(_image_shape(inputs[0]["shape"])) == 3


def part(message: Message) -> list[float]:
    """Left, top, right and bottom of what the model was given, in shares of the frame."""
    region = message.get("region") or [0, 0, 0, 0]
    if not is_frame(message) or not region[2]:
        return [0.0, 0.0, 1.0, 1.0]
    (high, wide), (left, top, width, height) = message["frame"][:2], region
    return [left / wide, top / high, (left + width) / wide, (top + height) / high]


def encoded(messages: list[tuple[str, Message]], first: int, mode: str, header: Header | None) -> dict[str, str]:
    """JPEG in base64 by the frame's number; every n-th where all would be too many bytes. mode: as pictures.encode."""
    if mode == pictures.HIDDEN:
        return {}
    settings = {lane: _settings(lane, header) for lane in dict(messages)}
    numbers = [n for n, (_, message) in enumerate(messages) if has_picture(message)]
    pictures_of: dict[str, str] = {}
    size, every = 0, 1
    for count, n in enumerate(numbers):
        if count % every:
            continue
        lane, message = messages[n]
        jpeg = pictures.encode(_input(message, settings[lane]), mode)[0]
        pictures_of[str(first + n)] = base64.b64encode(jpeg).decode()
        size += len(jpeg)
        if size * len(numbers) > MAX_BYTES * len(pictures_of) * every:
            every += 1
    return pictures_of


def _settings(lane: str, header: Header | None) -> Picture | None:
    """How a picture became the model's input; None where the model is no more on this box."""
    if not header or lane not in header.config.lanes:
        return None
    try:
        return package.read(package.find(header.config.lanes[lane].model, header.base_folder)).picture
    except PackageError:
        return None


def _image_shape(shape: list[int]) -> list[int]:
    """[height, width, channels] of an input tensor; [] of another."""
    sides = shape[1:]
    if len(sides) == 3 and sides[2] in (1, 3):
        return sides
    return [sides[1], sides[2], sides[0]] if len(sides) == 3 and sides[0] in (1, 3) else []


def _input(message: Message, settings: Picture | None) -> RawPicture:
    """The network's input without bars, in which its smallest value is black and its largest white."""
    tensor = message["inputs"][0]
    raw: Array = np.frombuffer(base64.b64decode(tensor["data"]), np.dtype(tensor["dtype"])).reshape(tensor["shape"])[0]
    planar = tensor["shape"][1] in (1, 3) and tensor["shape"][3] not in (1, 3)
    values = (raw.transpose(1, 2, 0) if planar else raw).astype(np.float32)
    if settings and settings.fit == "letterbox":
        values = _without_bars(values, message)
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    spread = max(highest - lowest, 1e-6)
    picture = np.nan_to_num((values - lowest) * (255.0 / spread)).astype(np.uint8)
    colour = settings.colour if settings else "rgb"
    return RawPicture(
        picture[..., 0] if picture.shape[2] == 1 else picture, colour if picture.shape[2] == 3 else "grey"
    )


def _without_bars(values: Array, message: Message) -> Array:
    """As agent/prepare/pixels.py puts a region of another shape into the input."""
    (high, wide), region = message["frame"][:2], message.get("region") or [0, 0, 0, 0]
    wide, high = (region[2], region[3]) if region[2] else (wide, high)
    height, width = values.shape[:2]
    share = min(width / wide, height / high)
    inner_wide, inner_high = max(1, round(wide * share)), max(1, round(high * share))
    x, y = (width - inner_wide) // 2, (height - inner_high) // 2
    return values[y : y + inner_high, x : x + inner_wide]
