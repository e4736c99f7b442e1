"""Where training data lies, and what to say when it does not."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"  # beside the project; not part of it


class DataError(Exception):
    """The data is not there or not laid out as it must be; the text says which file and what to do."""


def find(data: Path, name: str, *needed: str) -> Path:
    """The folder of the set `name`: below `data`, or `data` itself. needed: patterns of which each must match a file in it.

    Raises DataError.
    """
    folder = data / name if (data / name).is_dir() else data
    missing = [pattern for pattern in needed if not any(folder.glob(pattern))]
    if not folder.is_dir() or missing:
        raise DataError(
            f"{folder}: no {missing[0] if missing else 'such folder'}: expected a set laid out like '{name}'"
        )
    return folder
