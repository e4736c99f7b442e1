"""`reflexd web`: the live view without a daemon that starts it."""

from __future__ import annotations

import os
from pathlib import Path

from agent.box import held_signals
from agent.isolated import python


def run(path: Path, host: str | None, port: int | None) -> int:
    """path: of the configuration. Becomes the live view's process, which imports less than this one has."""
    held_signals.release()
    given = [*(["--host", host] if host else []), *(["--port", str(port)] if port else [])]
    command = python("agent.web.server", str(path.resolve()), *given)
    os.execv(command[0], command)
