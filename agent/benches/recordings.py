"""Where the real recordings and public models lie, and what to report when they are missing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from agent.errors import DataError
from agent.modeltools.init import Request, make_manifest
from agent.packages import package
from agent.packages.package import Package

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"  # beside the project; not part of it
MOVENET = "models-public/movenet_single_pose_lightning_ptq.tflite"


def find_set(data: Path, name: str, *patterns: str) -> Path:
    """The folder of the set `name`: below `data`, or `data` itself. patterns: each must match a file in it.

    Raises DataError.
    """
    folder = data / name if (data / name).is_dir() else data
    missing = [pattern for pattern in patterns if not any(folder.glob(pattern))]
    if not folder.is_dir() or missing:
        raise DataError(
            f"{folder}: no {missing[0] if missing else 'such folder'}: expected a set laid out like '{name}'"
        )
    return folder


def movenet(data: Path) -> Package:
    """The public pose network as a package; models-public is in `data`, beside it or in SHARED. Raises DataError."""
    candidates = [folder / MOVENET for folder in (data, data.parent, SHARED)]
    file = next((path for path in candidates if path.is_file()), None)
    if not file:
        raise DataError(f"{candidates[0]}: no such file: poses are read from the video by MoveNet")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "movenet"
        folder.mkdir()
        shutil.copy(file, folder)
        text = make_manifest(file, Request("movenet")).text.replace("fit: stretch", "fit: letterbox")
        (folder / "manifest.yaml").write_text(text)
        return package.open_package(folder)
