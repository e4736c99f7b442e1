"""The formats and sizes that a V4L2 camera offers, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ctypes import Structure
from errno import EINVAL, ENOTTY
from typing import NamedTuple

from drivers.camera import _v4l2_abi as abi

# in order of preference at equal frame rate: formats without decoding first
READABLE = {"YUYV": "yuyv", "GREY": "grey", "MJPG": "mjpg", "JPEG": "mjpg"}


class Size(NamedTuple):
    """Widths and heights in min..max by step; one picture size where min is max."""

    width_min: int
    width_max: int
    width_step: int
    height_min: int
    height_max: int
    height_step: int

    def contains(self, width: int, height: int) -> bool:
        return (
            self.width_min <= width <= self.width_max
            and (width - self.width_min) % self.width_step == 0
            and self.height_min <= height <= self.height_max
            and (height - self.height_min) % self.height_step == 0
        )

    def __str__(self) -> str:
        smallest = f"{self.width_min}x{self.height_min}"
        if (self.width_min, self.height_min) == (self.width_max, self.height_max):
            return smallest
        return f"{smallest} to {self.width_max}x{self.height_max}"


class Offer(NamedTuple):
    """One pixel format, its sizes (() if not reported), its best rate at the requested size (0 if not reported)."""

    fourcc: str
    sizes: tuple[Size, ...]
    fps: float

    def __str__(self) -> str:
        return f"{READABLE.get(self.fourcc, self.fourcc)} {', '.join(str(size) for size in self.sizes) or 'any size'}"


def choose(offered: Sequence[Offer], wanted: str, width: int, height: int, fps: float) -> Offer | None:
    """The offer of the wanted format ("auto": any) and size with the best rate up to fps; None if none fits."""
    fits = [
        offer
        for fourcc, name in READABLE.items()
        for offer in offered
        if offer.fourcc == fourcc
        and wanted in ("auto", name)
        and (not offer.sizes or any(size.contains(width, height) for size in offer.sizes))
    ]
    # a USB 2 camera often has large pictures raw at 5 fps and as JPEG at 30
    return max(fits, key=lambda offer: min(offer.fps or fps, fps), default=None)


def describe(offered: Sequence[Offer]) -> str:
    readable = [str(offer) for offer in offered if offer.fourcc in READABLE]
    others = sorted({offer.fourcc for offer in offered} - READABLE.keys())
    return "; ".join([*readable, *([f"formats not read here: {' '.join(others)}"] if others else [])]) or "nothing"


def offers(fd: int, width: int, height: int) -> list[Offer]:
    """Everything the device reports."""
    offered = []
    for entry in _enumerate(fd, abi.ENUM_FMT, lambda i: abi.FormatDescription(index=i, type=abi.CAPTURE)):
        code = entry.pixelformat
        offered.append(Offer(abi.fourcc_text(code), tuple(_sizes(fd, code)), _best_fps(fd, code, width, height)))
    return offered


def _sizes(fd: int, code: int) -> Iterator[Size]:
    for entry in _enumerate(fd, abi.ENUM_FRAMESIZES, lambda i: abi.FrameSize(index=i, pixelformat=code)):
        size = entry.size
        if entry.type == abi.DISCRETE:
            yield Size(size[0], size[0], 1, size[1], size[1], 1)
        else:
            yield Size(size[0], size[1], max(1, size[2]), size[3], size[4], max(1, size[5]))


def _best_fps(fd: int, code: int, width: int, height: int) -> float:
    intervals = _enumerate(
        fd, abi.ENUM_FRAMEINTERVALS, lambda i: abi.FrameInterval(index=i, pixelformat=code, width=width, height=height)
    )
    return max((entry.interval[1] / entry.interval[0] for entry in intervals if entry.interval[0]), default=0.0)


def _enumerate(fd: int, request: int, entry: Callable[[int], Structure]) -> Iterator[Structure]:
    """Queries index by index. The device ends the list with EINVAL; ENOTTY: it has no list."""
    for index in range(256):
        query = entry(index)
        try:
            abi.ioctl(fd, request, query)
        except OSError as error:
            if error.errno in (EINVAL, ENOTTY):
                return
            raise
        yield query
        # a range instead of a list is one entry
        if request != abi.ENUM_FMT and query.type != abi.DISCRETE:
            return
