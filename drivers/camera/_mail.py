"""How a decoding child hands pictures to its parent: slots of shared memory, and two pipes that say who owns a slot.

The mail pipe carries one MESSAGE per picture to the parent, the order pipe one byte per slot back to the child. For the
newest picture only, the child takes an unread message back out of the mail pipe before it posts the next: the kernel gives
a message either to the parent or to the child, so a slot never has two owners. The parent returns its slot before it takes
the next message; so of three slots the child always owns one to fill, and neither side waits for the other. Where every
picture counts, the child takes nothing back and waits for a free slot.
"""

from __future__ import annotations

import struct

SLOTS = 3
MESSAGE = struct.Struct("<iiqq")  # kind, slot or length of the text that follows, sequence, t_capture
READY = b"\xff"  # the first order: the parent has its slots, the clock may start
TEXT_MAX = 1024  # a message with its text stays within PIPE_BUF, so that the pipe never splits it

PICTURE = 1
HELLO = 2  # the text is "width height rate_hz"; the memory now holds SLOTS pictures uint8 [height, width, 3]
END = 3  # the recording is over
FAULT = 4  # the text says what is wrong
MISSING = 5  # nothing there, or nobody answers


def lettered(kind: int, text: str) -> bytes:
    """A message that carries a text."""
    encoded = text.encode()[:TEXT_MAX]
    return MESSAGE.pack(kind, len(encoded), 0, 0) + encoded
