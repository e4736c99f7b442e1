"""What the drift monitor found, in a file of run_dir for `status`, `doctor`, metrics and `reflexd drift`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from agent.box import files, private
from agent.box.files import BadFile

NAME = "drift.json"
GROUP = 0o040  # as of a ledger: `reflexd status` of the box's group reads it
STALE_S = 60.0  # written every few seconds
MAX_BYTES = 8_000_000
GOLDEN_FIX = "reflexd model verify; copy the package again; another memory or disk where it comes back"


def write(run_dir: Path, lanes: dict[str, Any]) -> None:
    """lanes: of each its report (agent/drift/report.py). Raises OSError."""
    content = json.dumps({"written": time.time(), "lanes": lanes}, allow_nan=False).encode()
    private.write(run_dir / NAME, content, durable=False, mode=private.FILE | GROUP)


def read(run_dir: Path, now: float | None = None) -> dict[str, Any]:
    """Of each lane its report; empty where no monitor runs here. now: seconds since 1970."""
    try:
        with files.open_regular(run_dir / NAME, MAX_BYTES) as file:
            content = json.loads(file.read())
        lanes = content["lanes"]
        age = (time.time() if now is None else now) - float(content["written"])
    except (BadFile, OSError, ValueError, LookupError, TypeError):
        return {}
    return dict(lanes) if isinstance(lanes, dict) and abs(age) < STALE_S else {}
