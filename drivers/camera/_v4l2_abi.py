"""The part of linux/videodev2.h that capture needs: structures, constants, ioctl numbers, and the two system calls.

The layouts are valid where `long` has 64 bits (x86-64, arm64); there the kernel's time stamp is 64 bits wide anyway.
"""

from __future__ import annotations

import fcntl
import select
from ctypes import Structure, Union, c_char, c_int32, c_int64, c_uint8, c_uint32, c_ulong, sizeof

CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
MMAP = 1  # V4L2_MEMORY_MMAP
PROGRESSIVE = 1  # V4L2_FIELD_NONE

CAP_CAPTURE = 0x00000001
CAP_CAPTURE_MPLANE = 0x00001000
CAP_STREAMING = 0x04000000
CAP_DEVICE_CAPS = 0x80000000

FLAG_ERROR = 0x00000040
FLAG_TIMESTAMP_MASK = 0x0000E000
FLAG_TIMESTAMP_MONOTONIC = 0x00002000

DISCRETE = 1  # of frame sizes and intervals; 2 is continuous, 3 stepwise


class Capability(Structure):
    """struct v4l2_capability."""

    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FormatDescription(Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FrameSize(Structure):
    """struct v4l2_frmsizeenum: `size` is width, height if discrete; else min, max, step of width, then of height."""

    _fields_ = [
        ("index", c_uint32),
        ("pixelformat", c_uint32),
        ("type", c_uint32),
        ("size", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]


class FrameInterval(Structure):
    """struct v4l2_frmivalenum: `interval` starts with the shortest, as numerator and denominator of seconds."""

    _fields_ = [
        ("index", c_uint32),
        ("pixelformat", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("interval", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]


class PixelFormat(Structure):
    """struct v4l2_pix_format."""

    _fields_ = [
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    ]


class _FormatUnion(Union):
    # the kernel's union also holds a pointer, which aligns all of it to a long
    _fields_ = [("pix", PixelFormat), ("raw", c_uint8 * 200), ("align", c_ulong)]


class Format(Structure):
    """struct v4l2_format."""

    _fields_ = [("type", c_uint32), ("fmt", _FormatUnion)]


class RequestBuffers(Structure):
    """struct v4l2_requestbuffers."""

    _fields_ = [
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class _Memory(Union):
    _fields_ = [("offset", c_uint32), ("userptr", c_ulong)]


class Buffer(Structure):
    """struct v4l2_buffer."""

    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("tv_sec", c_int64),
        ("tv_usec", c_int64),
        ("timecode", c_uint32 * 4),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _Memory),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    ]


class _CaptureParameters(Structure):
    _fields_ = [
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("numerator", c_uint32),
        ("denominator", c_uint32),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    ]


class _ParametersUnion(Union):
    _fields_ = [("capture", _CaptureParameters), ("raw", c_uint8 * 200)]


class StreamParameters(Structure):
    """struct v4l2_streamparm."""

    _fields_ = [("type", c_uint32), ("parm", _ParametersUnion)]


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


_WRITE, _READ = 1, 2
QUERYCAP = _request(_READ, 0, sizeof(Capability))
ENUM_FMT = _request(_READ | _WRITE, 2, sizeof(FormatDescription))
S_FMT = _request(_READ | _WRITE, 5, sizeof(Format))
REQBUFS = _request(_READ | _WRITE, 8, sizeof(RequestBuffers))
QUERYBUF = _request(_READ | _WRITE, 9, sizeof(Buffer))
QBUF = _request(_READ | _WRITE, 15, sizeof(Buffer))
DQBUF = _request(_READ | _WRITE, 17, sizeof(Buffer))
STREAMON = _request(_WRITE, 18, sizeof(c_int32))
STREAMOFF = _request(_WRITE, 19, sizeof(c_int32))
S_PARM = _request(_READ | _WRITE, 22, sizeof(StreamParameters))
ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, sizeof(FrameSize))
ENUM_FRAMEINTERVALS = _request(_READ | _WRITE, 75, sizeof(FrameInterval))


def fourcc(text: str) -> int:
    return int.from_bytes(text.encode("ascii"), "little")


def fourcc_text(code: int) -> str:
    return (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace")


def ioctl(fd: int, request: int, argument: Structure | c_int32) -> None:
    """One ioctl call; the device reads and fills `argument`. Raises OSError."""
    while True:
        try:
            fcntl.ioctl(fd, request, argument, True)
            return
        except InterruptedError:
            continue


def poll(poller: select.poll, wait_s: float) -> int:
    """Waits for the registered descriptor; its events, 0 after wait_s without any."""
    ready = poller.poll(wait_s * 1000)
    return ready[0][1] if ready else 0
