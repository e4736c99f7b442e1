"""A process without an event loop stops at SIGTERM whatever it is doing, and within its deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import demo
from agent.box.held_signals import HELD
from agent.box.signals import StopSignals
from agent.scenes import catalog
from tests.processes import Cell, arm

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    signal.alarm(0)
    for number, handler in zip(SIGNALS, before):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_this_wait_and_every_later_one(number: int) -> None:
    stop = StopSignals()
    assert not stop.wait(0.0)
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    # Far beyond this test's own timeout: only the signal ends it.
    assert stop.wait(3600.0) and stop.wait(3600.0)


def test_a_process_that_does_not_stop_is_ended() -> None:
    stop = StopSignals(deadline_s=100)
    stop.request()
    assert 90 < signal.alarm(0) <= 100
    stop.request()  # a second signal does not extend the deadline
    assert signal.alarm(0) == 0


def test_a_signal_within_each_step_of_the_wait() -> None:
    """The handler runs before each line that the wait executes; a threading.Event would wait for its own lock here."""
    stop = StopSignals()

    def trace(frame: object, event: str, argument: object) -> object:
        stop.request()
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        assert stop.wait(60.0)
    finally:
        sys.settrace(None)


@pytest.mark.slow
def test_kind_no_signal_but_those_that_stop_ends_the_daemon(tmp_path: Path) -> None:
    """12.1: SIGQUIT stops it in order, as it does the actuator host."""
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, daemon = cell.start_both()
        for number in sorted(HELD - {signal.SIGQUIT, signal.SIGHUP}):
            daemon.signal(number)
        cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 200)
        assert daemon.popen.poll() is None
        daemon.signal(signal.SIGQUIT)
        assert daemon.exit_code() == 0
        assert "cell-1 stopped" in daemon.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_kind_a_signal_during_a_poll_of_a_child_does_not_hang_the_demo(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception from a handler there would leave the lock of Popen held, and the last wait would never end."""

    class Lock:
        """That of a Popen; the signal arrives right after poll() took it."""

        def __init__(self) -> None:
            self.lock = threading.Lock()

        def acquire(self, blocking: bool = True) -> bool:
            taken = self.lock.acquire(timeout=20 if blocking else 0)
            if not blocking and taken:
                os.kill(os.getpid(), number)
            return taken

        def release(self) -> None:
            self.lock.release()

        def __enter__(self) -> None:
            assert self.acquire(), "the lock of Popen stayed held"

        def __exit__(self, *_: object) -> None:
            self.release()

    def spawn(*_: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "60"])
        process._waitpid_lock = Lock()  # type: ignore[attr-defined]
        return process

    monkeypatch.setattr(demo, "_spawn", spawn)
    assert demo.play(catalog.find("robot-cell"), tmp_path, 0.0) == -signal.SIGTERM
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
