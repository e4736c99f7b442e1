"""A head that is loaded ahead, because its label has mostly come soon after what the lane finds now."""

from __future__ import annotations

from collections.abc import Sequence

from agent.backends.base import Engine
from agent.box.worker import Worker
from agent.decoders.base import Finding
from agent.packages import package
from agent.packages.on_demand import OnDemandEngine
from agent.vision.config import HeadConfig
from agent.vision.foresight import MIN_MOMENTS, Foresight
from agent.vision.heads import Head
from tests.waiting import until

S = 1_000_000_000
CAR, PERSON, BOTH = [Finding("car", 0.8)], [Finding("person", 0.9)], [Finding("car", 0.8), Finding("person", 0.9)]
NONE: list[Finding] = []


def learnt(foresight: Foresight, times: int, *, came: bool, start: int = 0) -> int:
    """So many cars, each a minute apart, each with a person two seconds later or without; the time afterwards."""
    now = start
    for _ in range(times):
        foresight.learn(now, CAR, False)
        foresight.learn(now + 2 * S, PERSON if came else NONE, came)
        now += 60 * S
    foresight.learn(now, NONE, False)
    return now


def test_what_mostly_follows_is_likely_after_enough_of_it() -> None:
    foresight = Foresight(5)
    now = learnt(foresight, MIN_MOMENTS - 1, came=True)
    assert not foresight.likely(CAR)
    learnt(foresight, 1, came=True, start=now + 60 * S)
    assert foresight.likely(CAR) and not foresight.likely(NONE)


def test_what_follows_too_seldom_or_too_late_is_not() -> None:
    seldom, late = Foresight(5), Foresight(1)
    now = learnt(seldom, 8, came=True)
    learnt(seldom, 2, came=False, start=now + 60 * S)
    learnt(late, 20, came=True)
    assert not seldom.likely(CAR) and not late.likely(CAR)


def test_many_samples_of_a_second_are_one_moment() -> None:
    foresight = Foresight(5)
    for number in range(100):
        foresight.learn(number * S // 100, CAR, False)
    foresight.learn(2 * S, PERSON, True)
    assert not foresight.likely(CAR)


def foreseeing(load: Engine | None = None) -> tuple[Head, OnDemandEngine]:
    trunk, second = (package.open_package(package.find(name)) for name in ("person-trunk", "view-head"))
    network = second.network
    engine = OnDemandEngine(network, lambda: network, Worker(False))
    second.network = second.engine = engine
    head = Head(second, HeadConfig(when="person", idle_s=1, prefetch_s=5), trunk, 1)
    assert head.foresight
    learnt(head.foresight, 20, came=True)
    return head, engine


def shown(head: Head, now: int, *findings: Sequence[Finding]) -> list[bool]:
    """Whether it runs at each of these, a second apart."""
    return [head.due(now + number * S, each, False) for number, each in enumerate(findings)]


def test_it_is_loaded_ahead_and_runs_with_the_first_sample_that_needs_it() -> None:
    head, engine = foreseeing()
    start = 10_000 * S
    assert shown(head, start, NONE, CAR) == [False, False]
    until(lambda: engine.engine is not None)
    assert shown(head, start + 2 * S, CAR, BOTH) == [False, True]  # in memory, it waits for its label
    assert (head.prefetches, head.wrong_prefetches, engine.loads) == (1, 0, 1)


def test_a_wrong_prefetch_is_counted_and_freed() -> None:
    head, engine = foreseeing()
    start = 10_000 * S
    assert not head.due(start, CAR, False)
    until(lambda: engine.engine is not None)
    assert shown(head, start + 5 * S, NONE, NONE) == [False, False]
    assert engine.engine is None and (head.prefetches, head.wrong_prefetches) == (1, 1)
