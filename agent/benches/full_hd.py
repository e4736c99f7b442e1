"""1080p frames before a small model: milliseconds of gate and preparation; what reduced decoding saves and costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.benches import perimeter
from agent.benches.gating import GATE
from agent.data import Array, Sample
from agent.gates.config import GateConfig
from agent.gates.make import make_gate
from agent.packages import package
from agent.packages.package import Package
from agent.prepare.pixels import Pixels
from agent.prepare.shrink import PROBE_FRAMES
from drivers.base import open_source
from drivers.camera.v4l2 import REDUCED, fitting_reduction

STANDING = "video-fall-gmdcsa24/S1-ADL-16.mp4"
SIZE = (1920, 1080)
WARM_FRAMES = 20
MIN_SCORE, NEAR = 0.3, 0.03  # of a keypoint; its distance, in shares of the frame


def gate_and_preparation(data: Path, short: bool = False) -> dict[str, Any]:
    """Milliseconds of one 1080p frame for a 192 x 192 model, by pixel layout."""
    frames = [cv2.resize(frame, SIZE) for frame in _frames(data / perimeter.CLIP, 60)]
    packed = [_yuyv(frame) for frame in frames]
    repeats = 120 if short else 300
    return {layout: _prepared_ms(layout, pixels, repeats) for layout, pixels in (("bgr", frames), ("yuyv", packed))}


def _prepared_ms(layout: str, frames: Sequence[Array], repeats: int) -> dict[str, float]:
    opened = package.open_package(package.find("person-coarse"))
    assert opened.manifest.picture
    pixels = Pixels(opened.manifest.picture, opened.engine.inputs[0], layout)
    # A gate that passes every frame does all its work and all of the preparation's.
    gate = make_gate(GateConfig.model_validate({**GATE, "idle_interval_ms": 1e-3}), pixels)
    ms = []
    for number in range(repeats):
        sample = Sample("yard", number, (number + 1) * 40_000_000, frames[number % len(frames)])
        before = time.perf_counter()
        gate(sample, opened.engine.input(0))
        ms.append((time.perf_counter() - before) * 1e3)
    p50, p99 = np.percentile(ms[WARM_FRAMES:], (50, 99))
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def _frames(clip: Path, count: int) -> list[Array]:
    """Spread over the clip."""
    source = open_source("camera.file", {"path": clip, "pace": "fast"}, "yard")
    source.open()
    frames = [sample.payload.copy() for sample in source.remaining_samples()]
    return [frames[int(number)] for number in np.linspace(0, len(frames) - 1, count)]


def _yuyv(frame: Array) -> Array:
    """As a camera packs it: Y of each pixel, U and V of each pair in turn."""
    colours = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV)
    packed = np.empty((*frame.shape[:2], 2), np.uint8)
    packed[..., 0] = colours[..., 0]
    packed[:, 0::2, 1], packed[:, 1::2, 1] = colours[:, 0::2, 1], colours[:, 0::2, 2]
    return packed


def reduced(data: Path, pose: Package, short: bool = False) -> dict[str, Any]:
    """A 1080p camera before a pose network, by pixel format.

    yuyv: the whole frame converted to BGR and then resized, against the lane's way: resized first (`shrink: auto`).
    mjpg: the whole frame decoded, against the driver's `reduce: auto`; with colours 4:2:2, as USB cameras must send it
    (USB Device Class Definition for Video Devices, MJPEG Payload 1.5), and 4:2:0, as network cameras do.

    The clip is 720p made larger, as there is no recording of 1080p. Keypoints: their distance, in shares of the
    frame, from those of the whole frame with a score above MIN_SCORE.
    """
    clip = _frames(data / STANDING, 24 if short else 48)
    frames = [cv2.resize(frame, SIZE, interpolation=cv2.INTER_CUBIC) for frame in clip]
    packed = [_yuyv(frame) for frame in frames]
    compare = partial(_compare, pose, count=len(frames))
    return {
        "yuyv": compare(lambda n: cv2.cvtColor(packed[n], cv2.COLOR_YUV2BGR_YUYV), lambda n: packed[n], "yuyv"),
        "mjpg_422": compare(*_decoders(frames, pose, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422)),
        "mjpg_420": compare(*_decoders(frames, pose, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)),
    }


def _decoders(
    frames: Sequence[Array], pose: Package, sampling: int
) -> tuple[Callable[[int], Array], Callable[[int], Array]]:
    """Functions from a frame's number to pixels: decoded whole, and reduced."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    files = [cv2.imencode(".jpg", frame, options)[1] for frame in frames]
    flag = REDUCED[fitting_reduction(*SIZE, pose.picture_size)]
    return partial(_decoded, files, cv2.IMREAD_COLOR), partial(_decoded, files, flag)


def _decoded(files: Sequence[Array], flag: int, number: int) -> Array:
    return np.asarray(cv2.imdecode(files[number], flag))


def _compare(
    pose: Package, whole: Callable[[int], Array], reduced: Callable[[int], Array], layout: str = "bgr", *, count: int
) -> dict[str, Any]:
    """layout: of `reduced`; `whole` is BGR."""
    assert pose.manifest.picture
    tensor = pose.engine.inputs[0]
    before, after = (Pixels(pose.manifest.picture, tensor, each, None, None) for each in ("bgr", layout))
    whole_ms, expected = _run(pose, before, whole, count)
    reduced_ms, keypoints = _run(pose, after, reduced, count)
    distances = np.abs(keypoints - expected)[..., :2].max(axis=-1)[expected[..., 2] > MIN_SCORE]
    return {
        "shrink": after.shrink,
        "full_ms": whole_ms,
        "reduced_ms": reduced_ms,
        "saved_percent": round(100 * (1 - reduced_ms / whole_ms), 1),
        "keypoints_mean": round(float(distances.mean()), 4),
        f"keypoints_within_{NEAR}_percent": round(100 * float((distances <= NEAR).mean()), 1),
    }


def _run(pose: Package, pixels: Pixels, frame: Callable[[int], Array], count: int) -> tuple[float, Array]:
    """Median milliseconds from the camera's bytes to the model's input, and keypoints [count, 17, 3]."""
    ms, points = [], []
    for number in range(count):
        before = time.perf_counter()
        pixels(frame(number), pose.engine.input(0))
        ms.append((time.perf_counter() - before) * 1e3)
        pose.engine.invoke()
        pose.findings()
        points.append(np.array(pose.decoder.keypoints))
    return round(float(np.median(ms[PROBE_FRAMES:])), 3), np.stack(points)
