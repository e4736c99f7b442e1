"""The decoding child's side of the protocol in `_decode_protocol.py`."""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from drivers.camera import _decode_protocol as protocol

RETURN_PIPE = 0  # standard input


class PictureSender:
    """The child's side of the protocol: fills slots and sends them to the parent."""

    def __init__(self, memory: int, inbox: int, outbox: int, newest_only: bool) -> None:
        self.memory, self.inbox, self.outbox = memory, inbox, outbox
        self.newest_only = newest_only
        self.free = list(range(protocol.SLOTS))
        self.slots: list[Any] = []

    def announce(self, width: int, height: int, rate_hz: float, channels: int = 3) -> None:
        """Makes the slots, sends HELLO and waits until the parent is ready."""
        shape = height, width, channels
        size = width * height * channels
        os.ftruncate(self.memory, size * protocol.SLOTS)
        shared = mmap.mmap(self.memory, size * protocol.SLOTS)
        self.slots = [np.ndarray(shape, np.uint8, shared, slot * size) for slot in range(protocol.SLOTS)]
        os.write(self.outbox, protocol.pack_text(protocol.HELLO, f"{width} {height} {rate_hz}"))
        self._read_returned(len(protocol.READY))

    def take_slot(self) -> int:
        """A slot to fill. Waits for one where every picture counts."""
        if not self.free:
            self.free.extend(self._read_returned(protocol.SLOTS))
        return self.free.pop()

    def send(self, kind: int, slot: int, sequence: int, t_capture: int) -> None:
        if self.newest_only:
            self._recall_unread()
        os.write(self.outbox, protocol.MESSAGE.pack(kind, slot, sequence, t_capture))

    def announce_pause(self, due: int) -> None:
        """No picture before that time, ns: behind one that is unread, which stays."""
        os.write(self.outbox, protocol.MESSAGE.pack(protocol.PAUSE, 0, 0, due))

    def _recall_unread(self) -> None:
        with suppress(BlockingIOError):
            while True:
                kind, slot, *_ = protocol.MESSAGE.unpack(os.read(self.inbox, protocol.MESSAGE.size))
                if kind != protocol.PAUSE:
                    self.free.append(slot)

    def _read_returned(self, max_bytes: int) -> bytes:
        returned = os.read(RETURN_PIPE, max_bytes)
        if not returned:
            sys.exit("the parent is gone")
        return returned
