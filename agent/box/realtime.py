"""The system settings that keep a lane on time. Each is tried once; a refused one is reported, and the daemon runs."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from agent.box.setting import Setting

if TYPE_CHECKING:
    import zmq  # imported where it is used

LANE_PRIORITY = 50
IO_PRIORITY = 51  # ZeroMQ's own thread must run for a lane's message to leave
NETWORK_PRIORITY = 49  # the same where strangers may connect: they must not take the core from a lane
ACTUATOR_PRIORITY = 52  # a command that has arrived goes before the next sample
# Of the daemon's other threads: after every lane, before all ordinary programs. One of these that took the core of a
# thread with the GIL would stall every lane until that runs again: measured on two busy cores 160 ms.
CONTROL_PRIORITY = 1
STANDBY_PRIORITY = 53  # it must run where an actuator's thread does not stop running
ORDINARY_WAIT_NS = 1_000_000_000  # at nice 19 beside programs that take every core
PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
PARENT = "REFLEXD_PARENT"  # environment variable of a child process: the daemon's process id
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
SWITCH_S = 0.0005
QUICK_SWITCH_S = 0.0001  # costs a few percent where two threads compute in Python
_BUSY = threading.Lock()
_busy: list[None] = []  # one for each thread in `quick_switching`
FIFO_ADVICE = "other programs delay lanes by tens of ms; set LimitRTPRIO=99 or AmbientCapabilities=CAP_SYS_NICE"


def set_process() -> list[Setting]:
    """Settings of the whole process; call once, before threads start."""
    # A busy Python thread holds the GIL for this long before a lane gets it; the default is 5 ms.
    sys.setswitchinterval(SWITCH_S)
    threading.stack_size(1 << 20)
    return [Setting("switch interval 0.5 ms", True, ""), lock_memory(), opencv_threads()]


def freeze_objects() -> None:
    """After the start: exempt all objects from garbage collection, which would take 50 ms for 600,000 of them."""
    gc.collect()
    gc.freeze()
    # A lane makes a dozen small tuples per sample and no cycles: collect rarely, and only what is new.
    gc.set_threshold(50_000, 10, 10)


def lock_memory() -> Setting:
    """Keep touched pages in memory. ONFAULT: pages of libraries that are never used stay on disk."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0:
        return Setting("memory lock", True, "")
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    reason = f"{os.strerror(ctypes.get_errno())}, limit {soft // 1024} KiB"
    return Setting("memory lock", False, f"{reason}: a page fault may delay a lane; set LimitMEMLOCK=infinity")


def raise_file_limit() -> None:
    """As many open files as allowed: at the limit ZeroMQ's thread takes a core, trying to accept one more peer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wait_ns() -> int:
    """How long this thread may have to wait for a core on a busy box: none where it is a real-time one."""
    return 0 if os.sched_getparam(0).sched_priority else ORDINARY_WAIT_NS


def opencv_threads() -> Setting:
    """OpenCV's thread pool costs more than it gains on pictures this small, and uses the other lanes' cores."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    small = np.zeros((16, 16, 3), np.uint8)
    cv2.cvtColor(cv2.resize(small, (8, 8)), cv2.COLOR_BGR2RGB)  # the first call sets OpenCV up, for 10 ms
    return Setting("OpenCV on the lane's thread", True, "")


@cache
def fifo_setting() -> Setting:
    """May this process use SCHED_FIFO? Tried on a thread of its own."""
    refusals: list[str] = []
    attempt = threading.Thread(target=lambda: refusals.extend(_set_fifo(ACTUATOR_PRIORITY)))
    attempt.start()
    attempt.join()
    if refusals:
        return Setting("SCHED_FIFO", False, f"{refusals[0]}: {FIFO_ADVICE}")
    return Setting("SCHED_FIFO", True, "")


def _set_fifo(priority: int, thread: int = 0) -> list[str]:
    """Put a thread on SCHED_FIFO; the reason where that is refused. thread: its native id; 0: the calling one."""
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        return []
    except OSError as error:
        return [error.strerror or "refused"]


def raise_control_threads(realtime: bool) -> None:
    """Every Python thread so far, such as the one that writes the log: they share the GIL with lanes that start now."""
    for thread in threading.enumerate() if realtime else ():
        if thread.native_id:
            _set_fifo(CONTROL_PRIORITY, thread.native_id)


@contextmanager
def quick_switching() -> Iterator[None]:
    """While a thread computes in Python beside lanes: each time that a lane wants the GIL, a few times a sample, it
    waits for this long.
    """
    _change_busy(1)
    try:
        yield
    finally:
        _change_busy(-1)


def _change_busy(by: int) -> None:
    """The switch interval is the process's: short while any thread is busy."""
    with _BUSY:
        _busy.append(None) if by > 0 else _busy.pop()
        sys.setswitchinterval(QUICK_SWITCH_S if _busy else SWITCH_S)


def set_thread(cores: list[int], realtime: bool, priority: int = LANE_PRIORITY) -> None:
    """Settings of a lane's or an actuator's own thread; call from it."""
    if cores:
        os.sched_setaffinity(0, cores)
    if realtime:
        _set_fifo(priority)
    # Ordinary threads are woken up to 50 us late to save power; real-time ones are not.
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def choose_cores(index: int, configured: list[int], realtime: bool) -> list[int]:
    """The cores of the index-th lane or actuator: those configured, else one each, from the last core down.

    A command is handed from thread to thread, one working at a time. The kernel sends a real-time thread that is woken
    to another, sleeping core: measured, the hop then takes 75 us at p50 instead of 35 on one warm core.
    """
    if configured or not realtime or not fifo_setting().on:
        return configured
    allowed = sorted(os.sched_getaffinity(0))
    return [allowed[-1 - index % len(allowed)]]


def zmq_context(
    realtime: bool, cores: list[int] | None = None, priority: int = IO_PRIORITY
) -> zmq.Context[zmq.Socket[bytes]]:
    """A ZeroMQ context; by default its I/O thread runs before the lanes, so that a message leaves at once."""
    import zmq

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    if realtime and fifo_setting().on:  # libzmq aborts the process where this is not allowed
        context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
        context.set(zmq.THREAD_PRIORITY, priority)
    for core in cores or []:
        context.set(zmq.THREAD_AFFINITY_CPU_ADD, core)
    return context


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """End this child process when the daemon dies, also by kill -9. Call it once that signal is handled."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    parent = os.environ.get(PARENT)
    if parent and os.getppid() != int(parent):  # it died before the signal was requested
        os.kill(os.getpid(), number)
