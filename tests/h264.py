"""A small H.264 stream for tests: key frames without compression, and pictures that repeat or replace the one before.

Baseline profile, CAVLC (ITU-T H.264); sizes in macroblocks of 16 x 16 pixels.
"""

from __future__ import annotations

import base64
import struct

import numpy as np

from tests.test_camera import HEIGHT, WIDTH, numbered

COLUMNS, ROWS = WIDTH // 16, HEIGHT // 16
BLACK, WHITE, NO_COLOUR = 16, 235, bytes([128]) * 128


class Bits:
    """Written most significant first."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, value: int, bits: int = 1) -> Bits:
        self.text += format(value, f"0{bits}b")
        return self

    def ue(self, *values: int) -> Bits:
        """Exponential Golomb codes; that of 0 is also the signed one of 0."""
        for value in values:
            code = format(value + 1, "b")
            self.text += "0" * (len(code) - 1) + code
        return self

    def aligned(self, content: bytes) -> Bits:
        self.text += "0" * (-len(self.text) % 8) + "".join(format(byte, "08b") for byte in content)
        return self

    def nal(self, header: int) -> bytes:
        """With the stop bit, and without a false start code."""
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        payload = int(text, 2).to_bytes(len(text) // 8, "big")
        escaped, zeros = bytearray([header]), 0
        for byte in payload:
            if zeros >= 2 and byte <= 3:
                escaped.append(3)
                zeros = 0
            escaped.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return bytes(escaped)


SPS = Bits().u(66, 8).u(0xC0, 8).u(30, 8).ue(0, 0, 2, 1).u(0).ue(COLUMNS - 1, ROWS - 1).u(1).u(1).u(0).u(0).nal(0x67)
PPS = Bits().ue(0, 0).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(1).u(0, 2).nal(0x68)
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets="
    f"{base64.b64encode(SPS).decode()},{base64.b64encode(PPS).decode()}\r\na=control:track0\r\n"
)


def key(number: int) -> bytes:
    """The picture of this number, coded alone."""
    head = Bits().ue(0, 7, 0).u(0, 4).ue(0).u(0, 2).ue(0, 1)
    return _blocks(head, number, [25]).nal(0x65)


def change(number: int, frame: int) -> bytes:
    """The same as a change of the picture before. frame: pictures since the key frame."""
    return _blocks(_delta(frame), number, [0, 30]).nal(0x41)


def repeat(frame: int) -> bytes:
    """The picture before, once more: no block has changed."""
    return _delta(frame).ue(COLUMNS * ROWS).nal(0x41)


def _delta(frame: int) -> Bits:
    return Bits().ue(0, 5, 0).u(frame % 16, 4).u(0, 3).ue(0, 1)


def _blocks(bits: Bits, number: int, prefix: list[int]) -> Bits:
    luma = np.where(numbered(number)[:, :, 0] > 127, WHITE, BLACK).astype(np.uint8)
    for row in range(ROWS):
        for column in range(COLUMNS):
            block = luma[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            bits.ue(*prefix).aligned(block.tobytes() + NO_COLOUR)
    return bits


def rtp(nal: bytes, number: int, t: int) -> bytes:
    """One RTP packet, the last of its picture. number: of the packet; t: of the picture, 1/90000 s."""
    return struct.pack(">BBHII", 0x80, 0x80 | 96, number & 0xFFFF, t & 0xFFFFFFFF, 7) + nal
