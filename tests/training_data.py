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
