"""How well the package predicts stops in a log with the layout of ur3_cobotops.csv; if not shipped, the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import PackageError
from agent.packages.package import open_package
from models.train.data import DataError
from models.train.network import Network
from models.train.robot_stop import score
from models.train.robot_stop.recording import CHANNELS, HORIZON, LENGTH, TARGETS, ahead, read, usable, windows


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of the package. Raises DataError."""
    if not (folder / "manifest.yaml").is_file():
        raise DataError(
            f"{folder.name}: no package is shipped, so there is nothing to evaluate: its predictions are "
            f"not useful (rule and figures: {folder / 'CARD.md'}; again: `python -m models.train {folder.name}`)"
        )
    try:
        manifest = open_package(folder).manifest
    except PackageError as error:
        raise DataError(str(error)) from error
    recording = read(data)
    rows = np.flatnonzero(usable(recording))
    if not len(rows):
        raise DataError(f"{data}: no row has {LENGTH} s before and {HORIZON} s after it without a pause or a stop")
    assert manifest.window
    columns = [CHANNELS.index(name) for name in manifest.window.channels]
    readings = (recording.readings[:, columns] - manifest.window.mean) / manifest.window.std
    scores = Network((folder / manifest.file).read_bytes())(windows(readings.astype(np.float32), rows))[:, 1]
    truth = ahead(recording.trouble(TARGETS[0]))[rows]
    return {
        "package": folder.name,
        "seen": "the first 70 % of ur3_cobotops.csv, if this is that file",
        "unseen": {"rows": len(rows), "before an incident": int(truth.sum()), **score.figures(rows, truth, scores)},
    }
