"""Folders of labelled recordings and clips for the tests of training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def recording(path: Path, level: float, rows: int = 60, names: tuple[str, ...] = ("x", "y"), seed: int = 1000) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(level, 0.3, (rows, len(names)))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, values, "%.4f", ",", header=",".join(names), comments="")


def write_levels(folder: Path) -> Path:
    """Six recordings of each of two labels that any network tells apart."""
    for number in range(6):
        recording(folder / f"low/{number}.csv", -1.0, seed=number)
        recording(folder / f"high/{number}.csv", 1.0, seed=100 + number)
    return folder


def film(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for frame in frames:
        writer.write(frame)
    writer.release()


def timed(path: Path, values: np.ndarray, rate_hz: float, first_s: float = 0.0) -> Path:
    """A recording with a column t_s. values: [n, channels], named x, y, z."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = first_s + np.arange(len(values)) / rate_hz
    header = ",".join(["t_s", *"xyz"[: values.shape[1]]])
    np.savetxt(path, np.column_stack([seconds, values]), "%.5f", ",", header=header, comments="")
    return path


def write_falls(folder: Path, people: int = 6, rate_hz: float = 100.0) -> Path:
    """Two walks of each person, 4 s of two channels; in each a fall from 2 s to 3 s, which any network tells apart."""
    for person in range(people):
        for run in range(2):
            random = np.random.default_rng(10 * person + run)
            values = random.normal(-1.0, 0.2, (round(4 * rate_hz), 2))
            values[round(2 * rate_hz) : round(3 * rate_hz)] += 2.0
            path = timed(folder / f"walk/p{person}-{run}.csv", values, rate_hz)
            path.with_suffix(".events.csv").write_text("start_s,end_s,label\n2.0,3.0,fall\n")
    return folder
