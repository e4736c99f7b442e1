"""The decoding child: reads a video file or network stream and sends its pictures to the parent.

It is a separate process because a hostile stream can crash the decoder; the parent then detects a closed pipe. It
imports little, to start fast. Run by `_child.py` with the numbers of the shared memory and the two ends of the message
pipe.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import cv2
import numpy as np

from drivers.camera import _decode_protocol as protocol
from drivers.camera._capture import Capture, Problem, check_complete, check_size, coded_alone, open_capture, period_s
from drivers.camera._confined import confine, read_request
from drivers.camera._names import utf8_name
from drivers.camera._picture_sender import PictureSender

LAG_LIMIT_S = 2.0  # a box this far behind the recorded time will not catch up
GAP_LIMIT_S = 3600.0  # a longer pause between two pictures is a wrong time stamp
BACKLOG_S = 1.0  # pictures that wait when a live stream is open have been decoded by then


class Backlog:
    """Pictures that arrived while a live stream was opened: they come faster than the camera takes them.

    Decoded, as later ones build on them, but not shown: they are older than their arrival says.
    """

    def __init__(self, period_s: float) -> None:
        self.half_period_ns = period_s * 5e8
        self.t_newest = time.monotonic_ns()
        self.t_end = self.t_newest + BACKLOG_S * 1e9

    def includes(self, arrival: int) -> bool:
        waited, self.t_newest = arrival - self.t_newest, arrival
        return waited < self.half_period_ns and arrival < self.t_end


class Player:
    """Plays the source once or, with `loop`, again and again."""

    def __init__(self, request: dict[str, Any], sender: PictureSender) -> None:
        self.request, self.sender = request, sender
        self.pace = request["pace"]
        self.sequence = -1
        self.position_ms = 0.0  # of the newest picture, in the source's own time
        self.film_s = 0.0  # time in the recording, loops included

    def run(self) -> None:
        while True:
            first = self.sequence
            self._play(open_capture(self.request))
            check_complete(self.sequence - first, self.request)
            if not self.request["loop"]:
                return

    def _play(self, capture: Capture) -> None:
        self.offset_s: float | None = None
        self.period_s = period_s(capture)
        waiting = Backlog(self.period_s) if self.pace == "live" else None
        while capture.grab():
            arrival = time.monotonic_ns()
            if waiting and waiting.includes(arrival):
                continue
            waiting = None
            if not self.sender.slots:
                self._announce(capture)
            self._count(capture)
            self._send(capture, self._stamp(capture, arrival))

    def _send(self, capture: Capture, t_capture: int) -> None:
        slot = self.sender.take_slot()
        if not self._fill(capture, slot):
            self.sender.free.append(slot)
            return
        kind = protocol.PICTURE if coded_alone(capture) else protocol.DELTA
        self.sender.send(kind, slot, self.sequence, t_capture)

    def _count(self, capture: Capture) -> None:
        """A live picture whose time does not advance is the one before, sent again."""
        position_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        repeated = self.pace == "live" and position_ms == self.position_ms > 0
        self.position_ms = position_ms
        self.sequence += not repeated

    def _announce(self, capture: Capture) -> None:
        decoded, picture = capture.retrieve()
        if not decoded:
            raise Problem(protocol.FAULT, "its first picture does not decode")
        check_size(picture.shape[1], picture.shape[0], self.request["max_pixels"])
        self.sender.announce(picture.shape[1], picture.shape[0], 1 / self.period_s)
        self.start = time.monotonic_ns()

    def _fill(self, capture: Capture, slot: int) -> bool:
        """False for a damaged picture, which counts as lost."""
        target = self.sender.slots[slot]
        decoded, picture = capture.retrieve(target)
        if not decoded:
            return False
        if picture.shape != target.shape:
            raise Problem(protocol.FAULT, f"changes its picture size after {self.sequence} frames")
        # OpenCV decodes into the slot, except where it turns the picture upright
        if picture is not target:
            np.copyto(target, picture)
        return True

    def _stamp(self, capture: Capture, arrival: int) -> int:
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
            if ahead_s * 1000 > self.request["timeout_ms"] / 2:
                self.sender.announce_pause(due)
            time.sleep(max(0.0, ahead_s))
        return due

    def _advance(self, position_s: float) -> None:
        """Advances film_s to this picture; by one period where the time stamp goes backwards, repeats or jumps."""
        if self.offset_s is None:
            follows_s = self.film_s + self.period_s if self.sequence > 0 else 0.0
            self.offset_s = follows_s - position_s
        film_s = self.offset_s + position_s
        if self.sequence > 0 and not self.film_s < film_s < self.film_s + GAP_LIMIT_S:
            film_s = self.film_s + self.period_s
        self.film_s = film_s


def main(memory: int, inbox: int, outbox: int) -> None:
    request = read_request()
    confine(request)
    try:
        request["source"] = utf8_name(request["source"])
        Player(request, PictureSender(memory, inbox, outbox, request["pace"] != "fast")).run()
        os.write(outbox, protocol.pack_text(protocol.END, ""))
    except Problem as problem:
        os.write(outbox, protocol.pack_text(*problem.args))
    except MemoryError:
        os.write(outbox, protocol.pack_text(protocol.FAULT, "needs more memory than memory_mb"))
    except OSError as error:
        os.write(outbox, protocol.pack_text(protocol.MISSING, f"cannot be read: {error.strerror}"))
    except cv2.error as error:
        os.write(outbox, protocol.pack_text(protocol.FAULT, f"does not decode: {error.err}"))


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:4]))
