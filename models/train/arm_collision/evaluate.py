"""How well the package names windows of files laid out like lp1.data.txt: those it was trained on, others, file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.errors import PackageError
from agent.package import open_package
from models.train.arm_collision import score
from models.train.arm_collision.windows import CHANNELS, Windows, distinct, load, marks
from models.train.data import DataError
from models.train.network import Network

NOTE = "windows that are in the training set; the figures for unseen ones are the folds', in CARD.md"


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of the package in `folder`. Repeated windows count once, except in `files`. Raises DataError."""
    try:
        package = open_package(folder)
        known = np.load(folder / "known.npz")["crc32"]
    except (PackageError, OSError) as error:
        raise DataError(str(error)) from error
    every = load(data)
    once = distinct(every)
    said = _guesses(folder / package.manifest.file, package.manifest.window, every)
    by_mark = dict(zip(marks(every).tolist(), said.tolist()))
    guess = np.array([by_mark[mark] for mark in marks(once).tolist()])
    seen = np.isin(marks(once), known)
    return {
        "package": folder.name,
        "windows": len(every.labels),
        "distinct": len(once.labels),
        "seen": {"what": NOTE, **_figures(once.labels[seen], guess[seen])},
        "unseen": _figures(once.labels[~seen], guess[~seen]),
        "all": score.told(once.labels, guess),
        "files": {
            f"lp{number}": score.told(every.labels[every.files == number], said[every.files == number])
            for number in np.unique(every.files).tolist()
        },
    }


def _figures(truth: Array, guess: Array) -> dict[str, Any]:
    return score.told(truth, guess) if len(truth) else {"windows": 0}


def _guesses(file: Path, window: Any, windows: Windows) -> Array:
    """int [n], prepared as the manifest says."""
    columns = [CHANNELS.index(name) for name in window.channels]
    readings = (windows.readings[:, :, columns] - np.array(window.mean)) / np.array(window.std)
    return np.asarray(Network(file.read_bytes())(readings.astype(np.float32)).argmax(axis=1))
