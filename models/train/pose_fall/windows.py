"""Recordings, simulated or real, cut into the windows that the network reads, by the function that cuts them at run time."""

from __future__ import annotations

from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from agent.benches.falls import LABELS, LYING
from agent.data import Array
from agent.vision.poses import CHANNELS, features, interpolate
from models.train.pose_fall.acts import draw
from models.train.pose_fall.body import SWAPPED
from models.train.pose_fall.story import NEITHER, UNCLEAR
from models.train.pose_fall.view import SEEN, Seen, watch

LENGTH, EVERY_S = 24, 0.1  # the way to the ground and a moment before it
# Each seed is a life and a camera of its own; even ones fall. The test's were drawn after the last change of the recipe.
TRAIN, VALIDATE, TEST = range(8_000), range(800_000, 800_400), range(1_700_000, 1_701_000)


def windows(seen: Seen, rows: Array) -> Array:
    """float32 [n, LENGTH, CHANNELS]: what the network would read at these rows of a recording."""
    offsets = np.arange(1 - LENGTH, 1) * EVERY_S
    cut = [
        features(interpolate(seen.times[: row + 1], seen.points[: row + 1], seen.times[row] + offsets), seen.aspect, SEEN)
        for row in rows
    ]
    return np.stack(cut) if cut else np.zeros((0, LENGTH, CHANNELS), np.float32)


def record(seed: int) -> Seen:
    return watch(draw(seed, falls=seed % 2 == 0), seed)


def _example(seed: int) -> tuple[Array, Array]:
    """Windows and labels of some moments of one recording, most of them near its fall. It may begin anywhere."""
    random, seen = np.random.default_rng(seed + 7_000_000_000), record(seed)
    seen = _joined(seen, random) if np.isnan(seen.onset) and random.random() < 0.15 else seen
    rate = len(seen.times) / max(seen.times[-1], 0.1)
    first = random.integers(0, max(1, len(seen.times) // 2)) if random.random() < 0.5 else 0
    if np.isfinite(seen.onset):
        first = min(first, max(0, int(np.searchsorted(seen.times, seen.onset) - random.uniform(0.1, 2) * rate)))
    seen = Seen(seen.times[first:], seen.points[first:], seen.labels[first:], seen.onset, seen.aspect)
    near = np.abs(seen.times - seen.onset - 0.8) < 1.6  # NaN is not
    wanted = random.random(len(seen.times)) < np.where(near, 0.35, 0.12) * min(1.0, 15 / rate)
    rows = np.flatnonzero(wanted & (seen.labels != UNCLEAR))
    return windows(seen, rows).astype(np.float16), seen.labels[rows].astype(np.int8)


def _joined(seen: Seen, random: np.random.Generator) -> Seen:
    """MoveNet follows one person; with two in the picture it jumps from one to the other."""
    other = record(int(random.integers(10**8, 10**9)) * 2 + 1)
    half, rate = len(seen.times) // 2, len(seen.times) / max(seen.times[-1], 0.1)
    times = np.concatenate([seen.times[:half], seen.times[half] + other.times + 1 / rate])
    points, labels = (
        np.concatenate([seen.points[:half], other.points]),
        np.concatenate([seen.labels[:half], other.labels]),
    )
    return Seen(times, points, labels, np.nan, seen.aspect)


def examples(seeds: range, processes: int = 2) -> tuple[Array, Array]:
    """float32 [n, LENGTH, CHANNELS] and labels int8 [n]; the same whatever the number of processes."""
    with get_context("spawn").Pool(processes) as pool:
        parts = list(tqdm(pool.imap(_example, seeds, 32), "simulate", len(seeds), mininterval=2))
    inputs, labels = (np.concatenate(each) for each in zip(*parts))
    return inputs.astype(np.float32), labels


def targets(labels: Array) -> Array:
    """float32 [n, labels]: one, or for NEITHER an equal share of all but falling; smoothed, which INT8 likes."""
    wanted = np.eye(len(LABELS), dtype=np.float32)[np.maximum(labels, 0)]
    wanted[labels == NEITHER] = np.array([1, 1, 1, 1, 0], np.float32) / (LYING + 1)
    return np.asarray(wanted * 0.96 + 0.04 / len(LABELS), np.float32)


def mirrored(inputs: Array) -> Array:
    """The same seen in a mirror."""
    points = inputs.reshape(-1, LENGTH, 17, 3)[:, :, SWAPPED] * np.array([-1, 1, 1], np.float32)
    return np.asarray(points.reshape(-1, LENGTH, CHANNELS))
