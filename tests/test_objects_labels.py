"""The labelled frames of tests/data/objects: in order, inside their frames, of clips that are here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.benches import objects
from agent.errors import DataError
from tests.shared import DATA, ROOT, needs_recordings

LABELS = {"person", "car", "bus", "truck", "bicycle", "motorcycle"}
FRAMES: list[dict[str, Any]] = json.loads((ROOT / "tests/data/objects/labels.json").read_text(encoding="utf-8"))
NEIGHBOURS: list[dict[str, Any]] = json.loads((ROOT / "tests/data/objects/neighbours.json").read_text(encoding="utf-8"))


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


# -- composed frames ------------------------------------------------------------------------------------


def test_a_composed_frame_has_two_persons_whose_boxes_were_drawn_by_eye() -> None:
    known = {(frame["clip"], frame["frame"]): frame["boxes"] for frame in FRAMES}
    order = [(frame["clip"], frame["frame"], [patch["frame"] for patch in frame["patches"]]) for frame in NEIGHBOURS]
    assert order == sorted(order) and len(NEIGHBOURS) >= 15
    for frame in NEIGHBOURS:
        first, second = known[frame["clip"], frame["frame"]], known[frame["clip"], frame["patches"][0]["frame"]]
        assert frame["boxes"] == first + second and len(persons(frame)) == 2


def test_a_patch_holds_its_person_and_nothing_of_the_other() -> None:
    for frame in NEIGHBOURS:
        (there, pasted), (patch,) = (box["box"] for box in frame["boxes"]), frame["patches"]
        left, top, right, bottom = patch["box"]
        assert 0 <= left <= pasted[0] and pasted[2] <= right <= frame["width"], frame
        assert 0 <= top <= pasted[1] and pasted[3] <= bottom <= frame["height"], frame
        assert right <= there[0] or there[2] <= left, frame


def test_patches_are_laid_over_a_frame(tmp_path: Path) -> None:
    """Pictures of one colour each: 20, 40, ..."""
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(4):
        writer.write(np.full((48, 64, 3), 20 * (number + 1), np.uint8))
    writer.release()
    frame = objects.Frame("clip.avi", 0, [], [objects.Patch(3, (8, 16, 32, 40))])
    plain = objects.Frame("clip.avi", 0, [], [])
    (_, composed), (_, untouched) = objects._pictures(tmp_path, [frame, plain])
    assert abs(int(composed[20, 20, 0]) - 80) < 4 and abs(int(composed[20, 40, 0]) - 20) < 4
    assert abs(int(untouched[20, 20, 0]) - 20) < 4
    with pytest.raises(DataError, match="has no frame 4"):
        list(objects._pictures(tmp_path, [objects.Frame("clip.avi", 0, [], [objects.Patch(9, (0, 0, 1, 1))])]))
