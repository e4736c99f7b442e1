"""Where the real recordings lie, and what to report when they are missing."""

from __future__ import annotations

from pathlib import Path

from agent.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"  # beside the project; not part of it
LABELS = ROOT / "tests/data/objects/labels.json"


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
