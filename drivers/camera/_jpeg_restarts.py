"""Are all restart intervals of a JPEG there? A decoder goes on at the next marker, at the wrong place of the picture.

Markers, intervals and minimum coded units: ITU-T T.81, A.2, B.2.4.4 and E.1.4.
"""

from __future__ import annotations

import numpy as np

from drivers.camera._jpeg_scans import BASELINE, EXTENDED, SCAN, segments

INTERVAL = 0xDD  # define restart interval
MARK, FIRST, RESTARTS = 0xFF, 0xD0, 8  # the restart markers are FF D0 to FF D7, in turn
BLOCK = 8  # pixels


def all_there(jpeg: memoryview) -> bool:
    """True also where there are none, or the picture has more than one scan."""
    interval = units = 0
    for kind, at, end in segments(jpeg):
        if kind == INTERVAL:
            interval = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        elif kind in (BASELINE, EXTENDED):
            units = _units(jpeg[at:end])
        elif kind == SCAN:
            if not interval or not units:
                return True
            expected = -(-units // interval) - 1
            data = np.frombuffer(jpeg, np.uint8, offset=end)
            kinds = data[1:][data[:-1] == MARK]
            found = kinds[kinds & 0xF8 == FIRST] - FIRST
            return len(found) == expected and bool((found == np.arange(expected) % RESTARTS).all())
    return True


def _units(header: memoryview) -> int:
    """Minimum coded units of a frame whose scan has all components."""
    if len(header) < 8 + 3 * header[7]:
        return 0
    height, width = (int.from_bytes(header[at : at + 2], "big") for at in (3, 5))
    sampling = [header[8 + 3 * number + 1] for number in range(header[7])]
    across = max((each >> 4 for each in sampling), default=0) if len(sampling) > 1 else 1
    down = max((each & 15 for each in sampling), default=0) if len(sampling) > 1 else 1
    if not across or not down:
        return 0
    return -(-width // (BLOCK * across)) * -(-height // (BLOCK * down))
