"""The attacks of `reflexd bench faults`: each is a file here with `measure(times)`, which gives its outcome."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.benches.attacks.outcome import Outcome

_NOT_ATTACKS = ("__init__", "outcome", "run")
SHORT_TIMES = 1


def names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if path.stem not in _NOT_ATTACKS)


def measure(chosen: Iterable[str], times: int, short: bool) -> Iterator[Outcome]:
    """One after the other, so that none disturbs another's times."""
    for name in chosen:
        module = importlib.import_module(f"agent.benches.attacks.{name}")
        yield module.measure(min(times, SHORT_TIMES) if short else times)
