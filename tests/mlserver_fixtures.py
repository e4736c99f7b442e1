"""MLServer, a server of the Open Inference Protocol that no one here wrote, in an environment of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from agent.benches.programs import free_port
from tests.shared import ROOT
from tests.waiting import until

SHAPE = (1, 8, 8, 3)
MODEL = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Scorer(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        mean = NumpyCodec.decode_input(payload.inputs[0]).mean()
        scores = (mean / np.arange(1, 5, dtype=np.float32)).astype(np.float32)[None]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", scores)])
"""


class Ports(NamedTuple):
    """Of a running server."""

    http: int
    grpc: int


def interpreter() -> str:
    """The Python that has it: this one, REFLEXD_MLSERVER, or that of scripts/check; empty for none."""
    if importlib.util.find_spec("mlserver"):
        return sys.executable
    named = os.environ.get("REFLEXD_MLSERVER", str(ROOT / ".venv-mlserver/bin/python"))
    return named if os.path.isfile(named) else ""


@contextmanager
def mlserver(folder: Path) -> Iterator[Ports]:
    """With a model `scorer`: FP32 x of SHAPE to FP32 y [1, 4], the mean divided by 1 to 4."""
    ports = Ports(free_port(), free_port())
    settings = {"host": "127.0.0.1", "http_port": ports.http, "grpc_port": ports.grpc, "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    described = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, *SHAPE[1:]]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    }
    model = {"name": "scorer", "implementation": "scorer.Scorer", "versions": ["1"], **described}
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "scorer.py").write_text(MODEL)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [interpreter(), "-c", "from mlserver.cli import main; main()", "start", str(folder)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        until(lambda: process.poll() is not None or _ready(ports.http), (folder / "log").read_text)
        assert process.poll() is None, (folder / "log").read_text()
        yield ports
    finally:
        process.terminate()
        process.wait(30)


def _ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v2/models/scorer/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
