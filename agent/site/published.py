"""What the site's link knows, in a file of run_dir for `reflexd site`, `doctor` and metrics."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from agent.box import files, private
from agent.box.files import BadFile

NAME = "site.json"
GROUP = 0o040  # as of a ledger: `reflexd site` of the box's group reads it
STALE_S = 15.0  # written every second
MAX_BYTES = 1_000_000
THERE, GONE, ABSENT = "there", "gone", "absent"  # absent: not seen since the link started


def write(run_dir: Path, content: dict[str, Any]) -> None:
    """Raises OSError."""
    raw = json.dumps({**content, "written": time.monotonic()}, allow_nan=False).encode()
    private.write(run_dir / NAME, raw, durable=False, mode=private.FILE | GROUP)


def read(run_dir: Path, now: float | None = None) -> dict[str, Any]:
    """Of this box and of each other one what the link knows; empty where none runs here. now: s, monotonic."""
    try:
        with files.open_regular(run_dir / NAME, MAX_BYTES) as file:
            content = json.loads(file.read())
        age = (time.monotonic() if now is None else now) - float(content["written"])
    except (BadFile, OSError, ValueError, LookupError, TypeError):
        return {}
    return content if isinstance(content, dict) and 0 <= age < STALE_S else {}
