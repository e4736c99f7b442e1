"""The labelled frames of tests/data/objects: in order, inside their frames, of clips that are here."""

from __future__ import annotations

import json
from typing import Any

import cv2
import pytest

from tests.shared import DATA, ROOT, needs_recordings

LABELS = {"person", "car", "bus", "truck", "bicycle", "motorcycle"}
FRAMES: list[dict[str, Any]] = json.loads((ROOT / "tests/data/objects/labels.json").read_text(encoding="utf-8"))


def persons(frame: dict[str, Any]) -> list[dict[str, Any]]:
    return [box for box in frame["boxes"] if box["label"] == "person"]


def test_frames_are_in_order_and_none_is_there_twice() -> None:
    order = [(frame["clip"], frame["frame"]) for frame in FRAMES]
    assert order == sorted(set(order))


def test_boxes_are_inside_their_frames_and_of_known_labels() -> None:
    for frame in FRAMES:
        for box in frame["boxes"]:
            left, top, right, bottom = box["box"]
            assert 0 <= left < right <= frame["width"] and 0 <= top < bottom <= frame["height"], (frame, box)
            assert box["label"] in LABELS and isinstance(box["ignore"], bool), (frame, box)
            assert box["ignore"] or bottom - top >= 12, (frame, box)


def test_there_are_enough_frames_with_persons_and_some_without() -> None:
    demanded = [frame for frame in FRAMES if any(not box["ignore"] for box in persons(frame))]
    assert len(demanded) >= 40
    assert sum(not persons(frame) for frame in FRAMES) >= 10


@needs_recordings
@pytest.mark.parametrize("clip", sorted({frame["clip"] for frame in FRAMES}))
def test_the_clip_has_these_frames_in_this_size(clip: str) -> None:
    capture = cv2.VideoCapture(str(DATA / clip), cv2.CAP_FFMPEG)
    last = max(frame["frame"] for frame in FRAMES if frame["clip"] == clip)
    assert all(capture.grab() for _ in range(last + 1))
    height, width = capture.retrieve()[1].shape[:2]
    sizes = {(frame["width"], frame["height"]) for frame in FRAMES if frame["clip"] == clip}
    assert sizes == {(width, height)}
