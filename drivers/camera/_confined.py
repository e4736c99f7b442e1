"""How a decoding child starts: it takes its request and gives up what it does not need."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

from drivers.camera._picture_sender import RETURN_PIPE

PR_SET_PDEATHSIG = 1


def read_request() -> dict[str, Any]:
    """One line of JSON on standard input: on the command line every user would see the password in it."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(RETURN_PIPE, 4096)
        if not part:
            sys.exit("the parent is gone")
        line += part
    request: dict[str, Any] = json.loads(line)
    return request


def confine(request: dict[str, Any]) -> None:
    """The child dies with its parent, stays off the real-time cores, has a memory limit and writes no core dump."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request["parent"]:
        sys.exit("the parent is gone")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, request["cpus"])
    memory = request["memory_mb"] << 20
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # a core dump would contain the pictures
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
