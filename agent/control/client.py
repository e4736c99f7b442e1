"""The client of the control socket: one line of JSON each way. Without asyncio, so that `reflexd status` is quick."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

NAME = "control.sock"
Answer = dict[str, Any]


def ask(run_dir: Path, request: Answer, timeout_s: float = 1.0) -> Answer | None:
    """The running daemon's answer; None where none comes in time."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(run_dir / NAME))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline())
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
