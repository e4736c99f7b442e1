"""`reflexd bench senses`: what gates, ladder, coarse-to-fine and fusion save and cost on real recordings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np

from agent import package
from agent.benches import crossing, fused
from agent.benches.arc import machine
from agent.data import Array, Sample
from agent.gates.config import GateConfig
from agent.gates.fit import fit_gate
from agent.lane import Lane, offline_lane
from agent.package import Package
from agent.perception import Perception
from agent.prepare.ladder import PROBED
from agent.prepare.pixels import Pixels
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from drivers.base import open_source
from models.train.pose_fall.clips import movenet

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
STANDING = "video-fall-gmdcsa24/S1-ADL-16.mp4"
PEOPLE = "video-intel/one-by-one-person-detection.mp4"
GATE: dict[str, Any] = {"keyframe": {}, "motion": {}}
APART, LASTING = 10, 3  # frames: an appearance begins after so many without, and has at least so many


def measure(data: Path) -> dict[str, Any]:
    """Raises OSError where the recordings are not."""
    if not (data / PEOPLE).is_file():
        raise OSError(2, "no such recording: give --data DIR, laid out like ../shared/data", str(data / PEOPLE))
    gate = GateConfig.model_validate(GATE)
    return {
        "gates": gates(data),
        "full_hd": _full_hd(data),
        "ladder": _ladder(data, movenet(data)),
        "coarse": _coarse(data),
        "fusion": fused.last_evidence_to_command(),
        "machine": machine(),
        "scenes": {
            "perimeter": fused.persons(data / PEOPLE, None),
            "perimeter_gated": fused.persons(data / PEOPLE, gate),
            "bedside": {**fused.fallen(data, None), "frame_to_decision": fused.step_ms(data)},
            "bedside_gated": fused.fallen(data, gate),
            "crossing": crossing.measure(data, None),
            "crossing_gated": crossing.measure(data, gate),
        },
    }


# -- gates ----------------------------------------------------------------------------------------------------------------


def gates(data: Path) -> dict[str, Any]:
    """Persons come and go: every frame inferred, and with gates. Frames late: from the first that shows a person to its find."""
    every = _found(data / PEOPLE, None)
    gated = _found(data / PEOPLE, GateConfig.model_validate(GATE))
    known = [bool(one) for one in _carried(gated)]
    begins = _appearances([bool(one) for one in every])
    late = [next((n for n in range(len(known) - begin) if known[begin + n]), None) for begin in begins]
    return {
        "clip": PEOPLE,
        "frames": len(every),
        "gate": GATE,
        "not_inferred_percent": round(100 * gated.count(None) / len(gated), 1),
        "appearances": len(begins),
        "latest_frames": max((-1 if one is None else one for one in late), default=None),
        "found": sum(one is not None for one in late),
        "same_answer_percent": round(100 * float(np.mean([bool(one) == two for one, two in zip(every, known)])), 2),
    }


def _found(clip: Path, gate: GateConfig | None) -> list[bool | None]:
    """Whether person-coarse finds somebody, of each frame; None where the gate held the frame back."""
    lane = _coarse_lane(clip, gate)
    return [None if lane.evidence is None else bool(lane.evidence) for _ in lane.play(Scene(Rules({}, {})))]


def _coarse_lane(clip: Path, gate: GateConfig | None = None) -> Lane:
    perception = Perception(package.open_package(package.find("person-coarse")), gate=gate)
    return offline_lane("yard", "camera.file", {"path": clip}, perception)


def _carried(said: Sequence[bool | None]) -> list[bool | None]:
    """What is known at each frame: the newest answer."""
    known: list[bool | None] = []
    for one in said:
        known.append(one if one is not None or not known else known[-1])
    return known


def _appearances(on: Sequence[bool]) -> list[int]:
    """First frames of all that lasts, after a while with nothing."""
    begins, since = [], APART
    for at, one in enumerate(on):
        if one and since >= APART and all(on[at : at + LASTING]):
            begins.append(at)
        since = 0 if one else since + 1
    return begins


# -- 1080p ----------------------------------------------------------------------------------------------------------------


def _full_hd(data: Path) -> dict[str, Any]:
    """Milliseconds of gate and preparation of one 1080p frame for a 192 x 192 model."""
    frames = [cv2.resize(frame, (1920, 1080)) for frame in _some_frames(data / PEOPLE, 60)]
    told: dict[str, Any] = {}
    for layout, pictures in (("bgr", frames), ("yuyv", [_yuyv(frame) for frame in frames])):
        told[layout] = _prepared_ms(layout, pictures)
    return told


def _prepared_ms(layout: str, pictures: Sequence[Array]) -> dict[str, float]:
    opened = package.open_package(package.find("person-coarse"))
    assert opened.manifest.picture
    pixels = Pixels(opened.manifest.picture, opened.engine.inputs[0], layout)
    # A gate that lets all through does all its work and all of the preparation's.
    gate = fit_gate(GateConfig.model_validate({**GATE, "idle_interval_ms": 1e-3}), pixels)
    taken = []
    for number in range(300):
        sample = Sample("yard", number, (number + 1) * 40_000_000, pictures[number % len(pictures)])
        before = time.perf_counter()
        gate(sample, opened.engine.input(0))
        taken.append((time.perf_counter() - before) * 1e3)
    p50, p99 = np.percentile(taken[20:], (50, 99))
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def _some_frames(clip: Path, count: int) -> list[Array]:
    """Spread over the clip."""
    source = open_source("camera.file", {"path": clip, "pace": "fast"}, "yard")
    source.open()
    frames = [sample.payload.copy() for sample in source.rest()]
    return [frames[int(at)] for at in np.linspace(0, len(frames) - 1, count)]


def _yuyv(frame: Array) -> Array:
    """As a camera packs it: Y of each pixel, U and V of each pair in turn."""
    colours = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV)
    packed = np.empty((*frame.shape[:2], 2), np.uint8)
    packed[..., 0] = colours[..., 0]
    packed[:, 0::2, 1], packed[:, 1::2, 1] = colours[:, 0::2, 1], colours[:, 0::2, 2]
    return packed


def _ladder(data: Path, pose: Package) -> dict[str, Any]:
    """A 1080p camera before a pose network. yuyv: recoloured whole and then resized, against the lane's way, which resizes first,
    with `shrink: auto`. mjpg: decoded whole, against the driver's `reduce: 4`; with colours 4:2:2, as USB cameras must send it
    (USB Device Class Definition for Video Devices, MJPEG Payload 1.5), and 4:2:0, as network cameras do.

    The clip is 720p: made larger, as no recording of 1080p is at hand. Keypoints: distance in pictures from those of the full
    size, of points that the full size sees.
    """
    frames = [cv2.resize(one, (1920, 1080), interpolation=cv2.INTER_CUBIC) for one in _some_frames(data / STANDING, 48)]
    packed = [_yuyv(one) for one in frames]
    assert pose.manifest.picture
    ways: dict[str, list[Callable[[int], Array]]] = {
        "yuyv": [lambda at: cv2.cvtColor(packed[at], cv2.COLOR_YUV2BGR_YUYV), lambda at: packed[at]],
        "mjpg_422": _jpegs(frames, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
        "mjpg_420": _jpegs(frames, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    }
    told: dict[str, Any] = {}
    for name, (full, less) in ways.items():
        layouts = ("bgr", "yuyv" if name == "yuyv" else "bgr")
        before = [Pixels(pose.manifest.picture, pose.engine.inputs[0], layout, None, None) for layout in layouts]
        (slow, points), (fast, others) = (
            _looked(pose, one, way, len(frames)) for one, way in zip(before, (full, less))
        )
        far = np.abs(others - points)[..., :2].max(axis=-1)[points[..., 2] > 0.3]
        told[name] = {
            "shrink": before[1].shrink,
            "full_ms": slow,
            "ladder_ms": fast,
            "saved_percent": round(100 * (1 - fast / slow), 1),
            "keypoints_mean": round(float(far.mean()), 4),
            "keypoints_within_0.03_percent": round(100 * float((far <= 0.03).mean()), 1),
        }
    return told


def _jpegs(frames: Sequence[Array], colours: int) -> list[Callable[[int], Array]]:
    """Decoding them whole, and reduced."""
    told = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, colours]
    files = [cv2.imencode(".jpg", one, told)[1] for one in frames]
    return [partial(_decoded, files, flag) for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_4)]


def _decoded(files: Sequence[Array], flag: int, at: int) -> Array:
    return np.asarray(cv2.imdecode(files[at], flag))


def _looked(pose: Package, pixels: Pixels, frame: Callable[[int], Array], count: int) -> tuple[float, Array]:
    """Median milliseconds from the camera's bytes to the model's input, and keypoints [count, 17, 3]."""
    taken, points = [], []
    for at in range(count):
        before = time.perf_counter()
        pixels(frame(at), pose.engine.input(0))
        taken.append((time.perf_counter() - before) * 1e3)
        pose.engine.invoke()
        pose.findings()
        points.append(np.array(pose.decoder.keypoints))
    return round(float(np.median(taken[PROBED:])), 3), np.stack(points)


# -- what leaves the box ----------------------------------------------------------------------------------------------------


def _coarse(data: Path) -> dict[str, Any]:
    """Bytes of evidence that a coarse lane has for a frame, as the recorder packs it, against the frame's own."""
    lane = _coarse_lane(data / PEOPLE)
    sizes, frame = [], 0
    for sample, _ in lane.play(Scene(Rules({}, {}))):
        sizes.append(len(msgpack.packb([(one.label, one.score, one.box) for one in lane.evidence or ()])))
        frame = sample.payload.nbytes
    return {
        "frame_bytes": frame,
        "evidence_bytes_mean": round(float(np.mean(sizes)), 1),
        "evidence_bytes_max": max(sizes),
    }


