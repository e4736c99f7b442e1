"""`python -m agent.web.clips FILE MODE`: an event clip or a recording for the browser, as JSON.

A process of its own: it takes the memory of the whole file, and seconds.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.tapes.live_reader import RawPicture
from agent.web import pictures
from agent.web.messages import as_dicts

MAX_BYTES = 64_000_000  # of a file: a clip has no more
MAX_FRAMES = 5000
MAX_PICTURES = 2_000_000  # bytes of all JPEGs


SEALED = "sealed: only the holder of the secret key can read it: reflexd replay --key"


class ClipError(Exception):
    """The text is for people."""


def shown(path: Path, mode: str) -> dict[str, Any]:
    """All of a clip. mode: of its pictures, as in pictures.encode. Raises ClipError."""
    if path.name.endswith(".sealed"):
        return {"name": path.name, "sealed": True, "frames": [], "decisions": [], "lanes": {}, "note": SEALED}
    contents = _read(path)
    offset = _offset(path, contents)
    first = max(0, len(contents.messages) - MAX_FRAMES)
    chosen = contents.messages[first:]
    frames = [_frame(first + n, lane, message, offset) for n, (lane, message) in enumerate(chosen)]
    return {
        "name": path.name,
        "sealed": False,
        "lanes": {lane: _lane(lane, contents) for lane in dict(contents.messages)},
        "frames": frames,
        "decisions": [_decision(lane, m, d, offset) for lane, m in chosen for d in m["decisions"]],
        "start": frames[0]["t"] if frames else None,
        "end": frames[-1]["t"] if frames else None,
        "note": _note(contents, len(chosen)),
        "pictures": {} if mode == pictures.HIDDEN else _pictures(chosen, first, mode),
    }


def _read(path: Path) -> RecordingContents:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ClipError(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB are too much here: reflexd replay FILE")
        return read(path)
    except (OSError, RecordingError) as error:
        raise ClipError(str(error).replace(f"{path.parent}/", "")) from error


def _pictures(messages: list[tuple[str, dict[str, Any]]], first: int, mode: str) -> dict[str, str]:
    """JPEG in base64 by the frame's number; every n-th where all would be too many bytes."""
    numbers = [n for n, (_, message) in enumerate(messages) if _has_picture(message)]
    pictures_of: dict[str, str] = {}
    size, every = 0, 1
    for count, n in enumerate(numbers):
        if count % every:
            continue
        jpeg = pictures.encode(_input(messages[n][1]), mode)[0]
        pictures_of[str(first + n)] = base64.b64encode(jpeg).decode()
        size += len(jpeg)
        if size * len(numbers) > MAX_PICTURES * len(pictures_of) * every:
            every += 1
    return pictures_of


def _offset(path: Path, contents: RecordingContents) -> float:
    """To be added to capture times, ms, which are on the clock of a boot: so that the last one is the file's time."""
    last = contents.messages[-1][1]["t_capture"] / 1e6 if contents.messages else 0.0
    return path.stat().st_mtime * 1e3 - last


def _frame(number: int, lane: str, message: dict[str, Any], offset: float) -> dict[str, Any]:
    evidence = [(item["label"], item["score"], item["box"], item.get("mark", "")) for item in message["evidence"]]
    frame = {
        "n": number,
        "lane": lane,
        "t": round(message["t_capture"] / 1e6 + offset, 3),
        "evidence": as_dicts(evidence),
        "inferred": message.get("inferred", False),
        "picture": _has_picture(message),
    }
    return {**frame, "rows": message["readings"]} if "readings" in message else frame


def _lane(name: str, contents: RecordingContents) -> dict[str, Any]:
    messages = [message for lane, message in contents.messages if lane == name]
    readings = next((message for message in messages if "readings" in message), None)
    kind = "readings" if readings else "picture" if any(map(_is_frame, messages)) else "sound"
    recorded = json.loads(contents.header.get("config", "{}")).get("lanes", {}).get(name, {})
    return {"kind": kind, "channels": messages[0].get("channels", []), "zones": recorded.get("zones", {})}


def _is_frame(message: dict[str, Any]) -> bool:
    return bool(message.get("frame") and message["frame"][1])


def _decision(lane: str, message: dict[str, Any], decision: dict[str, Any], offset: float) -> dict[str, Any]:
    return {"lane": lane, "t": round(message["t_capture"] / 1e6 + offset, 3), **decision}


def _note(contents: RecordingContents, shown: int) -> str:
    notes = []
    if shown < len(contents.messages):
        notes.append(f"only the last {shown} of {len(contents.messages)} samples are shown")
    if contents.lost or contents.lost_decisions:
        notes.append(f"{contents.lost} samples and {contents.lost_decisions} decisions were not recorded")
    if contents.unreadable:
        notes.append(f"{contents.unreadable} bytes of it cannot be read: at least {contents.missing} samples")
    if contents.damaged:
        notes.append("its end is missing or damaged")
    return "; ".join(notes)


def _has_picture(message: dict[str, Any]) -> bool:
    inputs = message.get("inputs") or []
    return bool(inputs) and _is_frame(message) and len(_image_shape(inputs[0]["shape"])) == 3


def _image_shape(shape: list[int]) -> list[int]:
    """[height, width, channels] of an input tensor; [] of another."""
    sides = shape[1:]
    if len(sides) == 3 and sides[2] in (1, 3):
        return sides
    return [sides[1], sides[2], sides[0]] if len(sides) == 3 and sides[0] in (1, 3) else []


def _input(message: dict[str, Any]) -> RawPicture:
    """The network's input, in which its smallest value is black and its largest white."""
    tensor = message["inputs"][0]
    raw: Array = np.frombuffer(base64.b64decode(tensor["data"]), np.dtype(tensor["dtype"])).reshape(tensor["shape"])[0]
    planar = tensor["shape"][1] in (1, 3) and tensor["shape"][3] not in (1, 3)
    values = (raw.transpose(1, 2, 0) if planar else raw).astype(np.float32)
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    spread = max(highest - lowest, 1e-6)
    picture = np.nan_to_num((values - lowest) * (255.0 / spread)).astype(np.uint8)
    return RawPicture(picture[..., 0] if picture.shape[2] == 1 else picture, "rgb" if picture.shape[2] == 3 else "grey")


def main() -> int:
    try:
        print(json.dumps(shown(Path(sys.argv[1]), sys.argv[2])))
    except ClipError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
