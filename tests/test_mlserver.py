"""Backend `remote` against MLServer, over HTTP and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends import base
from agent.backends.base import EngineAway, EngineError
from agent.benches.programs import free_port
from agent.open_inference.release import Release
from tests.mlserver_fixtures import SHAPE, Ports, interpreter, mlserver

pytestmark = [
    pytest.mark.skipif(not interpreter(), reason="MLServer is not installed: scripts/check, or set REFLEXD_MLSERVER"),
    pytest.mark.slow,
]
SCHEMES = ["http", "grpc"]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    with mlserver(tmp_path_factory.mktemp("m")) as running:
        yield running


def parameters(scheme: str, port: int, **changes: Any) -> dict[str, Any]:
    if scheme == "grpc":
        pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: pip install 'reflexd[remote]'")
    content = {
        "server": "gpu-1",
        "url": f"{scheme}://127.0.0.1:{port}",
        "model": "scorer",
        "input": {"name": "x", "datatype": "FP32", "shape": list(SHAPE)},
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4]}],
        "timeout_ms": 60_000,
    }
    return {**content, **changes}


def loaded(folder: Path, content: dict[str, Any]) -> base.Engine:
    path = folder / "remote.yaml"
    path.write_text(json.dumps(content))
    engine = base.load("remote", path)
    engine.permit(Release(["gpu-1"]))
    return engine


def port_of(ports: Ports, scheme: str) -> int:
    return ports.http if scheme == "http" else ports.grpc


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_computes_what_the_model_does(scheme: str, ports: Ports, tmp_path: Path) -> None:
    engine = loaded(tmp_path, parameters(scheme, port_of(ports, scheme)))
    assert engine.away == ""
    for seed in range(3):
        values = np.random.default_rng(seed).uniform(0, 1, SHAPE).astype(np.float32)
        engine.fill(values[0])
        engine.invoke()
        assert np.allclose(engine.real(0), values.mean() / np.arange(1, 5), rtol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"model": "unheard-of"}, "answers with .*[Nn]ot found"),
        ({"input": {"name": "z", "datatype": "FP32", "shape": list(SHAPE)}}, "has a model without input 'z'"),
        ({"input": {"name": "x", "datatype": "INT8", "shape": list(SHAPE)}}, "has a model with input 'x' FP32"),
        ({"input": {"name": "x", "datatype": "FP32", "shape": [1, 8, 9, 3]}}, "has a model with input 'x' FP32"),
        ({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 5]}]}, "has a model with output 'y' FP32"),
    ],
)
def test_metadata_that_differ_are_one_message(
    change: dict[str, Any], mistake: str, scheme: str, ports: Ports, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=f"server 'gpu-1' .* {mistake}"):
        loaded(tmp_path, parameters(scheme, port_of(ports, scheme), **change))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_that_is_away_is_a_fault_that_ends_in_time(scheme: str, tmp_path: Path) -> None:
    engine = loaded(tmp_path, parameters(scheme, free_port(), timeout_ms=500))
    assert "cannot be reached" in engine.away or "does not answer" in engine.away
    with pytest.raises(EngineAway):
        engine.invoke()
