"""LiteRT's two roads: its C API, during whose calls other threads run, and its Python class."""

from __future__ import annotations

import gc
import importlib.metadata
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.backends import base, litert_api, litert_compiled, litert_network
from agent.backends.base import EngineError, TensorSpec
from agent.packages.package import BUNDLED
from tests import tflite_models

FILES = sorted(BUNDLED.glob("*/*.tflite"))
ARM = BUNDLED / "arm-deviation" / "arm-deviation.tflite"
api = litert_api.load()
pytestmark = pytest.mark.skipif(api is None, reason="no LiteRT of a tested version")


@pytest.fixture
def of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.4.0")
    monkeypatch.setattr(litert_api, "load", litert_api.load.__wrapped__)  # what it found before is not remembered


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_both_roads_give_the_same_tensors_and_the_same_outputs(path: Path) -> None:
    one, other = litert_compiled.compiled(path, 1), litert_network.interpreted(litert_network.verified(path, 1), ())
    assert one
    assert (one.inputs, one.outputs) == (other.inputs, other.outputs)
    random = np.random.default_rng(0)
    for _ in range(2):
        values = (random.standard_normal(one.inputs[0].shape) * 50).astype(one.inputs[0].dtype)
        for network in (one, other):
            network.arrays[0][...] = values
            network.run()
        for number in range(len(one.outputs)):
            assert np.array_equal(one.read(number), other.read(number))


def test_several_threads_compute_the_same() -> None:
    path = BUNDLED / "person-coarse" / "person-coarse.tflite"
    networks = [litert_compiled.compiled(path, threads) for threads in (1, 2)]
    for network in networks:
        assert network
        network.arrays[0][...] = 7
        network.run()
    one, two = [network.read(0) for network in networks if network]
    assert np.array_equal(one, two)


def test_other_threads_run_while_a_model_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api
    counted, at, ended = [0], [0, 0], threading.Event()

    def count() -> None:
        while not ended.is_set():
            counted[0] += 1

    made = api.made

    def measured(name: str, *arguments: object) -> int:
        if name != "CreateCompiledModel":
            return made(name, *arguments)
        at[0] = counted[0]
        handle = made(name, *arguments)
        at[1] = counted[0]
        return handle

    monkeypatch.setattr(api, "made", measured)
    other = threading.Thread(target=count)
    other.start()
    try:
        # A call that keeps the GIL lets the other thread count at most in the moment before it begins.
        while at[1] - at[0] < 1000:
            assert litert_compiled.compiled(BUNDLED / "movenet" / "movenet.tflite", 1)
    finally:
        ended.set()
        other.join()


def test_a_model_with_an_open_size_takes_the_other_road(tmp_path: Path) -> None:
    path = tmp_path / "open.tflite"
    path.write_bytes(open_size())
    assert litert_compiled.compiled(path, 1) is None
    assert base.load("litert", path, spec=TensorSpec((1, 4))).inputs[0].shape == (1, 4)


def open_size() -> bytes:
    builder = tflite_models.Builder()
    given = builder.tensor("in", (1, 1), signature=(1, -1))
    result = builder.tensor("out", (1, 1), signature=(1, -1))
    builder.operator("TANH", [given], result)
    return builder.content([given], [result])


def test_of_a_version_that_was_not_tested_the_python_class_is_used(of_another_version: None) -> None:
    assert litert_compiled.compiled(ARM, 1) is None
    engine = base.load("litert", ARM)
    engine.invoke()
    assert engine.output(0).shape == (1, 4)


def test_a_failure_says_what_the_operator_says(tmp_path: Path) -> None:
    path = tmp_path / "failing.tflite"
    path.write_bytes(tflite_models.failing())
    network = litert_compiled.compiled(path, 1)
    assert network
    for level, fails in ((0.0, False), (1.0, True), (0.0, False), (1.0, True)):
        network.arrays[0][...] = level
        if fails:
            with pytest.raises(EngineError, match="^gather index out of bounds$"):
                network.run()
        else:
            network.run()


@pytest.mark.parametrize("raw", [b"", b"not a model", bytes(5000), b"\x1c\0\0\0TFL3" + bytes(range(256)) * 8])
def test_what_is_no_model_is_left_to_the_other_road(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "m.tflite").write_bytes(raw)
    assert litert_compiled.compiled(tmp_path / "m.tflite", 1) is None
    assert litert_compiled.compiled(tmp_path / "absent.tflite", 1) is None


def test_a_model_is_freed_once_and_after_the_last_array_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api
    freed: list[str] = []
    destroy: Callable[[str, int], None] = api.destroy

    def noted(kind: str, handle: int) -> None:
        freed.append(kind)
        destroy(kind, handle)

    monkeypatch.setattr(api, "destroy", noted)
    gc.disable()  # nothing waits for a collection: a model that was exchanged is freed at once
    try:
        network = litert_compiled.compiled(ARM, 1)
        assert network
        network.run()
        output = network.read(0)
        del network
        assert not freed
        assert output.sum() != 0
        del output
        assert freed == ["TensorBuffer", "TensorBuffer", "CompiledModel", "Options", "Model"]
    finally:
        gc.enable()
