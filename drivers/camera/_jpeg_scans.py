"""Are all scans of a JPEG there? A progressive one refines its picture scan by scan: cut and ended, it decodes blurred.

Markers and scans: ITU-T T.81, B.2 and G.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2  # start of frame
FRAMES = (BASELINE, EXTENDED, PROGRESSIVE)
SCAN, END = 0xDA, 0xD9
COEFFICIENTS = 64  # of a block
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # in a scan's data: 0xff as a value, filling, restarts
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
MISSING = 99  # bits of a coefficient that no scan holds yet


class Scans(NamedTuple):
    """several: the picture is in more than one. all_there: every bit of every coefficient has its scan."""

    several: bool
    all_there: bool


def read(jpeg: memoryview) -> Scans:
    """Of one scan, as cameras send it, no more than the header is read. Whether each is whole is not known."""
    missing: dict[int, list[int]] = {}  # by component: how many low bits of each coefficient
    several = False
    for kind, at, end in segments(jpeg):
        if kind in FRAMES:
            missing = {component: [MISSING] * COEFFICIENTS for component in jpeg[at + 8 : end : 3]}
            several = kind == PROGRESSIVE
        elif kind == SCAN:
            several |= jpeg[at + 2] < len(missing)
            if not several:
                break
            _note_scan(jpeg[at:end], missing)
    return Scans(several, not any(map(any, missing.values())) if several else True)


def _note_scan(header: memoryview, missing: dict[int, list[int]]) -> None:
    first, last, bits = header[-3:]
    for component in header[3 : 3 + 2 * header[2] : 2]:
        if component in missing and first <= last < COEFFICIENTS:
            missing[component][first : last + 1] = [bits & 15] * (last + 1 - first)


def segments(jpeg: memoryview) -> Iterator[tuple[int, int, int]]:
    """(kind, where its length stands, its end) of each up to the end mark; a scan's data lie behind its end."""
    at = 2
    while (marker := MARKER.search(jpeg, at)) and jpeg[marker.start() + 1] != END:
        start = marker.end()
        at = start + int.from_bytes(jpeg[start : start + 2], "big")
        if not start + 2 < at <= len(jpeg):
            return
        yield jpeg[start - 1], start, at


def scan_end(jpeg: memoryview, at: int) -> int:
    """Where the data of a scan end that begin at `at`."""
    marker = MARKER.search(jpeg, at)
    return marker.start() if marker else len(jpeg)


def stretches(jpeg: memoryview) -> list[int]:
    """Where each stretch of a scan's data ends, at a restart marker or at the next segment."""
    ends = []
    for kind, _, end in segments(jpeg):
        if kind == SCAN:
            ends += [marker.start() for marker in RESTART.finditer(jpeg, end, scan_end(jpeg, end))]
            ends.append(scan_end(jpeg, end))
    return ends
