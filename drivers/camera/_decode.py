"""The decoding child: reads a video file or network stream and posts its pictures to the parent.

It is a process of its own because a hostile stream can abort the decoder; the parent then sees a closed pipe. It imports
little, to start fast. Run by `_child.py` with the numbers of the shared memory and the two ends of the mail pipe; the
request comes as one line of JSON on standard input, since a url on the command line would show its password to everybody.
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

from drivers.camera import _mail as mail

ORDERS = 0  # the order pipe is standard input
PR_SET_PDEATHSIG = 1
LAG_LIMIT_S = 2.0  # a box this far behind the recorded time does not catch up any more
GAP_LIMIT_S = 3600.0  # a longer pause between two pictures is a broken time stamp


class Problem(Exception):
    """Ends the child and is told to the parent: kind of message, text."""


class Post:
    """The child's side of the mail."""

    def __init__(self, memory: int, inbox: int, outbox: int, newest_only: bool) -> None:
        self.memory, self.inbox, self.outbox = memory, inbox, outbox
        self.newest_only = newest_only
        self.free = list(range(mail.SLOTS))
        self.slots: list[Any] = []

    def _introduce(self, width: int, height: int, rate_hz: float) -> None:
        """Makes the slots, says hello and waits until the parent is ready."""
        size = width * height * 3
        os.ftruncate(self.memory, size * mail.SLOTS)
        shared = mmap.mmap(self.memory, size * mail.SLOTS)
        self.slots = [np.ndarray((height, width, 3), np.uint8, shared, slot * size) for slot in range(mail.SLOTS)]
        os.write(self.outbox, mail.lettered(mail.HELLO, f"{width} {height} {rate_hz}"))
        self._orders(len(mail.READY))

    def _take_slot(self) -> int:
        """A slot to fill. Waits for one where every picture counts."""
        if not self.free:
            self.free.extend(self._orders(mail.SLOTS))
        return self.free.pop()

    def send(self, slot: int, sequence: int, t_capture: int) -> None:
        if self.newest_only:
            self._take_back()
        os.write(self.outbox, mail.MESSAGE.pack(mail.PICTURE, slot, sequence, t_capture))

    def _take_back(self) -> None:
        try:
            unread = os.read(self.inbox, mail.MESSAGE.size)
        except BlockingIOError:
            return
        self.free.append(mail.MESSAGE.unpack(unread)[1])

    def _orders(self, most: int) -> bytes:
        orders = os.read(ORDERS, most)
        if not orders:
            sys.exit("the parent is gone")
        return orders


class Player:
    """Plays the source once or, for a recording on loop, without end."""

    def __init__(self, request: dict[str, Any], post: Post) -> None:
        self.request, self.post = request, post
        self.pace = request["pace"]
        self.sequence = 0
        self.film_s = 0.0  # time in the recording, loops included

    def run(self) -> None:
        while True:
            first = self.sequence
            capture = _opened(self.request)
            announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self._play(capture)
            _check_complete(self.sequence - first, announced)
            if not self.request["loop"]:
                return

    def _play(self, capture: cv2.VideoCapture) -> None:
        self.offset_s: float | None = None
        while capture.grab():
            arrival = time.monotonic_ns()
            if not self.post.slots:
                self._introduce(capture)
            slot = self.post._take_slot()
            self._fill(capture, slot)
            self.post.send(slot, self.sequence, self._stamp(capture, arrival))
            self.sequence += 1

    def _introduce(self, capture: cv2.VideoCapture) -> None:
        decoded, picture = capture.retrieve()
        if not decoded:
            raise Problem(mail.FAULT, "its first picture does not decode")
        _check_size(picture.shape[1], picture.shape[0], self.request["max_pixels"])
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        self.period_s = 1 / rate_hz if 0.01 < rate_hz < 1000 else 1 / 30
        self.post._introduce(picture.shape[1], picture.shape[0], 1 / self.period_s)
        self.start = time.monotonic_ns()

    def _fill(self, capture: cv2.VideoCapture, slot: int) -> None:
        wanted = self.post.slots[slot]
        decoded, picture = capture.retrieve(wanted)
        # OpenCV decodes into the slot, unless the picture has another size
        if not decoded or picture is not wanted:
            raise Problem(mail.FAULT, f"changes its picture size after {self.sequence} frames")

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
                    mail.FAULT, "decodes slower than it was recorded on this box: use a smaller one or pace fast"
                )
            time.sleep(max(0.0, ahead_s))
        return due

    def _advance(self, position_s: float) -> None:
        """Moves film_s on to this picture; one period where the time stamp goes backwards, stands or jumps."""
        if self.offset_s is None:
            follows_s = self.film_s + self.period_s if self.sequence else 0.0
            self.offset_s = follows_s - position_s
        film_s = self.offset_s + position_s
        if self.sequence and not self.film_s < film_s < self.film_s + GAP_LIMIT_S:
            film_s = self.film_s + self.period_s
        self.film_s = film_s


def _opened(request: dict[str, Any]) -> cv2.VideoCapture:
    """The capture, checked as far as its header goes."""
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(request["open_timeout_ms"]),
        cv2.CAP_PROP_N_THREADS,
        request["threads"],
    ]
    capture = cv2.VideoCapture(request["source"], cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        raise Problem(mail.MISSING if request["pace"] == "live" else mail.FAULT, request["closed"])
    _check_size(capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT), request["max_pixels"])
    return capture


def _check_size(width: float, height: float, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Problem(mail.FAULT, f"has pictures of {width:.0f}x{height:.0f}, more than max_pixels {max_pixels}")


def _check_complete(shown: int, announced: float) -> None:
    """A recording that was cut off ends early. Where the container has no count OpenCV guesses one, hence the hundredth."""
    if shown == 0:
        raise Problem(mail.FAULT, "holds no picture that decodes")
    if 0 < announced < 1e9 and shown < announced - announced // 100 - 1:
        raise Problem(mail.FAULT, f"is cut off: {shown} of {announced:.0f} frames")


def _confine(request: dict[str, Any]) -> None:
    """The child dies with its parent, keeps off the real-time cores, and can neither eat the memory nor dump it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request["parent"]:
        sys.exit("the parent is gone")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, request["cpus"])
    memory = request["memory_mb"] << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # a core dump would hold the pictures
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read_request() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(ORDERS, 4096)
        if not part:
            sys.exit("the parent is gone")
        line += part
    request: dict[str, Any] = json.loads(line)
    return request


def main(memory: int, inbox: int, outbox: int) -> None:
    request = _read_request()
    _confine(request)
    try:
        Player(request, Post(memory, inbox, outbox, request["pace"] != "fast")).run()
        os.write(outbox, mail.lettered(mail.END, ""))
    except Problem as problem:
        os.write(outbox, mail.lettered(*problem.args))
    except MemoryError:
        os.write(outbox, mail.lettered(mail.FAULT, "needs more memory than memory_mb"))
    except cv2.error as error:
        os.write(outbox, mail.lettered(mail.FAULT, f"does not decode: {error.err}"))


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:4]))
