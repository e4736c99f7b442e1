"""The ONNX Runtime backend on the CPU; accelerators are in test_onnx_hardware.py."""

from __future__ import annotations

import numpy as np
import pytest

from agent.backends import base as backends
from tests.shared import PUBLIC, needs_recordings

NANODET = PUBLIC / "object_detection_nanodet_2022nov_int8.onnx"
pytestmark = needs_recordings


def test_a_model_runs_in_place_and_twice_the_same() -> None:
    pytest.importorskip("onnxruntime")
    engine = backends.load("onnx", NANODET)
    engine.input(0)[...] = 0.0
    engine.invoke()
    empty = engine.output(0).copy()
    engine.input(0)[...] = np.random.default_rng(1).random(engine.inputs[0].shape, np.float32) * 255
    engine.invoke()
    assert engine.output(0).shape == (1, 2704, 80) and not np.array_equal(engine.output(0), empty)
    engine.input(0)[...] = 0.0
    engine.invoke()
    assert np.array_equal(engine.output(0), empty)


def test_the_cpu_does_not_replace_another_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime does that by itself, with a warning, where CUDA's libraries are missing."""
    onnx = pytest.importorskip("agent.backends.onnx", reason="needs onnxruntime")
    monkeypatch.setattr(onnx, "_providers", lambda *_: ["CPUExecutionProvider"])
    message = "provider 'cuda' does not start here, and CPUExecutionProvider must not"
    with pytest.raises(backends.EngineError, match=message):
        backends.load("onnx", NANODET, provider="cuda")


def test_the_message_names_the_available_providers() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(backends.EngineError, match="TensorrtExecutionProvider; it has .*CPUExecutionProvider"):
        backends.load("onnx", NANODET, provider="tensorrt")