# -- text -------------------------------------------------------------------------------------------------------------------


def text(result: dict[str, Any]) -> str:
    gated, told, hd, scenes = result["gates"], result["coarse"], result["full_hd"], result["scenes"]
    ways = (("every frame", ""), ("gated", "_gated"))
    return "\n".join(
        [
            f"{gated['clip']}: {gated['frames']} frames, {gated['not_inferred_percent']} % not inferred;"
            f" {gated['found']} of {gated['appearances']} appearances found, at the latest {gated['latest_frames']} frames after"
            f" inference on every frame; the same answer at {gated['same_answer_percent']} % of frames",
            *(
                f"1080p {layout}: gate and preparation p50 {ms['p50_ms']} ms, p99 {ms['p99_ms']} ms"
                for layout, ms in hd.items()
            ),
            *(
                f"1080p {name} to a pose network, ladder: {one['full_ms']} -> {one['ladder_ms']} ms ({one['saved_percent']} % saved),"
                f" keypoints {one['keypoints_mean']} of the picture off, {one['keypoints_within_0.03_percent']} % within 0.03"
                for name, one in result["ladder"].items()
            ),
            f"coarse lane: {told['frame_bytes']} bytes in, {told['evidence_bytes_mean']} out (at most {told['evidence_bytes_max']})",
            *(
                f"bedside, {name}: {one['frames_looked_at']} frames looked at, {one['falls_in_time']} of {one['falls']} falls in 2 s"
                f" (the last {one['latest_s']} s), daily clips disturbed: {one['daily_clips_with_false_alarm']}"
                for name, one in ((name, scenes[f"bedside{tail}"]) for name, tail in ways)
            ),
            f"bedside, frame to decision: {_quantiles(scenes['bedside']['frame_to_decision'])}",
            f"fusion of {result['fusion']['lanes']} lanes, last evidence to command: {_quantiles(result['fusion'])}"
            f" ({result['fusion']['decisions']} decisions)",
            *(
                f"perimeter, {name}: {one['frames_looked_at_percent']} % of frames looked at, {one['persons_found']} persons found,"
                f" precision {one['precision']}, recall {one['recall']}"
                for name, one in ((name, scenes[f"perimeter{tail}"]) for name, tail in ways)
            ),
            *(
                f"crossing, {name}: {one['frames_looked_at_percent']} % of frames looked at, {one['cars']} cars in"
                f" {one['labelled_frames']} labelled frames: precision {one['precision']}, recall {one['recall']}; in"
                f" {one['frames_counted_right_percent']} % of all frames the count is right"
                for name, one in ((name, scenes[f"crossing{tail}"]) for name, tail in ways)
            ),
            result["machine"],
        ]
    )


def _quantiles(told: dict[str, Any]) -> str:
    return ", ".join(f"{key.removesuffix('_ms')} {value} ms" for key, value in told.items() if key.endswith("_ms"))
