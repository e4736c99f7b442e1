"""Real-time settings: they are set where allowed, and each refused one is reported once."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import subprocess
import sys
import threading

import pytest
import zmq

from agent.box import realtime
from agent.box.worker import Worker
from tests.shared import ROOT
from tests.waiting import until

PR_CAPBSET_DROP, CAP_IPC_LOCK, CAP_SYS_NICE = 24, 14, 23


def drop_rights() -> None:
    """In the child, before exec: neither real-time priority nor locked memory, also for root."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_IPC_LOCK, CAP_SYS_NICE):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))


def test_without_rights_the_daemon_runs_and_logs_each_missing_setting_once(tmp_path: os.PathLike[str]) -> None:
    daemon = subprocess.run(
        [sys.executable, "-m", "agent", "run", "-c", str(ROOT / "agent/scenes/robot-cell.yaml"), "--samples", "300"],
        env={**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)},
        preexec_fn=drop_rights,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert daemon.returncode == 0, daemon.stderr
    assert daemon.stderr.count("SCHED_FIFO is off") == 1
    assert daemon.stderr.count("memory lock is off") == 1
    assert "LimitRTPRIO" in daemon.stderr and "LimitMEMLOCK" in daemon.stderr


def scheduling(pid: int) -> dict[str, tuple[int, int]]:
    """(policy, priority) by thread id."""
    threads = os.listdir(f"/proc/{pid}/task")
    return {
        name: (os.sched_getscheduler(int(name)) & 0xFF, os.sched_getparam(int(name)).sched_priority) for name in threads
    }


def test_zeromq_threads_run_before_lanes() -> None:
    if realtime.fifo_setting().on is False:
        pytest.skip("SCHED_FIFO is not allowed here")
    before = set(scheduling(os.getpid()))
    context = realtime.zmq_context(True)
    context.socket(zmq.PAIR).close()  # the first socket starts the threads

    def raised() -> bool:
        """Each thread raises its own priority once it runs."""
        threads = scheduling(os.getpid())
        return any(threads[name] == (os.SCHED_FIFO, realtime.IO_PRIORITY) for name in threads.keys() - before)

    until(raised, "a ZeroMQ thread with the priority of input and output")
    context.term()
    assert realtime.IO_PRIORITY > realtime.LANE_PRIORITY


def test_a_lane_thread_gets_its_cores_and_priority() -> None:
    allowed = realtime.fifo_setting().on
    core = min(os.sched_getaffinity(0))
    settings = []

    def body() -> None:
        realtime.set_thread([core], True)
        settings.append((os.sched_getaffinity(0), os.sched_getscheduler(0) & 0xFF))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert settings == [({core}, os.SCHED_FIFO if allowed else os.SCHED_OTHER)]
    assert os.sched_getscheduler(0) & 0xFF == os.SCHED_OTHER  # only the lane's thread


def test_threads_switch_quickly_while_any_of_them_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "_busy", [])  # not of a thread that hangs for another test
    before = sys.getswitchinterval()
    try:
        with realtime.quick_switching():
            with realtime.quick_switching():
                assert sys.getswitchinterval() == pytest.approx(realtime.QUICK_SWITCH_S)
            assert sys.getswitchinterval() == pytest.approx(realtime.QUICK_SWITCH_S)
        assert sys.getswitchinterval() == pytest.approx(realtime.SWITCH_S)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("on_time", [True, False])
def test_the_worker_runs_before_ordinary_programs_and_after_lanes(on_time: bool) -> None:
    def policy() -> tuple[int, int]:
        return os.sched_getscheduler(0) & 0xFF, os.sched_getparam(0).sched_priority

    async def asked() -> tuple[int, int]:
        return await Worker(on_time).run(10.0, policy)

    raised = on_time and realtime.fifo_setting().on
    assert asyncio.run(asked()) == ((os.SCHED_FIFO, realtime.CONTROL_PRIORITY) if raised else (os.SCHED_OTHER, 0))


def test_every_python_thread_so_far_goes_before_ordinary_programs() -> None:
    end, policies = threading.Event(), []

    def policy(thread: int) -> int:
        return os.sched_getscheduler(thread) & 0xFF

    def body() -> None:
        end.wait()

    other = threading.Thread(target=body)
    other.start()
    try:
        realtime.raise_control_threads(False)
        policies.append(policy(other.native_id or 0))
        realtime.raise_control_threads(True)
        policies.append(policy(other.native_id or 0))
    finally:
        for thread in threading.enumerate():
            os.sched_setscheduler(thread.native_id or 0, os.SCHED_OTHER, os.sched_param(0))
        end.set()
        other.join()
    assert policies == [os.SCHED_OTHER, os.SCHED_FIFO if realtime.fifo_setting().on else os.SCHED_OTHER]
