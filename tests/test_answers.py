"""Answers that cost much are kept: the same pixels are not computed twice, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import ledger
from agent.backends.base import Engine, Tensor
from agent.build import open_models
from agent.config.models import LaneConfig
from agent.data import Array, Box, Sample
from agent.decoders.base import Finding
from agent.errors import PackageError
from agent.ledger import Ledger
from agent.metrics import LedgerCollector
from agent.packages import package
from agent.packages.answers import ENTRIES, KEPT_S, UNIT, Answer, Answers, CachedEngine, keep_answers
from agent.packages.shared import SharedEngine
from agent.vision.config import RefineConfig
from agent.vision.refine import Refine

REFINE = {"model": "person-coarse", "label": "person", "cache": True}
SECTION = {"source": {"driver": "camera.sim"}, "model": "person-coarse", "refine": REFINE}
PERSON = Finding("person", 0.9, Box(0.2, 0.1, 0.6, 0.9))


class Adds(Engine):
    """Its output is its input and how often it ran, as a wrong answer from the cache would show."""

    def __init__(self) -> None:
        self.inputs = self.outputs = [Tensor("x", (1, 4), np.float32)]
        self.array, self.result, self.runs = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32), 0

    def input(self, index: int) -> Array:
        return self.array

    def invoke(self) -> None:
        self.runs += 1
        self.result[:] = self.array + self.runs

    def output(self, index: int) -> Array:
        return self.result


def answer(cached: CachedEngine, value: float) -> float:
    cached.input(0)[...] = value
    cached.invoke()
    return float(cached.output(0)[0, 0])


def test_the_same_input_is_computed_once_and_keeps_its_answer() -> None:
    cached = CachedEngine(Adds(), "a model", Answers())
    assert [answer(cached, value) for value in (1, 5, 1, 5, 1)] == [2, 7, 2, 7, 2]
    assert (cached.hits, cached.misses) == (3, 2)


def test_models_share_the_cache_and_no_answers() -> None:
    answers = Answers()
    one, two, same = (CachedEngine(Adds(), name, answers) for name in ("one", "two", "one"))
    assert answer(one, 1) == 2
    two.network.invoke()
    assert answer(two, 1) == 3
    same.network.invoke()
    assert answer(same, 1) == 2 and len(answers) == 2


def test_an_answer_is_forgotten_after_five_minutes() -> None:
    clock = [0.0]
    cached = CachedEngine(Adds(), "a model", Answers(lambda: clock[0]))
    assert answer(cached, 1) == 2
    clock[0] = KEPT_S - 1
    assert answer(cached, 1) == 2
    clock[0] = KEPT_S + 1
    assert answer(cached, 1) == 3


def test_the_least_recently_used_goes_first_and_memory_is_bounded() -> None:
    answers = Answers()
    large = Answer([np.zeros(UNIT * ENTRIES // 2, np.uint8)], 0)
    for key in (b"a", b"b"):
        answers.put(key, large)
    assert answers.get(b"a")
    answers.put(b"c", large)
    assert answers.get(b"b") is None and answers.get(b"a") and answers.get(b"c")
    answers.put(b"d", Answer([np.zeros(UNIT * ENTRIES + 1, np.uint8)], 0))
    assert answers.get(b"d") is None and len(answers) == 2


def test_a_refining_model_finds_the_same_with_and_without_a_cache() -> None:
    """The same three pictures again and again, as of a still camera."""
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(3)]
    found = []
    for cache in (False, True):
        opened = package.open_package(package.find("person-coarse"))
        if cache:
            keep_answers(opened)
        refine = Refine(opened, RefineConfig(model="person-coarse", label="person", cache=cache))
        refine.start("bgr")
        results = [refine(Sample("", n, n * 10**8, frames[n % 3]), [PERSON], 1 << 62) for n in range(12)]
        found.append([result.findings for result in results])
    assert found[0] == found[1]
    assert isinstance(opened.network, CachedEngine) and (opened.network.hits, opened.network.misses) == (9, 3)


def test_a_cache_around_a_shared_engine_keeps_its_deadlines() -> None:
    perception = open_models(LaneConfig.model_validate({**SECTION, "share": True}), Path())
    assert perception.refine and isinstance(perception.refine.package.network, CachedEngine)
    cached = perception.refine.package.network
    assert isinstance(cached.network, SharedEngine) and cached in perception._networks
    cached.deadline = 5
    cached.invoke()
    assert cached.network.deadline == 5


def test_a_model_with_a_memory_is_computed_each_time() -> None:
    with pytest.raises(PackageError, match="motion-blobs: its outputs depend on earlier samples, too: remove 'cache'"):
        keep_answers(package.open_package(package.find("motion-blobs")))


def test_what_was_saved_is_in_the_metrics(tmp_path: Path) -> None:
    lanes: list[Any] = [Ledger(tmp_path / f"{name}.ledger", name, 10.0) for name in ("cam", "arm")]
    lanes[0].record_reuse((9, 3, 1_500_000, 2, 4, 1))
    families = {family.name: family for family in LedgerCollector(tmp_path).collect()}
    samples = {sample.labels["event"]: sample.value for sample in families["reflexd_lane_reuse"].samples}
    assert samples["cache_hits"] == 9 and samples["wrong_prefetches"] == 1 and len(samples) == len(ledger.REUSE) - 1
    (saved,) = families["reflexd_lane_saved_seconds"].samples
    assert (saved.labels, saved.value) == ({"lane": "cam"}, 1.5)
