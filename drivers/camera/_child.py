"""The parent's side of the decoding child: starts it, receives its pictures, and survives its crash."""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from agent.isolated import python, sacrifice
from drivers.camera import _decode_protocol as protocol

ROOT = Path(__file__).parents[2]
QUIET = {
    # the decoders' log may contain the url; errors arrive as messages
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # numpy's idle threads count against the address space
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class Message(NamedTuple):
    """One entry of the message pipe; text only where kind is not PICTURE or DELTA."""

    kind: int
    slot: int
    sequence: int
    t_capture: int
    text: str = ""


class ChildDied(Exception):
    """The child ended without a message. The text has the cause."""


class Child:
    """One decoding child from start to stop. program: the module that it runs; environment: what is added to ours."""

    def __init__(self, request: Mapping[str, Any], program: str, environment: Mapping[str, str]) -> None:
        self.memory = os.memfd_create("reflexd-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.inbox, outbox = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.slots: list[Array] = []
        self.held = -1
        try:
            self.process = self._spawn(outbox, program, environment)
        except OSError:
            os.close(self.memory)
            os.close(self.inbox)
            raise
        finally:
            os.close(outbox)
        self.poller = select.poll()
        self.poller.register(self.inbox, select.POLLIN)
        # the cores of the main thread: those of the lane, whose thread this is, may be reserved
        limits = {"parent": os.getpid(), "cpus": sorted(os.sched_getaffinity(os.getpid()))}
        self._write(json.dumps({**request, **limits}).encode() + b"\n")

    def wait(self, wait_s: float) -> None:
        """Until there is a message or the child is gone, at most wait_s."""
        self.poller.poll(wait_s * 1000)

    def receive(self) -> Message | None:
        """The next message, None when there is none yet. Raises ChildDied."""
        self._return_slot()
        try:
            header = os.read(self.inbox, protocol.MESSAGE.size)
        except BlockingIOError:
            return None
        if len(header) < protocol.MESSAGE.size:
            raise ChildDied(self._cause())
        message = Message(*protocol.MESSAGE.unpack(header))
        if message.kind in (protocol.PICTURE, protocol.DELTA):
            self.held = message.slot
            return message
        return message._replace(text=os.read(self.inbox, message.slot).decode("utf-8", "replace"))

    def accept(self, shape: tuple[int, ...]) -> None:
        """Maps the slots for pictures of this shape and lets the child start. Raises ValueError."""
        # a faulty child must not truncate the memory: touching it would then kill this process
        fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        size = math.prod(shape)
        if size <= 0 or os.fstat(self.memory).st_size != size * protocol.SLOTS:
            raise ValueError("the decoder announced one picture size and has another")
        shared = mmap.mmap(self.memory, size * protocol.SLOTS, mmap.MAP_SHARED, mmap.PROT_READ)
        self.slots = [np.ndarray(shape, np.uint8, shared, slot * size) for slot in range(protocol.SLOTS)]
        self._write(protocol.READY)

    def stop(self, patience_s: float = 0.0) -> None:
        """patience_s: how long it may take to release its device itself."""
        if patience_s:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
        self.process.kill()
        assert self.process.stdin is not None
        self.process.stdin.close()
        os.close(self.inbox)
        os.close(self.memory)
        # do not wait for a child that hangs in the kernel, on a lost network disk
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)

    def _spawn(self, outbox: int, program: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        pipes = (self.memory, self.inbox, outbox)
        child = subprocess.Popen(
            python(program, *map(str, pipes)),
            bufsize=0,
            cwd=ROOT,
            pass_fds=pipes,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **QUIET, **environment},
        )
        sacrifice(child.pid)
        return child

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        # a dead child is reported when the message pipe is read
        with suppress(BrokenPipeError):
            self.process.stdin.write(data)

    def _return_slot(self) -> None:
        if self.held >= 0:
            self._write(bytes((self.held,)))
            self.held = -1

    def _cause(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            status = self.process.wait(1.0)
            return f"died of {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        return "closed its pipe"
