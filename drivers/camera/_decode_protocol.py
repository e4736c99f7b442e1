"""How a decoding child hands pictures to its parent: slots of shared memory, and two pipes that pass their ownership.

The message pipe carries one MESSAGE per picture to the parent, the return pipe one byte per free slot back to the
child. For the newest picture only, the child reads an unread message back out of the message pipe before it sends the
next: the kernel gives a message either to the parent or to the child, so a slot never has two owners. The parent
returns its slot before it receives the next message; so of three slots the child always owns one to fill, and neither
side waits for the other. Where every picture counts, the child reads nothing back and waits for a free slot.
"""

from __future__ import annotations

import struct

SLOTS = 3
MESSAGE = struct.Struct("<iiqq")  # kind, slot or length of the text that follows, sequence, t_capture
READY = b"\xff"  # the first byte in the return pipe: the parent has mapped the slots, the clock may start
TEXT_MAX = 1024  # a message with its text fits in PIPE_BUF, so that the pipe never splits it

PICTURE = 1
HELLO = 2  # the text is "width height rate_hz"; the memory now holds SLOTS pictures uint8 [height, width, channels]
END = 3  # the recording is at its end
FAULT = 4  # the text says what is wrong
MISSING = 5  # not there, or does not answer
PAUSE = 7  # no picture before t_capture: in the recording, too, there is none
DELTA = 6  # a picture, coded by its difference from others: it may repeat the one before for good reasons


def pack_text(kind: int, text: str) -> bytes:
    """A message with a text."""
    encoded = text.encode()[:TEXT_MAX]
    return MESSAGE.pack(kind, len(encoded), 0, 0) + encoded
