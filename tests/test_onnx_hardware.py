"""A real accelerator under ONNX Runtime, named by REFLEXD_PROVIDER (cuda, tensorrt, cann): pytest -m hardware."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from agent.backends import base as backends
from agent.backends.base import Engine

PROVIDER = os.environ.get("REFLEXD_PROVIDER", "cuda")
SIDE = 96
pytestmark = pytest.mark.hardware


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three convolutions and a mean: float32 [1, 3, SIDE, SIDE] to [1, 8, 1, 1]."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to write a network: pip install onnx")
    make, random = onnx.helper, np.random.default_rng(5)
    nodes, weights, at, channels = [], [], "picture", 3
    for number, filters in enumerate((16, 32, 8)):
        values = random.normal(0.0, 0.2, (filters, channels, 3, 3)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(values, f"w{number}"))
        nodes.append(make.make_node("Conv", [at, f"w{number}"], [f"c{number}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(make.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        at, channels = f"r{number}", filters
    nodes.append(make.make_node("GlobalAveragePool", [at], ["result"]))
    tensors = [
        [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)]
        for name, shape in (("picture", [1, 3, SIDE, SIDE]), ("result", [1, channels, 1, 1]))
    ]
    model = make.make_model(make.make_graph(nodes, "net", *tensors, weights), opset_imports=[make.make_opsetid("", 17)])
    model.ir_version = 9
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(model, path)
    return path


def result(engine: Engine, seed: int) -> np.ndarray:
    engine.input(0)[...] = np.random.default_rng(seed).random(engine.inputs[0].shape, np.float32)
    engine.invoke()
    return np.array(engine.output(0))


def test_each_picture_has_its_own_result_and_that_of_the_cpu(net: Path) -> None:
    """A binding that copies its input only once would repeat the first result."""
    accelerator, cpu = (backends.load("onnx", net, provider=provider) for provider in (PROVIDER, "cpu"))
    results = [result(accelerator, seed) for seed in (1, 2, 3, 1)]
    for values, seed in zip(results, (1, 2, 3, 1)):
        assert np.allclose(values, result(cpu, seed), rtol=1e-2, atol=1e-3)  # TF32 has ten bits
    assert np.array_equal(results[0], results[3])
    assert not np.allclose(results[0], results[1], rtol=1e-5)
