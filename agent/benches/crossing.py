"""Cars on a real clip from above: boxes and counts of motion-blobs against what a person read off the frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.data import Box, Evidence
from agent.gates.config import GateConfig
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.vision.tracks import overlap

CLIP = "video-intel/car-detection.mp4"
# Cars of car-detection.mp4 by eye, in percent of the frame: left, top, right, bottom; with mirrors, without shadows.
CARS: dict[int, list[tuple[float, float, float, float]]] = {
    20: [],
    130: [],
    160: [],
    260: [],
    300: [],
    366: [],
    58: [(38, 84.5, 60.5, 100)],
    62: [(36.9, 70, 61.8, 100)],
    66: [(36.3, 57, 62.4, 100)],
    70: [(35.7, 44, 62.2, 100)],
    75: [(35.3, 29.5, 59.3, 97)],
    80: [(35.3, 16.5, 56.6, 76.5)],
    85: [(35.3, 5.3, 54.6, 58.5)],
    90: [(35.7, 0, 53.5, 42.7)],
    95: [(36.7, 0, 52.3, 28.8)],
    100: [(37.3, 0, 51.5, 16)],
    104: [(37.5, 0, 51.4, 8.4)],
    184: [(20.8, 0, 34, 9.4)],
    188: [(19.7, 0, 34.2, 20.4), (43.6, 93.5, 63.5, 100)],
    192: [(17.2, 0, 35, 31.4), (43, 79.8, 63.7, 100)],
    196: [(16.2, 0, 34.5, 44.6), (41.1, 65.2, 65.2, 100)],
    200: [(14.5, 0, 34, 60), (41.1, 51.1, 63.9, 100)],
    204: [(13.1, 8, 33.4, 75.3), (41.1, 39, 63.3, 100)],
    208: [(10.6, 20.8, 32.6, 94.9), (41, 27.6, 61.8, 93.8)],
    212: [(8.7, 32.6, 32, 100), (40.7, 17.8, 61, 78.5)],
    216: [(6.4, 47.3, 31.9, 100), (40, 7.5, 59.7, 61.7)],
    220: [(9.3, 61.6, 30.5, 100), (40.2, 0.9, 58.5, 50.6)],
    224: [(9.3, 78.7, 29, 100), (41.1, 0, 57.5, 38.6)],
    228: [(10.2, 98.1, 25.1, 100), (41.1, 0, 56.2, 26.4)],
    232: [(40.7, 0, 55, 16.8)],
    236: [(39.4, 0, 53.1, 6.5)],
    316: [(26.8, 0, 40.9, 5.2)],
    318: [(25.5, 0, 40.5, 11.3)],
    322: [(22.8, 0, 42.3, 28.7)],
    326: [(20, 0, 41.9, 49.9)],
    330: [(18, 3.3, 40.5, 71.7)],
    334: [(15.8, 20.2, 39.7, 99.5)],
    338: [(14.4, 38.4, 39.7, 100)],
    342: [(15.1, 62.5, 38.6, 100)],
    346: [(15, 89, 37.8, 100)],
}
FIRST_TEST_FRAME = 150  # parameters were chosen on the frames before this one
# First and last frame, by eye, that show a part of each car: white, blue-green, red, white.
PASSES = [(55, 107), (182, 228), (188, 237), (316, 347)]


def measure(data: Path, gate: GateConfig | None) -> dict[str, Any]:
    """Boxes in the labelled frames that were not used for tuning; the number of cars in every frame."""
    perception = Perception(package.open_package(package.find("motion-blobs")), gate=gate)
    lane = offline_lane("road", "camera.file", {"path": data / CLIP}, perception)
    evidence: list[Sequence[Evidence]] = []
    in_force: Sequence[Evidence] = []  # where a gate holds a frame back, the evidence before it
    inferred = 0
    for _ in lane.play(Scene(Rules({}, {}))):
        if lane.evidence is not None:
            inferred, in_force = inferred + 1, lane.evidence
        evidence.append(in_force)
    right, cars, boxes = hits(evidence, [number for number in CARS if number >= FIRST_TEST_FRAME])
    counted = [sum(each.label == "vehicle" for each in frame) for frame in evidence]
    by_eye = [sum(first <= number <= last for first, last in PASSES) for number in range(len(evidence))]
    same = sum(count == expected for count, expected in zip(counted, by_eye))
    return {
        "frames_inferred_percent": round(100 * inferred / len(evidence), 1),
        "labelled_frames": sum(number >= FIRST_TEST_FRAME for number in CARS),
        "cars": cars,
        "precision": round(right / max(boxes, 1), 3),
        "recall": round(right / max(cars, 1), 3),
        "frames_counted_right_percent": round(100 * same / len(evidence), 1),
    }


def hits(evidence: Sequence[Sequence[Evidence]], frames: Sequence[int]) -> tuple[int, int, int]:
    """(boxes that overlap a car's by half or more, one to one; cars; boxes)."""
    right = cars = boxes = 0
    for number in frames:
        truth = [Box(*(side / 100 for side in car)) for car in CARS[number]]
        detected = [each.box for each in evidence[number] if each.box]
        pairs = sorted(
            ((overlap(a, b), n, m) for n, a in enumerate(truth) for m, b in enumerate(detected)), reverse=True
        )
        used: set[tuple[str, int]] = set()
        for share, n, m in pairs:
            if share >= 0.5 and not used & {("car", n), ("box", m)}:
                used |= {("car", n), ("box", m)}
                right += 1
        cars, boxes = cars + len(truth), boxes + len(detected)
    return right, cars, boxes
