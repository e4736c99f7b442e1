"""Waiting for what another thread or process does, up to the one deadline of all tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# Only a failing test waits this long: on an idle machine everything awaited happens within tens of milliseconds,
# on a busy one within a few seconds.
DEADLINE_S = 60.0
Result = TypeVar("Result")


def until(condition: Callable[[], Result], awaited: str | Callable[[], str] = "the condition") -> Result:
    """The first true result of `condition`; the test fails where there is none before the deadline.

    `awaited` names in the failure what did not happen; a callable is asked only then (logs, counters).
    """
    end = time.monotonic() + DEADLINE_S
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {DEADLINE_S:g} s: {awaited if isinstance(awaited, str) else awaited()}")
        time.sleep(0.005)
    return result
