"""A package's golden outputs in a process of their own: an engine may end the process that loads a bad model."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from agent.isolated import python
from agent.update.fetching import refusal
from agent.update.fetching.refusal import Refused

LIMIT_S = 120.0


def trial(folder: Path) -> str:
    """What is wrong with it, empty for nothing. Raises Refused where this box could not try it now."""
    command = python("agent", "model", "verify", str(folder), "--json")
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"golden outputs not computed within {LIMIT_S:g} s"
    if ended.returncode == -signal.SIGKILL:
        text = f"{folder.name}: memory ran out while its golden outputs were computed: it is tried again later"
        raise Refused(refusal.GOLDEN, text)
    answer = _last_line(ended.stdout)
    if answer.get("ok") is True:
        return ""
    mistakes = answer.get("mistakes")
    if isinstance(mistakes, list) and mistakes:
        return str(mistakes[0])
    return f"an engine ended the process that loaded it ({_end(ended)})"


def _last_line(output: str) -> dict[str, Any]:
    """Engines print, too."""
    try:
        answer = json.loads((output.splitlines() or [""])[-1])
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _end(ended: subprocess.CompletedProcess[str]) -> str:
    if ended.returncode < 0:
        return f"signal {-ended.returncode}"
    return (ended.stderr.splitlines() or [f"exit code {ended.returncode}"])[-1][:200]
