"""The decoding child: reads a video file or network stream and sends its pictures to the parent.

It is a separate process because a hostile stream can crash the decoder; the parent then detects a closed pipe. It
imports little, to start fast. Run by `_child.py` with the numbers of the shared memory and the two ends of the message
pipe; the request comes as one line of JSON on standard input, since a url on the command line would show its password
to every user.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import sys
import time
from typing import Any

import cv2
import numpy as np

from drivers.camera import _decode_protocol as protocol

RETURN_PIPE = 0  # standard input
PR_SET_PDEATHSIG = 1
LAG_LIMIT_S = 2.0  # a box this far behind the recorded time will not catch up
GAP_LIMIT_S = 3600.0  # a longer pause between two pictures is a wrong time stamp


class Problem(Exception):
    """Ends the child and is sent to the parent: kind of message, text."""


class PictureSender:
    """The child's side of the protocol: fills slots and sends them to the parent."""

    def __init__(self, memory: int, inbox: int, outbox: int, newest_only: bool) -> None:
        self.memory, self.inbox, self.outbox = memory, inbox, outbox
        self.newest_only = newest_only
        self.free = list(range(protocol.SLOTS))
        self.slots: list[Any] = []

    def _announce(self, width: int, height: int, rate_hz: float) -> None:
        """Makes the slots, sends HELLO and waits until the parent is ready."""
        size = width * height * 3
        os.ftruncate(self.memory, size * protocol.SLOTS)
        shared = mmap.mmap(self.memory, size * protocol.SLOTS)
        self.slots = [np.ndarray((height, width, 3), np.uint8, shared, slot * size) for slot in range(protocol.SLOTS)]
        os.write(self.outbox, protocol.pack_text(protocol.HELLO, f"{width} {height} {rate_hz}"))
        self._read_returned(len(protocol.READY))

    def _take_slot(self) -> int:
        """A slot to fill. Waits for one where every picture counts."""
        if not self.free:
            self.free.extend(self._read_returned(protocol.SLOTS))
        return self.free.pop()

    def send(self, slot: int, sequence: int, t_capture: int) -> None:
        if self.newest_only:
            self._recall_unread()
        os.write(self.outbox, protocol.MESSAGE.pack(protocol.PICTURE, slot, sequence, t_capture))

    def _recall_unread(self) -> None:
        try:
            unread = os.read(self.inbox, protocol.MESSAGE.size)
        except BlockingIOError:
            return
        self.free.append(protocol.MESSAGE.unpack(unread)[1])

    def _read_returned(self, max_bytes: int) -> bytes:
        returned = os.read(RETURN_PIPE, max_bytes)
        if not returned:
            sys.exit("the parent is gone")
        return returned


