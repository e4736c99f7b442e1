"""The bytes of a live tape, for the lane that writes and the web process that reads; imports next to nothing."""

from __future__ import annotations

import struct
from typing import NamedTuple

LIVE_MAGIC = b"rfxlive\x01"
LIVE_HEADER = 4096
# magic, bytes of a slot, slots, head, until: the monotonic ns up to which somebody watches; readers write it
LIVE_TOP = struct.Struct("=8sqqqq")
LIVE_HEAD_AT, UNTIL_AT = 24, 32
LIVE_HEADER_AT = 64
# number + 1, sequence, t_capture, skipped, inferred, shape of the body (three sizes), bytes of body and of details;
# ns: prepared, inferred, decided, counted from when the sample was read
LIVE_SLOT = struct.Struct("=qqqiiiiiiiqqq")
MAX_DETAILS = 8192  # bytes
WATCH_NS = 2_000_000_000  # a viewer that is there says so again within this
PICTURE, READINGS, SOUND = "picture", "readings", "sound"
PICTURE_BYTES = 1_500_000  # a larger picture is thinned to fit: 640 x 360 of 1080p
PICTURE_SLOTS, ROW_SLOTS = 3, 256
MAX_ROWS = 16  # readings in a slot


class LiveHeader(NamedTuple):
    """What a reader needs to know of a lane. kind: PICTURE, READINGS or SOUND. pixels: layout of a picture's values.

    channels, rate_hz: of readings, and the rate of sound.
    """

    lane: str
    kind: str
    pixels: str = ""
    channels: tuple[str, ...] = ()
    rate_hz: float = 0.0
