"""The child that runs a GStreamer pipeline and sends its pictures to the parent.

A separate process, because a plugin or a hostile stream can crash it. Run by `_child.py` as `_decode.py` is.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from drivers.camera import _decode_protocol as protocol
from drivers.camera._confined import confine, read_request
from drivers.camera._gst import Failure, Picture, Pipeline
from drivers.camera._picture_sender import PictureSender

SINK = "reflexd_sink"
WAIT_NS = 50_000_000
CLOCK_LIMIT_S = 10.0  # a stamp so far from now is of another clock
FALLBACK_HZ = 30.0  # where the caps say no rate


class Problem(Exception):
    """Ends the child and is sent to the parent."""

    def __init__(self, kind: int, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


class Player:
    """Sends each picture of a running pipeline."""

    def __init__(self, request: dict[str, Any], pipeline: Pipeline, sender: PictureSender) -> None:
        self.request, self.pipeline, self.sender = request, pipeline, sender
        self.channels: int = request["channels"]
        self.sequence, self.t_newest = -1, -1
        self.size = 0, 0

    def run(self) -> None:
        while True:
            picture = self.pipeline.pull(WAIT_NS)
            if picture is None:
                if not self.pipeline.check():
                    return
                continue
            try:
                self._show(picture, time.monotonic_ns())
            finally:
                self.pipeline.free(picture)

    def _show(self, picture: Picture, arrival: int) -> None:
        if not self.sender.slots:
            self._announce(picture)
        if (picture.width, picture.height) != self.size:
            raise Problem(protocol.FAULT, f"changes its picture size after {self.sequence + 1} frames")
        t_capture = self._stamp(picture, arrival)
        # a live picture whose time does not advance is the one before, sent again
        self.sequence += t_capture > self.t_newest
        self.t_newest = max(t_capture, self.t_newest)
        if not picture.damaged:
            self._send(picture, t_capture)

    def _announce(self, picture: Picture) -> None:
        width, height = self.size = picture.width, picture.height
        if not 0 < width * height <= self.request["max_pixels"]:
            limit = self.request["max_pixels"]
            raise Problem(protocol.FAULT, f"has pictures of {width}x{height}, more than max_pixels {limit}")
        self.stamped = self.request["stamp"] == "buffer" and self.pipeline.is_live()
        self.kind = protocol.DELTA if self.pipeline.decodes_video() else protocol.PICTURE
        self.sender.announce(width, height, picture.rate_hz or FALLBACK_HZ, self.channels)

    def _send(self, picture: Picture, t_capture: int) -> None:
        slot = self.sender.take_slot()
        if self.pipeline.copy(picture, self.sender.slots[slot]):
            self.sender.send(self.kind, slot, self.sequence, t_capture)
        else:
            raise Problem(protocol.FAULT, "has a buffer smaller than its picture")

    def _stamp(self, picture: Picture, arrival: int) -> int:
        """ns: the buffer's time, which counts from the base time, of a live source; else its arrival."""
        if not self.stamped or picture.t_running < 0:
            return arrival
        stamp = self.pipeline.base_time() + picture.t_running
        if abs(stamp - arrival) > CLOCK_LIMIT_S * 1e9:
            offset = f"{(stamp - arrival) / 1e9:+.0f} s"
            raise Problem(protocol.FAULT, f"stamps its pictures {offset} from now: set 'stamp: arrival'")
        # some sources stamp the end of a picture that is still being transmitted
        return min(stamp, arrival)


def play(request: dict[str, Any], sender: PictureSender) -> None:
    """Until the stream ends. Raises Failure, Problem; SystemExit on SIGTERM, the device then released."""
    pipeline = Pipeline(request["source"], SINK)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        pipeline.start()
        Player(request, pipeline, sender).run()
    finally:
        pipeline.stop()


def ending(request: dict[str, Any], sender: PictureSender) -> tuple[int, str]:
    """Plays; the kind and text of the last message."""
    try:
        play(request, sender)
    except Failure as failure:
        return protocol.MISSING if failure.resource else protocol.FAULT, f"fails: {failure}"
    except Problem as problem:
        return problem.kind, problem.text
    except MemoryError:
        return protocol.FAULT, "needs more memory than memory_mb"
    except OSError as error:
        return protocol.FAULT, f"cannot be read: {error.strerror}"
    return protocol.END, ""


def main(memory: int, inbox: int, outbox: int) -> None:
    request = read_request()
    confine(request)
    os.write(outbox, protocol.pack_text(*ending(request, PictureSender(memory, inbox, outbox, newest_only=True))))


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:4]))
