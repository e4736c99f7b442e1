"""Windows of simulated recordings, cut by the same functions as at run time."""

from __future__ import annotations

from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from agent.benches.falls import LABELS, LYING
from agent.data import Array
from agent.vision.poses import CHANNELS, features, interpolate
from models.train.pose_fall.activities import random_motion
from models.train.pose_fall.body import SWAPPED
from models.train.pose_fall.camera import MIN_SCORE, PoseRecording, render
from models.train.pose_fall.figure import NO_LABEL, UNCLEAR

LENGTH, EVERY_S = 24, 0.1  # the fall to the ground and a moment before it
# Each seed is another motion and camera; even ones fall. Those of the test were drawn after the recipe was fixed.
TRAIN, VALIDATE, TEST = range(8_000), range(800_000, 800_400), range(1_700_000, 1_701_000)


def windows(recording: PoseRecording, rows: Array) -> Array:
    """float32 [n, LENGTH, CHANNELS]: the input of the network at these rows of a recording."""
    offsets = np.arange(1 - LENGTH, 1) * EVERY_S
    cut = [_window(recording, row, recording.times[row] + offsets) for row in rows]
    return np.stack(cut) if cut else np.zeros((0, LENGTH, CHANNELS), np.float32)


def _window(recording: PoseRecording, row: int, times: Array) -> Array:
    """The window of row `row`, from what is known by then."""
    points = interpolate(recording.times[: row + 1], recording.points[: row + 1], times)
    return features(points, recording.aspect, MIN_SCORE)


def simulate(seed: int) -> PoseRecording:
    return render(random_motion(seed, falls=seed % 2 == 0), seed)


def _example(seed: int) -> tuple[Array, Array]:
    """Windows and labels of some frames of one recording, most of them near its fall; its beginning may be cut off."""
    random, recording = np.random.default_rng(seed + 7_000_000_000), simulate(seed)
    if np.isnan(recording.onset) and random.random() < 0.15:
        recording = _with_second_person(recording, random)
    times, points, labels, onset, _ = recording
    rate = len(times) / max(times[-1], 0.1)
    first = random.integers(0, max(1, len(times) // 2)) if random.random() < 0.5 else 0
    if np.isfinite(onset):
        first = min(first, max(0, int(np.searchsorted(times, onset) - random.uniform(0.1, 2) * rate)))
    recording = recording._replace(times=times[first:], points=points[first:], labels=labels[first:])
    near = np.abs(recording.times - onset - 0.8) < 1.6  # false for NaN
    wanted = random.random(len(recording.times)) < np.where(near, 0.35, 0.12) * min(1.0, 15 / rate)
    rows = np.flatnonzero(wanted & (recording.labels != UNCLEAR))
    return windows(recording, rows).astype(np.float16), recording.labels[rows].astype(np.int8)


def _with_second_person(recording: PoseRecording, random: np.random.Generator) -> PoseRecording:
    """MoveNet tracks one person; with two in the picture it jumps from one to the other."""
    other = simulate(int(random.integers(10**8, 10**9)) * 2 + 1)
    half, rate = len(recording.times) // 2, len(recording.times) / max(recording.times[-1], 0.1)
    times = np.concatenate([recording.times[:half], recording.times[half] + other.times + 1 / rate])
    points = np.concatenate([recording.points[:half], other.points])
    labels = np.concatenate([recording.labels[:half], other.labels])
    return PoseRecording(times, points, labels, np.nan, recording.aspect)


def examples(seeds: range, processes: int = 2) -> tuple[Array, Array]:
    """float32 [n, LENGTH, CHANNELS] and labels int8 [n]; the same whatever the number of processes."""
    with get_context("spawn").Pool(processes) as pool:
        parts = list(tqdm(pool.imap(_example, seeds, 32), "simulate", len(seeds), mininterval=2))
    inputs, labels = (np.concatenate(arrays) for arrays in zip(*parts))
    return inputs.astype(np.float32), labels


def targets(labels: Array) -> Array:
    """float32 [n, labels]: 1 for the label, or for NO_LABEL equal shares of all except falling; smoothed for INT8."""
    wanted = np.eye(len(LABELS), dtype=np.float32)[np.maximum(labels, 0)]
    wanted[labels == NO_LABEL] = np.array([1, 1, 1, 1, 0], np.float32) / (LYING + 1)
    return np.asarray(wanted * 0.96 + 0.04 / len(LABELS), np.float32)


def mirrored(inputs: Array) -> Array:
    """The same windows in a mirror."""
    points = inputs.reshape(-1, LENGTH, 17, 3)[:, :, SWAPPED] * np.array([-1, 1, 1], np.float32)
    return np.asarray(points.reshape(-1, LENGTH, CHANNELS))
