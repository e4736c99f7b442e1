"""Zones drawn in the browser: as lines of YAML, checked, and written into the configuration with a backup.

Only the lines of that lane's zones change; what else is in the file, comments too, stays as somebody wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from agent import yamlfile
from agent.yamlfile import NAME, Document, YamlError

MAX_ZONES, MAX_CORNERS = 64, 64
Zones = Mapping[str, Sequence[tuple[float, float]]]


class ZoneError(Exception):
    """The text is for people."""


def checked(raw: Any) -> dict[str, list[tuple[float, float]]]:
    """What a browser sent, as zones. Raises ZoneError."""
    if not isinstance(raw, dict) or len(raw) > MAX_ZONES:
        raise ZoneError(f"zones: expected at most {MAX_ZONES} names with their corners")
    return {_name(name): [_corner(name, corner) for corner in _corners(name, corners)] for name, corners in raw.items()}


def _name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ZoneError(f"zone {name[:40]!r}: a name has letters, digits, '-', '_' and '.'")
    return name


def _corners(name: str, corners: Any) -> list[Any]:
    if not isinstance(corners, list) or not 3 <= len(corners) <= MAX_CORNERS:
        raise ZoneError(f"zone {name[:40]}: expected 3 to {MAX_CORNERS} corners")
    return corners


def _corner(name: str, corner: Any) -> tuple[float, float]:
    if isinstance(corner, list) and len(corner) == 2 and all(_is_share(value) for value in corner):
        return round(float(corner[0]), 3), round(float(corner[1]), 3)
    raise ZoneError(f"zone {name[:40]}: a corner is [x, y], both from 0 to 1")


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) and 0 <= value <= 1


def as_yaml(zones: Zones, indent: int = 0) -> str:
    """The lines of a lane's `zones`."""
    space = " " * indent
    if not zones:
        return f"{space}zones: {{}}\n"
    lines = [
        f"{space}  {name}: [{', '.join(f'[{x:g}, {y:g}]' for x, y in corners)}]" for name, corners in zones.items()
    ]
    return "\n".join([f"{space}zones:", *lines]) + "\n"


def replaced(path: Path, lane: str, zones: Zones) -> bytes:
    """The configuration's new text. Raises ZoneError where its lines cannot be replaced safely, YamlError."""
    document = yamlfile.read(path)
    raw = path.read_bytes()
    text = raw.decode("utf-8-sig")
    lines = yamlfile.split_lines(text)
    if "lanes" not in document.data or lane not in document.data["lanes"]:
        raise ZoneError(f"{path}: it has no lane '{lane}'")
    begin, end, indent = _place(document, lines, lane)
    new = "".join([*lines[:begin], *as_yaml(zones, indent).splitlines(keepends=True), *lines[end:]]).encode()
    _verify(document, new, lane, zones)
    return new


def _place(document: Document, lines: list[str], lane: str) -> tuple[int, int, int]:
    """The lines [begin, end) of the lane's zones, or where they would go; their indentation."""
    section = document.data["lanes"][lane]
    rows = document.lines
    own = [rows[place] - 1 for place in rows if len(place) == 3 and place[:2] == ("lanes", lane)]
    if not own or min(own) <= rows["lanes", lane] - 1 or not isinstance(section, dict):
        raise ZoneError(f"{document.at(('lanes', lane))}: the lane is written in one line: copy the zones by hand")
    indent = _indent(lines[min(own)])
    if "zones" not in section:
        begin = max(own)
        return (end := _end(lines, begin, indent)), end, indent
    begin = rows["lanes", lane, "zones"] - 1
    return begin, _end(lines, begin, indent), indent


def _end(lines: list[str], begin: int, indent: int) -> int:
    """The line after the last of what begins at `begin`; comments and empty lines before the next key are not its."""
    end = begin + 1
    for number in range(begin + 1, len(lines)):
        stripped = lines[number].strip()
        if stripped and not stripped.startswith("#"):
            if _indent(lines[number]) <= indent:
                break
            end = number + 1
    return end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _verify(document: Document, new: bytes, lane: str, zones: Zones) -> None:
    """Nothing but these zones differs, whatever YAML the file is written in. Raises ZoneError."""
    by_hand = f"{document.path}: its lines cannot be replaced safely: copy the zones by hand"
    try:
        after = yamlfile.parse(new, document.path).data
    except YamlError as error:
        raise ZoneError(by_hand) from error
    lanes = document.data["lanes"]
    wanted = {name: [list(corner) for corner in corners] for name, corners in zones.items()}
    expected = {**document.data, "lanes": {**lanes, lane: {**lanes[lane], "zones": wanted}}}
    if after != expected:
        raise ZoneError(by_hand)