class Player:
    """Plays the source once or, with `loop`, again and again."""

    def __init__(self, request: dict[str, Any], sender: PictureSender) -> None:
        self.request, self.sender = request, sender
        self.pace = request["pace"]
        self.sequence = 0
        self.film_s = 0.0  # time in the recording, loops included

    def run(self) -> None:
        while True:
            first = self.sequence
            capture = _open_capture(self.request)
            announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self._play(capture)
            _check_complete(self.sequence - first, announced)
            if not self.request["loop"]:
                return

    def _play(self, capture: cv2.VideoCapture) -> None:
        self.offset_s: float | None = None
        while capture.grab():
            arrival = time.monotonic_ns()
            if not self.sender.slots:
                self._announce(capture)
            slot = self.sender._take_slot()
            self._fill(capture, slot)
            self.sender.send(slot, self.sequence, self._stamp(capture, arrival))
            self.sequence += 1

    def _announce(self, capture: cv2.VideoCapture) -> None:
        decoded, picture = capture.retrieve()
        if not decoded:
            raise Problem(protocol.FAULT, "its first picture does not decode")
        _check_size(picture.shape[1], picture.shape[0], self.request["max_pixels"])
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        self.period_s = 1 / rate_hz if 0.01 < rate_hz < 1000 else 1 / 30
        self.sender._announce(picture.shape[1], picture.shape[0], 1 / self.period_s)
        self.start = time.monotonic_ns()

    def _fill(self, capture: cv2.VideoCapture, slot: int) -> None:
        target = self.sender.slots[slot]
        decoded, picture = capture.retrieve(target)
        # OpenCV decodes into the slot, unless the picture has another size
        if not decoded or picture is not target:
            raise Problem(protocol.FAULT, f"changes its picture size after {self.sequence} frames")

    def _stamp(self, capture: cv2.VideoCapture, arrival: int) -> int:
        """When the picture was captured; for a recording at its pace, waits until then."""
        if self.pace == "live":
            return arrival
        self._advance(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        due = self.start + int(self.film_s * 1e9)
        if self.pace == "recorded":
            ahead_s = (due - time.monotonic_ns()) / 1e9
            if ahead_s < -LAG_LIMIT_S:
                raise Problem(
                    protocol.FAULT, "decodes slower than real time on this box: use a smaller recording or 'pace: fast'"
                )
            time.sleep(max(0.0, ahead_s))
        return due

    def _advance(self, position_s: float) -> None:
        """Advances film_s to this picture; by one period where the time stamp goes backwards, repeats or jumps."""
        if self.offset_s is None:
            follows_s = self.film_s + self.period_s if self.sequence else 0.0
            self.offset_s = follows_s - position_s
        film_s = self.offset_s + position_s
        if self.sequence and not self.film_s < film_s < self.film_s + GAP_LIMIT_S:
            film_s = self.film_s + self.period_s
        self.film_s = film_s


def _open_capture(request: dict[str, Any]) -> cv2.VideoCapture:
    """The opened source, its header checked."""
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(request["open_timeout_ms"]),
        cv2.CAP_PROP_N_THREADS,
        request["threads"],
    ]
    capture = cv2.VideoCapture(request["source"], cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        raise Problem(protocol.MISSING if request["pace"] == "live" else protocol.FAULT, request["open_failure"])
    _check_size(capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT), request["max_pixels"])
    return capture


def _check_size(width: float, height: float, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Problem(protocol.FAULT, f"has pictures of {width:.0f}x{height:.0f}, more than max_pixels {max_pixels}")


def _check_complete(shown: int, announced: float) -> None:
    """Detects a recording that was cut off. Without a count in the container OpenCV estimates it: hence the 1 %."""
    if shown == 0:
        raise Problem(protocol.FAULT, "holds no picture that decodes")
    if 0 < announced < 1e9 and shown < announced - announced // 100 - 1:
        raise Problem(protocol.FAULT, f"is cut off: {shown} of {announced:.0f} frames")


def _confine(request: dict[str, Any]) -> None:
    """The child dies with its parent, stays off the real-time cores, has a memory limit and writes no core dump."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request["parent"]:
        sys.exit("the parent is gone")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, request["cpus"])
    memory = request["memory_mb"] << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # a core dump would contain the pictures
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read_request() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(RETURN_PIPE, 4096)
        if not part:
            sys.exit("the parent is gone")
        line += part
    request: dict[str, Any] = json.loads(line)
    return request


def main(memory: int, inbox: int, outbox: int) -> None:
    request = _read_request()
    _confine(request)
    try:
        Player(request, PictureSender(memory, inbox, outbox, request["pace"] != "fast")).run()
        os.write(outbox, protocol.pack_text(protocol.END, ""))
    except Problem as problem:
        os.write(outbox, protocol.pack_text(*problem.args))
    except MemoryError:
        os.write(outbox, protocol.pack_text(protocol.FAULT, "needs more memory than memory_mb"))
    except cv2.error as error:
        os.write(outbox, protocol.pack_text(protocol.FAULT, f"does not decode: {error.err}"))


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:4]))
