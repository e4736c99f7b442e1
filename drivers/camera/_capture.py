"""An opened video: OpenCV's capture, its header checked; JPEG videos picture by picture."""

from __future__ import annotations

from typing import Any, Protocol

import cv2

from agent.data import Array
from drivers.camera import _decode_protocol as protocol
from drivers.camera import _jpeg, _mirror, _open_log
from drivers.camera._container import missing_bytes

CODED_ALONE = ord("I")  # a frame's type
JPEG_CODECS = (b"MJPG", b"mjpg", b"jpeg", b"JPEG")
HEADER_BYTES = 4096
PACKETS = (cv2.CAP_PROP_FORMAT, -1)


class Problem(Exception):
    """Ends the child and is sent to the parent: kind of message, text."""


class Capture(Protocol):
    """What is used of cv2.VideoCapture."""

    def grab(self) -> bool:
        """False at the end."""

    def retrieve(self, target: Array | None = None) -> tuple[bool, Array]:
        """Whether the newest picture decodes, and the picture: in target, where it fits."""

    def get(self, property: int) -> float:
        """0 for what the container does not know."""


class JpegCapture:
    """The packets of a JPEG video, decoded here: FFmpeg fills a picture that is cut off with the one before."""

    def __init__(self, packets: cv2.VideoCapture) -> None:
        self.grab, self.get = packets.grab, packets.get
        self._packets = packets
        self._size = int(self.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(self.get(cv2.CAP_PROP_FRAME_WIDTH))

    def retrieve(self, target: Array | None = None) -> tuple[bool, Array]:
        _, packet = self._packets.retrieve()
        packet = packet.reshape(-1)
        size = _jpeg.size(packet[:HEADER_BYTES].tobytes())
        if size not in (self._size, (0, 0)):
            return True, packet  # of no picture's shape: the caller refuses it before it is decoded
        picture = _jpeg.decode(packet)
        return picture is not None, packet if picture is None else picture


class MirroredCapture:
    """A mirrored recording: OpenCV would turn it."""

    def __init__(self, capture: cv2.VideoCapture, mirrored: Array) -> None:
        self.grab, self.get = capture.grab, capture.get
        self._capture, self._mirrored = capture, mirrored
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)

    def retrieve(self, target: Array | None = None) -> tuple[bool, Array]:
        decoded, picture = self._capture.retrieve()
        return decoded, _mirror.upright(picture, self._mirrored, target) if decoded else picture


def open_capture(request: dict[str, Any]) -> Capture:
    """Raises Problem."""
    with _open_log.captured() as log:
        capture = _opened(request)
    if not capture.isOpened():
        kind = protocol.MISSING if request["pace"] == "live" else protocol.FAULT
        cause = log.cause(request.get("open_failures", {}), request["open_failure"])
        raise Problem(kind, cause + (": it is cut off" if _missing_bytes(request) else ""))
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    check_size(width, height, request["max_pixels"])
    if request["pace"] == "live":
        return capture
    if (mirrored := _mirror.matrix(request["source"])) is not None:
        return MirroredCapture(capture, mirrored)
    if _codec(capture) not in JPEG_CODECS or capture.get(cv2.CAP_PROP_ORIENTATION_META):
        return capture  # one that is turned is turned by OpenCV, whole pictures only
    probe = JpegCapture(_opened(request, *PACKETS))
    # not where a packet is half a picture, every second line
    whole = probe.grab() and probe.retrieve()[1].shape == (height, width, 3)
    return JpegCapture(_opened(request, *PACKETS)) if whole else capture


def _opened(request: dict[str, Any], *settings: int) -> cv2.VideoCapture:
    limits = cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(request["open_timeout_ms"]), cv2.CAP_PROP_N_THREADS, request["threads"]
    return cv2.VideoCapture(request["source"], cv2.CAP_FFMPEG, [*limits, *settings])


def check_size(width: float, height: float, max_pixels: int) -> None:
    """Raises Problem."""
    if width * height > max_pixels:
        raise Problem(protocol.FAULT, f"has pictures of {width:.0f}x{height:.0f}, more than max_pixels {max_pixels}")


def check_complete(shown: int, request: dict[str, Any]) -> None:
    """Raises Problem for a recording that was cut off.

    The number of frames in its header is no help: with longer sound, a variable rate or an edit list it is not the
    number of pictures to be shown.
    """
    if missing := _missing_bytes(request):
        raise Problem(protocol.FAULT, f"is cut off after {shown} frames: at least {missing} bytes are missing")
    if shown == 0:
        raise Problem(protocol.FAULT, "holds no picture that decodes")


def _missing_bytes(request: dict[str, Any]) -> int:
    if request["pace"] == "live":
        return 0
    try:
        return missing_bytes(request["source"])
    except OSError:  # gone meanwhile
        return 0


def period_s(capture: Capture) -> float:
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    return 1 / rate_hz if 0.01 < rate_hz < 1000 else 1 / 30


def coded_alone(capture: Capture) -> bool:
    """False for a picture that is coded by its difference from others."""
    if _codec(capture) in JPEG_CODECS:  # first: of undecoded packets there is no type
        return True
    return int(capture.get(getattr(cv2, "CAP_PROP_FRAME_TYPE", -1))) == CODED_ALONE  # since OpenCV 4.11


def _codec(capture: Capture) -> bytes:
    return int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
