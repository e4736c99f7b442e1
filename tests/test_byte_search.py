"""The search that test_privacy.py relies on finds what is hidden."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path

import numpy as np

from agent.recorder.recording import Recording
from agent.tapes.format import TapeHeader
from tests.byte_search import RUN, STEP, Inputs, opened, search


def test_the_search_finds_hidden_input(tmp_path: Path) -> None:
    """Anywhere in a file, cut out of the middle, in base64, written out, in a compressed recording, in an archive."""
    chance = np.random.default_rng(1)
    frame = chance.integers(0, 255, (60, 80, 3), np.uint8)
    sound = chance.uniform(-1, 1, 9000).astype(np.float32)
    inputs = Inputs()
    inputs.add("picture", frame)
    inputs.add("sound", sound)
    wanted = inputs.marks()
    least = frame.tobytes()[5003 : 5003 + RUN + STEP - 1]
    coded = base64.b64encode(frame[30].tobytes()).decode()
    message = {"order": 1, "sequence": 1, "inputs": [{"data": coded}], "evidence": [], "decisions": []}
    with open(tmp_path / "a.mcap", "wb") as file:
        written = Recording(file, {"config": "{}"})
        written.add(TapeHeader("yard", [], [], []), message, 1)
        written.finish()
    packed = (tmp_path / "a.mcap").read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.mcap", "recordings/a.mcap")
    hidden = {
        "raw": b"\1" * 333 + least + b"\2" * 77,
        "a.mcap": packed,
        "a.tar.gz": (tmp_path / "a.tar.gz").read_bytes(),
        "a.json": json.dumps({"rows": [[0], sound[100:112].tolist()]}).encode(),
        "b.json": json.dumps([frame[3, 4:20].ravel().tolist()]).encode(),
    }
    harmless = {"nothing": bytes(chance.integers(0, 255, 1 << 20, np.uint8)), "few": b"\0" * 5000, "": b""}
    assert search(wanted, harmless) == {}
    for name, data in hidden.items():
        (kind,) = search(wanted, dict(opened(name, data)))
        assert kind == ("sound" if name == "a.json" else "picture")
    assert search(wanted, {"a.mcap": packed, "coded": coded.encode()}) == {}  # so it has to be opened
