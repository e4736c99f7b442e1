"""The parent's side of the decoding child: starts it, takes its pictures, and survives its death."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from drivers.camera import _mail as mail

ROOT = Path(__file__).parents[2]
QUIET = {
    # the decoders' chatter may name the url; what matters comes as a message
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # numpy's idle threads count against the address space
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class Message(NamedTuple):
    kind: int
    slot: int
    sequence: int
    t_capture: int
    text: str = ""


class Died(Exception):
    """The child is gone without a word. The text says of what."""


class Child:
    """One decoding child from start to stop. ffmpeg: options in OpenCV's spelling, "key;value|key;value"."""

    def __init__(self, request: Mapping[str, Any], ffmpeg: str) -> None:
        self.memory = os.memfd_create("reflexd-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.inbox, outbox = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.slots: list[Array] = []
        self.held = -1
        try:
            self.process = self._spawn(outbox, ffmpeg)
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
        self._order(json.dumps({**request, **limits}).encode() + b"\n")

    def wait(self, wait_s: float) -> None:
        """Until there is a message or the child is gone, at most wait_s."""
        self.poller.poll(wait_s * 1000)

    def receive(self) -> Message | None:
        """The next message, None when there is none yet. Raises Died."""
        self._give_back()
        try:
            header = os.read(self.inbox, mail.MESSAGE.size)
        except BlockingIOError:
            return None
        if len(header) < mail.MESSAGE.size:
            raise Died(self._cause())
        message = Message(*mail.MESSAGE.unpack(header))
        if message.kind == mail.PICTURE:
            self.held = message.slot
            return message
        return message._replace(text=os.read(self.inbox, message.slot).decode("utf-8", "replace"))

    def accept(self, width: int, height: int) -> None:
        """Maps the slots and lets the child begin. Raises ValueError where the memory is not what was announced."""
        # a child gone wrong must not pull the memory away: touching it would then kill this process
        fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        size = width * height * 3
        if size <= 0 or os.fstat(self.memory).st_size != size * mail.SLOTS:
            raise ValueError("the decoder announced another picture size than it has")
        shared = mmap.mmap(self.memory, size * mail.SLOTS, mmap.MAP_SHARED, mmap.PROT_READ)
        self.slots = [np.ndarray((height, width, 3), np.uint8, shared, slot * size) for slot in range(mail.SLOTS)]
        self._order(mail.READY)

    def stop(self) -> None:
        self.process.kill()
        assert self.process.stdin is not None
        self.process.stdin.close()
        os.close(self.inbox)
        os.close(self.memory)
        # one that hangs in the kernel, on a lost network disk, is not waited for
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)

    def _spawn(self, outbox: int, ffmpeg: str) -> subprocess.Popen[bytes]:
        pipes = (self.memory, self.inbox, outbox)
        return subprocess.Popen(
            [sys.executable, "-m", "drivers.camera._decode", *map(str, pipes)],
            bufsize=0,
            cwd=ROOT,
            pass_fds=pipes,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **QUIET, "OPENCV_FFMPEG_CAPTURE_OPTIONS": ffmpeg},
        )

    def _order(self, order: bytes) -> None:
        assert self.process.stdin is not None
        # of a dead child the mail pipe tells
        with suppress(BrokenPipeError):
            self.process.stdin.write(order)

    def _give_back(self) -> None:
        if self.held >= 0:
            self._order(bytes((self.held,)))
            self.held = -1

    def _cause(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            status = self.process.wait(1.0)
            return f"died of {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        return "closed its pipe"
