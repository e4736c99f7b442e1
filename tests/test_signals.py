"""A process without an event loop hears SIGTERM whatever it is doing, and does not stay for ever."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from agent.box.signals import StopSignals

SIGNS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = [signal.getsignal(sign) for sign in SIGNS]
    yield
    signal.alarm(0)
    for sign, handler in zip(SIGNS, before):
        signal.signal(sign, handler)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_stays_said(sign: int) -> None:
    leave = StopSignals()
    assert not leave.wait(0.0)
    os.kill(os.getpid(), sign)
    os.kill(os.getpid(), sign)
    # Far beyond this test's own timeout: only the signal ends it.
    assert leave.wait(3600.0) and leave.wait(3600.0)


def test_who_does_not_leave_is_ended() -> None:
    leave = StopSignals(last_s=100)
    leave.ask()
    assert 90 < signal.alarm(0) <= 100
    leave.ask()  # a second signal gives no more time
    assert signal.alarm(0) == 0


def test_a_signal_within_each_step_of_the_wait() -> None:
    """The handler runs before each line that the wait executes; a threading.Event would wait for its own lock here."""
    leave = StopSignals()

    def trace(frame: object, event: str, argument: object) -> object:
        leave.ask()
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        assert leave.wait(60.0)
    finally:
        sys.settrace(None)
