"""The recorder of sealed clips is killed at random moments: is any picture on the disk that everybody can see?"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from agent import keys
from agent.benches.attacks._recorded import ARM, DEVIATION, configuration, running
from agent.benches.attacks.outcome import Outcome
from agent.benches.programs import CAMERA_MODEL
from agent.box import private
from agent.recorder import seal
from agent.recorder.recording import RecordingError, read

NAME = "private_pictures"
LIVES_S = 3.0
CAMERA = {
    "source": {"driver": "camera.sim", "width": 160, "height": 120, "fps": 20, "timeout_ms": 2000},
    "model": CAMERA_MODEL,
}


def measure(times: int) -> Outcome:
    """A failure: a plain picture, an open file; or that no sealed clip with pictures was made at all."""
    random = np.random.default_rng(1)
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reflexd-private-") as name:
        folder = Path(name)
        public, secret = keys.make(folder / "keys", "owner")
        lanes = {"it": ARM, "camera": CAMERA}  # a clip each second, and what must not be seen
        with running(folder, configuration(folder, lanes, _recorder(public), {"any": [DEVIATION]})) as box:
            for _ in range(times):
                pid = box.wait_for_recorder()
                time.sleep(float(random.uniform(0, LIVES_S)))
                os.kill(pid, signal.SIGKILL)
                failures += _exposed(box.folder / "state")
                box.wait_for_recorder(other_than=pid)
            time.sleep(LIVES_S)
            alive = box.daemon.poll() is None
        failures += _exposed(folder / "state")
        if not any(_has_pictures(path, secret) for path in box.files("events")):
            failures.append("no sealed clip has a picture")
    return Outcome(NAME, times, int(not alive), 0, (), 0.0, failures)


def _recorder(public: Path) -> dict[str, Any]:
    events = {"rules": ["hit"], "before_s": 0.3, "after_s": 0.3, "files": 20, "seal": str(public)}
    return {"pictures": "clips", "file_mb": 0.3, "files": 1000, "events": events}


def _exposed(state: Path) -> Iterator[str]:
    """A line for each file that others may read, or that holds a plain picture."""
    for path in state.rglob("*"):
        try:
            mode, content = path.stat().st_mode, path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue  # the recorder deleted it meanwhile
        if mode & private.OTHERS:
            yield f"{path.name}: mode {mode & 0o777:o}"
        if "events" in path.parts and path.is_file() and content and not seal.MAGIC.startswith(content[:17]):
            yield f"events/{path.name}: {len(content)} bytes, not sealed"
        if path.suffix == ".mcap" and _pictures(content):
            yield f"{path.name}: {_pictures(content)} plain pictures"


def _pictures(content: bytes) -> int:
    try:
        return sum(bool(message.get("inputs")) for _, message in read(Path("content"), BytesIO(content)).messages)
    except RecordingError:
        return 0


def _has_pictures(path: Path, secret: Path) -> bool:
    return _pictures(seal.decrypt(path.read_bytes(), keys.read_secret(secret)[1])) > 0
