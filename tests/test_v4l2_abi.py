"""The V4L2 structures have the sizes and offsets of linux/videodev2.h, compiled in C on x86-64 and arm64."""

from __future__ import annotations

import ctypes

import pytest

from drivers.camera import _v4l2_abi as abi
from drivers.camera._v4l2_modes import Offer, Size, choose, describe

VGA, HD = Size(640, 640, 1, 480, 480, 1), Size(1280, 1280, 1, 720, 720, 1)


@pytest.mark.parametrize(
    "structure, size",
    [
        (abi.Capability, 104),
        (abi.FormatDescription, 64),
        (abi.FrameSize, 44),
        (abi.FrameInterval, 52),
        (abi.PixelFormat, 48),
        (abi.Format, 208),
        (abi.RequestBuffers, 20),
        (abi.Buffer, 88),
        (abi.StreamParameters, 204),
    ],
)
def test_sizes(structure: type[ctypes.Structure], size: int) -> None:
    assert ctypes.sizeof(structure) == size


@pytest.mark.parametrize(
    "field, offset",
    [
        (abi.Capability.capabilities, 84),
        (abi.Capability.device_caps, 88),
        (abi.Format.fmt, 8),
        (abi.Buffer.tv_sec, 24),
        (abi.Buffer.sequence, 56),
        (abi.Buffer.memory, 60),
        (abi.Buffer.m, 64),
        (abi.Buffer.length, 72),
        (abi.Buffer.request_fd, 80),
        (abi.StreamParameters.parm, 4),
        (abi.PixelFormat.bytesperline, 16),
    ],
)
def test_offsets(field: ctypes._CField, offset: int) -> None:
    assert field.offset == offset


@pytest.mark.parametrize(
    "number, value",
    [
        (abi.QUERYCAP, 0x80685600),
        (abi.ENUM_FMT, 0xC0405602),
        (abi.S_FMT, 0xC0D05605),
        (abi.REQBUFS, 0xC0145608),
        (abi.QUERYBUF, 0xC0585609),
        (abi.QBUF, 0xC058560F),
        (abi.DQBUF, 0xC0585611),
        (abi.STREAMON, 0x40045612),
        (abi.STREAMOFF, 0x40045613),
        (abi.S_PARM, 0xC0CC5616),
        (abi.ENUM_FRAMESIZES, 0xC02C564A),
        (abi.ENUM_FRAMEINTERVALS, 0xC034564B),
        (abi.fourcc("YUYV"), 0x56595559),
        (abi.fourcc("MJPG"), 0x47504A4D),
        (abi.fourcc("GREY"), 0x59455247),
    ],
)
def test_numbers(number: int, value: int) -> None:
    assert number == value


def test_fourcc_reads_back() -> None:
    assert abi.fourcc_text(abi.fourcc("MJPG")) == "MJPG"
    assert abi.fourcc_text(abi.fourcc("Y16 ") | 1 << 31) == "Y16 "  # the top bit means big-endian


@pytest.mark.parametrize(
    "offered, wanted, width, chosen",
    [
        ([Offer("MJPG", (VGA,), 30), Offer("YUYV", (VGA,), 30)], "auto", 640, "YUYV"),
        ([Offer("YUYV", (VGA,), 15), Offer("MJPG", (VGA,), 30)], "auto", 640, "MJPG"),
        ([Offer("YUYV", (VGA,), 60), Offer("MJPG", (VGA,), 90)], "auto", 640, "YUYV"),
        ([Offer("YUYV", (VGA,), 0), Offer("MJPG", (VGA,), 30)], "auto", 640, "YUYV"),
        ([Offer("YUYV", (VGA,), 30), Offer("MJPG", (VGA, HD), 30)], "auto", 1280, "MJPG"),
        ([Offer("YUYV", (VGA,), 30), Offer("MJPG", (VGA,), 30)], "mjpg", 640, "MJPG"),
        ([Offer("JPEG", (), 0)], "mjpg", 640, "JPEG"),
        ([Offer("NV12", (VGA,), 30)], "auto", 640, None),
        ([Offer("YUYV", (HD,), 30)], "auto", 640, None),
        ([], "auto", 640, None),
    ],
)
def test_the_choice(offered: list[Offer], wanted: str, width: int, chosen: str | None) -> None:
    offer = choose(offered, wanted, width, {640: 480, 1280: 720}[width], 30)
    assert (offer.fourcc if offer else None) == chosen


@pytest.mark.parametrize(
    "width, height, contained", [(48, 32, True), (64, 48, True), (50, 32, False), (48, 34, False), (4000, 32, False)]
)
def test_a_range_of_sizes_has_steps(width: int, height: int, contained: bool) -> None:
    assert Size(48, 3840, 16, 32, 2160, 16).contains(width, height) is contained


def test_the_description_of_the_offers() -> None:
    offered = [Offer("YUYV", (VGA, HD), 30), Offer("NV12", (Size(48, 3840, 2, 32, 2160, 2),), 30), Offer("GREY", (), 0)]
    assert describe(offered) == "yuyv 640x480, 1280x720; grey any size; formats not read here: NV12"
    assert describe([Offer("GREY", (Size(48, 3840, 2, 32, 2160, 2),), 0)]) == "grey 48x32 to 3840x2160"
    assert describe([]) == "nothing"
