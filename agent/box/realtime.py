"""The knobs that keep a lane on time. Each is tried once; what could not be had is reported, and the daemon runs on."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import zmq  # only where it is used: `reflexd status` must start quickly

LANE_PRIORITY = 50
IO_PRIORITY = 51  # ZeroMQ's own thread must run for a lane's message to leave
ACTUATOR_PRIORITY = 52  # a command that has arrived goes before the next sample
PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
PARENT = "REFLEXD_PARENT"  # the environment tells a helper whose it is
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
SWITCH_S = 0.0005


class Setting(NamedTuple):
    """One setting: is it on, and if not, what it costs and what mends it."""

    name: str
    on: bool
    note: str


def process() -> list[Setting]:
    """Settings of the whole process; call once, before threads start."""
    # A busy Python thread holds the GIL for this long before a lane gets it; the default is 5 ms.
    sys.setswitchinterval(SWITCH_S)
    threading.stack_size(1 << 20)
    return [Setting("switch interval 0.5 ms", True, ""), lock_memory(), opencv_threads()]


def settle() -> None:
    """After start: what lives now lives on, so the collector need not walk it again (50 ms for 600,000 objects)."""
    gc.collect()
    gc.freeze()
    # A lane makes a dozen small tuples per sample and no cycles: collect rarely, and then only what is new.
    gc.set_threshold(50_000, 10, 10)


def lock_memory() -> Setting:
    """Keep touched pages in memory. ONFAULT: pages of libraries that are never used stay on disk."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0:
        return Setting("memory lock", True, "")
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    why = os.strerror(ctypes.get_errno())
    return Setting(
        "memory lock",
        False,
        f"{why}, limit {soft // 1024} KiB: a page fault may delay a lane; set LimitMEMLOCK=infinity",
    )


def opencv_threads() -> Setting:
    """OpenCV's pool costs more than it wins on pictures this small, and takes the other lanes' cores."""
    import cv2

    cv2.setNumThreads(1)
    small = np.zeros((16, 16, 3), np.uint8)
    cv2.cvtColor(cv2.resize(small, (8, 8)), cv2.COLOR_BGR2RGB)  # the first call sets OpenCV up, for 10 ms
    return Setting("OpenCV on the lane's thread", True, "")


@cache
def fifo_setting() -> Setting:
    """May this process use SCHED_FIFO? Tried on a thread of its own."""
    trouble: list[str] = []

    def attempt() -> None:
        trouble.extend(_fifo(ACTUATOR_PRIORITY))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if trouble:
        note = f"{trouble[0]}: other programs delay lanes by tens of ms; set LimitRTPRIO=99 or AmbientCapabilities=CAP_SYS_NICE"
        return Setting("SCHED_FIFO", False, note)
    return Setting("SCHED_FIFO", True, "")


def _fifo(priority: int) -> list[str]:
    """Put the calling thread on SCHED_FIFO; the reason if that is refused."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        return []
    except OSError as error:
        return [error.strerror or "refused"]


def thread(cores: list[int], realtime: bool, priority: int = LANE_PRIORITY) -> None:
    """Settings of a lane's or an actuator's own thread; call from it."""
    if cores:
        os.sched_setaffinity(0, cores)
    if realtime:
        _fifo(priority)
    # Ordinary threads are woken up to 50 us late to save power; real-time ones are not.
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def place(index: int, chosen: list[int], realtime: bool) -> list[int]:
    """The cores of the index-th lane or actuator: those chosen, else one each, from the last core down.

    A command is handed from thread to thread, one working at a time. The kernel sends a real-time thread that is woken
    to another, sleeping core: measured, the hop then takes 75 us at p50 instead of 35 on one warm core.
    """
    if chosen or not realtime or not fifo_setting().on:
        return chosen
    allowed = sorted(os.sched_getaffinity(0))
    return [allowed[-1 - index % len(allowed)]]


def context(realtime: bool, cores: list[int] | None = None) -> zmq.Context[zmq.Socket[bytes]]:
    """A ZeroMQ context whose I/O thread runs before the lanes, so that a message leaves at once."""
    import zmq

    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    if realtime and fifo_setting().on:  # libzmq aborts the process where it may not
        made.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
        made.set(zmq.THREAD_PRIORITY, IO_PRIORITY)
    for core in cores or []:
        made.set(zmq.THREAD_AFFINITY_CPU_ADD, core)
    return made


def die_with_parent() -> None:
    """End a helper process (SIGTERM) when the daemon dies, also by kill -9. Call it when the signal is handled."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parent = os.environ.get(PARENT)
    if parent and os.getppid() != int(parent):  # it died before we could ask for the signal
        os.kill(os.getpid(), signal.SIGTERM)
