"""Accuracy of the package on files with the layout of lp1.data.txt: training windows, other windows, each file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.errors import PackageError
from agent.packages.package import open_package
from models.train.arm_collision import score
from models.train.arm_collision.windows import CHANNELS, Windows, checksums, distinct, load
from models.train.data import DataError
from models.train.network import Network

NOTE = "windows of the training set; CARD.md has the figures for unseen windows, from the folds"


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of the package in `folder`. Repeated windows count once, except in `files`. Raises DataError."""
    try:
        package = open_package(folder)
        known = np.load(folder / "known.npz")["crc32"]
    except (PackageError, OSError) as error:
        raise DataError(str(error)) from error
    every = load(data)
    once = distinct(every)
    predicted = _predict(folder / package.manifest.file, package.manifest.window, every)
    by_checksum = dict(zip(checksums(every).tolist(), predicted.tolist()))
    predicted_once = np.array([by_checksum[checksum] for checksum in checksums(once).tolist()])
    trained_on = np.isin(checksums(once), known)
    return {
        "package": folder.name,
        "windows": len(every.labels),
        "distinct": len(once.labels),
        "seen": {"what": NOTE, **_figures(once.labels[trained_on], predicted_once[trained_on])},
        "unseen": _figures(once.labels[~trained_on], predicted_once[~trained_on]),
        "all": score.figures(once.labels, predicted_once),
        "files": {
            f"lp{number}": score.figures(every.labels[every.files == number], predicted[every.files == number])
            for number in np.unique(every.files).tolist()
        },
    }


def _figures(truth: Array, predicted: Array) -> dict[str, Any]:
    return score.figures(truth, predicted) if len(truth) else {"windows": 0}


def _predict(file: Path, window: Any, windows: Windows) -> Array:
    """Labels int [n] of windows that are prepared as in the manifest."""
    columns = [CHANNELS.index(name) for name in window.channels]
    readings = (windows.readings[:, :, columns] - np.array(window.mean)) / np.array(window.std)
    return np.asarray(Network(file.read_bytes())(readings.astype(np.float32)).argmax(axis=1))
