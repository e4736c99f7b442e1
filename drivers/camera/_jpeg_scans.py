"""Are all scans of a JPEG there? A progressive one refines its picture scan by scan: cut and ended, it decodes blurred.

Markers and scans: ITU-T T.81, B.2 and G.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2  # start of frame
SCAN, END = 0xDA, 0xD9
COEFFICIENTS = 64  # of a block
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # in a scan's data: 0xff as a value, filling, restarts
MISSING = 99  # bits of a coefficient that no scan holds yet


class Scans(NamedTuple):
    """several: the picture is in more than one. all_there: every bit of every coefficient has its scan.

    refining: the last one holds no more than the lowest bit of what is there.
    """

    several: bool
    all_there: bool
    refining: bool = False


def read(jpeg: memoryview) -> Scans:
    """Of one scan, as cameras send it, no more than the header is read. Whether the last one is whole is not known."""
    missing: dict[int, list[int]] = {}  # by component: how many low bits of each coefficient
    several = refining = False
    for kind, at, end in segments(jpeg):
        if kind in (BASELINE, EXTENDED, PROGRESSIVE):
            missing = {component: [MISSING] * COEFFICIENTS for component in jpeg[at + 8 : end : 3]}
            several = kind == PROGRESSIVE
        elif kind == SCAN:
            several |= jpeg[at + 2] < len(missing)
            if not several:
                break
            refining = _note_scan(jpeg[at:end], missing)
    return Scans(several, not any(map(any, missing.values())) if several else True, refining)


def _note_scan(header: memoryview, missing: dict[int, list[int]]) -> bool:
    """Is it a refinement?"""
    first, last, bits = header[-3:]
    for component in header[3 : 3 + 2 * header[2] : 2]:
        if component in missing and first <= last < COEFFICIENTS:
            missing[component][first : last + 1] = [bits & 15] * (last + 1 - first)
    return bits >> 4 > 0


def segments(jpeg: memoryview) -> Iterator[tuple[int, int, int]]:
    """(kind, where its length stands, its end) of each up to the end mark; a scan's data lie behind its end."""
    at = 2
    while (marker := MARKER.search(jpeg, at)) and jpeg[marker.start() + 1] != END:
        start = marker.end()
        at = start + int.from_bytes(jpeg[start : start + 2], "big")
        if not start + 2 < at <= len(jpeg):
            return
        yield jpeg[start - 1], start, at
