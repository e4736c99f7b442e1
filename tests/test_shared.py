"""Lanes that share an engine: the same findings as with one of their own, in the order of their deadlines."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends.base import Engine, EngineError
from agent.errors import PackageError
from agent.packages import package, shared
from agent.packages.shared import SharedEngine, Turns
from tests.waiting import until

ARM = package.find("arm-deviation")


def open_shared(count: int) -> list[package.Package]:
    return [package.open_package(ARM, shared=True) for _ in range(count)]


def network(opened: package.Package) -> Engine:
    assert isinstance(opened.network, SharedEngine)
    return opened.network.loaded.engine


def _waiting(turns: Turns, count: int) -> bool:
    return len(turns._waiting) == count


def test_it_is_loaded_once_and_unloaded_with_its_last_lane() -> None:
    first, second = open_shared(2)
    assert network(first) is network(second) and first.engine is not second.engine
    own = package.open_package(ARM)
    assert not isinstance(own.network, SharedEngine)
    before = len(shared._LOADED)
    del first, second
    assert len(shared._LOADED) == before - 1


def test_each_lane_gets_the_answer_to_its_own_sample() -> None:
    """Four threads at once, a thousand samples each, against an engine that none shares."""
    own, lanes = package.open_package(ARM), open_shared(4)
    shape, wrong = own.engine.inputs[0].shape, []
    inputs = np.random.default_rng(0).integers(-128, 128, (40, *shape), np.int8)
    expected = []
    for values in inputs:
        own.engine.input(0)[...] = values
        expected.append(own.infer())

    def run(lane: package.Package, seed: int) -> None:
        order = np.random.default_rng(seed).integers(0, len(inputs), 1000)
        for number in order:
            lane.engine.input(0)[...] = inputs[number]
            if lane.infer() != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(lane, seed)) for seed, lane in enumerate(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_earliest_deadline_goes_first() -> None:
    turns, order = Turns(), []

    def wait(deadline: int) -> None:
        gate = threading.Lock()
        gate.acquire()
        turns.take(deadline, gate)
        order.append(deadline)
        turns.give()

    holder = threading.Lock()
    holder.acquire()
    turns.take(0, holder)
    threads = [threading.Thread(target=wait, args=(deadline,)) for deadline in (30, 10, 40, 20)]
    for number, thread in enumerate(threads):
        thread.start()
        until(partial(_waiting, turns, number + 1), "it waits")
    turns.give()
    for thread in threads:
        thread.join()
    assert order == [10, 20, 30, 40]


def test_a_failing_inference_gives_the_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = open_shared(2)

    def fail() -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as failing:
        failing.setattr(network(first), "invoke", fail)
        with pytest.raises(RuntimeError):
            first.engine.invoke()
    second.infer()


def test_a_model_with_a_memory_is_not_shared() -> None:
    class Remembering(Engine):
        has_memory = True

        def __init__(self) -> None:
            self.inputs, self.outputs = [], []

        def input(self, index: int) -> Any:
            raise NotImplementedError

        invoke = output = input  # type: ignore[assignment]

    with pytest.raises(EngineError, match="each lane needs one of its own"):
        shared.share("remembering", Remembering)
    with pytest.raises(PackageError, match=r"motion-blobs: share: .* each lane needs one of its own"):
        package.open_package(package.find("motion-blobs"), shared=True)


def test_lanes_of_a_daemon_share(tmp_path: Path) -> None:
    from agent.build import make_lane
    from agent.config.load import load_config

    path = tmp_path / "reflexd.yaml"
    path.write_text(
        f"run_dir: {tmp_path}\n"
        "lanes:\n"
        "  one: {source: {driver: camera.sim}, model: movenet, share: true}\n"
        "  two: {source: {driver: camera.sim}, model: movenet, share: true}\n"
        "  own: {source: {driver: camera.sim}, model: movenet}\n"
        "actuators: {}\n"
    )
    config = load_config(path)
    lanes = [make_lane(name, config, tmp_path, 0) for name in ("one", "two", "own")]
    engines = [lane.perception.package.network for lane in lanes]
    assert isinstance(engines[0], SharedEngine) and isinstance(engines[1], SharedEngine)
    assert engines[0].loaded is engines[1].loaded and not isinstance(engines[2], SharedEngine)
