"""`python -m agent.web.clips FILE MODE`: an event clip or a recording for the browser, as JSON.

A process of its own: it takes the memory of the whole file, and seconds.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.replay.compare import DAMAGED
from agent.replay.header import Header, read_header
from agent.replay.translate import translate
from agent.web import clip_pictures, skeletons
from agent.web.describe import conditions
from agent.web.messages import as_dicts, as_lists

MAX_BYTES = 64_000_000  # of a file: a clip has no more
MAX_FRAMES = 5000
MAX_LANE_FRAMES = 1000  # of a sensor
MAX_ROWS = 5000  # readings of a lane
SEALED = "sealed: only the holder of the secret key can read it: reflexd replay --key"
Message = tuple[str, dict[str, Any]]  # with its lane


class ClipError(Exception):
    """The text is for people."""


def shown(path: Path, mode: str) -> dict[str, Any]:
    """All of a clip. mode: of its pictures, as in pictures.encode. Raises ClipError."""
    if path.name.endswith(".sealed"):
        return {"name": path.name, "sealed": True, "frames": [], "decisions": [], "lanes": {}, "note": SEALED}
    contents = _read(path)
    offset = _offset(path, contents)
    messages = _merged(contents.messages)
    first = max(0, len(messages) - MAX_FRAMES)
    chosen = messages[first:]
    header = _header(contents)
    points = skeletons.of_messages(header, chosen) if header else {}
    strides = {lane: _stride(lane, chosen) for lane in dict(chosen)}
    frames = [
        {
            **_frame(lane, message, offset, strides[lane]),
            "n": first + n,
            "points": as_lists(points[n]) if n in points else [],
        }
        for n, (lane, message) in enumerate(chosen)
    ]
    return {
        "name": path.name,
        "sealed": False,
        "lanes": {lane: _lane(lane, chosen, header) for lane in dict(chosen)},
        "frames": frames,
        "decisions": [_decision(lane, m, d, offset) for lane, m in contents.messages for d in m["decisions"]],
        "start": frames[0]["t"] if frames else None,
        "end": frames[-1]["t"] if frames else None,
        "note": _note(contents, first),
        "pictures": clip_pictures.encoded(chosen, first, mode, header),
    }


def _read(path: Path) -> RecordingContents:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ClipError(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB are too much here: reflexd replay FILE")
        return translate(read(path))
    except (OSError, RecordingError, *DAMAGED) as error:
        raise ClipError(str(error).replace(f"{path.parent}/", "")) from error


def _offset(path: Path, contents: RecordingContents) -> float:
    """To be added to capture times, ms, which are on the clock of a boot: so that the last one is the file's time."""
    last = contents.messages[-1][1]["t_capture"] / 1e6 if contents.messages else 0.0
    return path.stat().st_mtime * 1e3 - last


def _merged(messages: list[Message]) -> list[Message]:
    """Of a fast sensor several samples become one frame, which a screen shows no faster anyway."""
    counts = Counter(lane for lane, message in messages if "readings" in message)
    sizes = {lane: ceil(count / MAX_LANE_FRAMES) for lane, count in counts.items()}
    merged: list[Message] = []
    waiting: dict[str, list[dict[str, Any]]] = {}
    for lane, message in messages:
        group = waiting.setdefault(lane, [])
        group.append(message)
        if len(group) >= sizes.get(lane, 1):
            merged.append((lane, _joined(group)))
            group.clear()
    return merged + [(lane, _joined(group)) for lane, group in waiting.items() if group]


def _joined(group: list[dict[str, Any]]) -> dict[str, Any]:
    """All readings, and of each label the item with the greatest score."""
    if len(group) == 1:
        return group[0]
    items = sorted((item for message in group for item in message["evidence"]), key=lambda item: item["score"])
    return {
        **group[-1],
        "readings": [row for message in group for row in message.get("readings", ())],
        "evidence": list({item["label"]: item for item in items}.values()),
        "inferred": any(message["inferred"] for message in group),
    }


def _header(contents: RecordingContents) -> Header | None:
    """None where it is damaged: the samples can be shown without."""
    try:
        return read_header(contents)
    except RecordingError:
        return None


def _stride(lane: str, messages: list[Message]) -> int:
    """Of a lane's readings every n-th is shown."""
    return ceil(sum(len(message.get("readings", ())) for name, message in messages if name == lane) / MAX_ROWS) or 1


def _frame(lane: str, message: dict[str, Any], offset: float, stride: int) -> dict[str, Any]:
    evidence = [(item["label"], item["score"], item["box"], item.get("mark", "")) for item in message["evidence"]]
    t = round(message["t_capture"] / 1e6 + offset, 3)
    return {
        "lane": lane,
        "t": t,
        "evidence": as_dicts(evidence),
        "inferred": message.get("inferred", False),
        "picture": clip_pictures.has_picture(message),
        "part": clip_pictures.part(message),
        "rows": _rows(message, t, stride) if "readings" in message else [],
    }


def _rows(message: dict[str, Any], t: float, stride: int) -> list[list[float | None]]:
    """[t, values ...] of each reading; sequence and time of a message are those of its newest."""
    rate_hz, count = message.get("rate_hz", 0.0), len(message["readings"])
    step_ms = 1e3 / rate_hz if rate_hz else 0.0
    ages = [age for age in range(count - 1, -1, -1) if (message["sequence"] - age) % stride == 0]
    return [[round(t - age * step_ms, 3), *as_lists(np.array(message["readings"][-1 - age]))] for age in ages]


def _lane(name: str, messages: list[Message], header: Header | None) -> dict[str, Any]:
    own = [message for lane, message in messages if lane == name]
    frame: list[int] = next((message["frame"] for message in own if clip_pictures.is_frame(message)), [])
    section = header.config.lanes.get(name) if header else None
    return {
        "kind": "readings" if any("readings" in message for message in own) else "picture" if frame else "sound",
        "channels": own[0].get("channels", []),
        "frame": frame,
        "zones": section.zones if section else {},
        "conditions": conditions(name, header.config) if header else [],
    }


def _decision(lane: str, message: dict[str, Any], decision: dict[str, Any], offset: float) -> dict[str, Any]:
    return {"lane": lane, "t": round(message["t_capture"] / 1e6 + offset, 3), **decision}


def _note(contents: RecordingContents, left_out: int) -> str:
    notes = []
    if left_out:
        notes.append("its beginning is not shown, because it is too long: reflexd replay FILE")
    if contents.lost or contents.lost_decisions:
        notes.append(f"{contents.lost} samples and {contents.lost_decisions} decisions were not recorded")
    if contents.unreadable:
        notes.append(f"{contents.unreadable} bytes of it cannot be read: at least {contents.missing} samples")
    if contents.damaged:
        notes.append("its end is missing or damaged")
    return "; ".join(notes)


def main() -> int:
    try:
        print(json.dumps(shown(Path(sys.argv[1]), sys.argv[2])))
    except ClipError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
