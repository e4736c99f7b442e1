"""Are all restart intervals of a JPEG there? A decoder goes on at the next marker, at the wrong place of the picture.

Markers, intervals and minimum coded units: ITU-T T.81, A.2, B.2.4.4 and E.1.4.
"""

from __future__ import annotations

import numpy as np

from drivers.camera._jpeg_scans import FRAMES, SCAN, scan_end, segments

INTERVAL = 0xDD  # define restart interval
MARK, FIRST, RESTARTS = 0xFF, 0xD0, 8  # the restart markers are FF D0 to FF D7, in turn
BLOCK = 8  # pixels


def all_there(jpeg: memoryview) -> bool:
    """In every scan; True also where there are none."""
    interval = 0
    frame = memoryview(b"")
    for kind, at, end in segments(jpeg):
        if kind == INTERVAL:
            interval = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        elif kind in FRAMES:
            frame = jpeg[at:end]
        elif kind == SCAN and interval:
            units = _units(frame, jpeg[at:end])
            if units and not _in_turn(jpeg[end : scan_end(jpeg, end)], -(-units // interval) - 1):
                return False
    return True


def _in_turn(data: memoryview, expected: int) -> bool:
    values = np.frombuffer(data, np.uint8)
    kinds = values[1:][values[:-1] == MARK]
    restarts = kinds[kinds & 0xF8 == FIRST] - FIRST
    return len(restarts) == expected and bool((restarts == np.arange(expected) % RESTARTS).all())


def _units(frame: memoryview, scan: memoryview) -> int:
    """Minimum coded units of a scan: of several components whole blocks of all, of one its own 8 x 8 pixels."""
    if len(frame) < 8 + 3 * (frame[7] if len(frame) > 7 else 1):
        return 0
    sampling = {number: (each >> 4, each & 15) for number, each in zip(frame[8::3], frame[9::3])}
    across = max((each for each, _ in sampling.values()), default=0)
    down = max((each for _, each in sampling.values()), default=0)
    if not across or not down:
        return 0
    height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (3, 5))
    if scan[2] > 1:
        return -(-width // (BLOCK * across)) * -(-height // (BLOCK * down))
    own_across, own_down = sampling.get(scan[3], (across, down))
    return -(-width * own_across // (BLOCK * across)) * -(-height * own_down // (BLOCK * down))
