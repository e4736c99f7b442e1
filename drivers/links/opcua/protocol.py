"""The OPC UA TCP connection with bounds: asyncua's own receive buffer has none."""

from __future__ import annotations

from collections.abc import Callable

from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.common.connection import TransportLimits
from asyncua.crypto.security_policies import SecurityPolicy

MAX_MESSAGE = 1 << 20  # the answer to any request of these drivers is far smaller
MAX_CHUNKS = 64
SEND_CHUNK = 8192  # OPC 10000-6, 7.1.2.3: every server accepts chunks of this size
HEADER = 8  # OPC 10000-6, 7.1.2.2: message type (3), chunk type (1), size with this header (4, little-endian)
MIN_SIZE = 16  # of the shortest message that a server sends: an error without a text
TYPES = (b"ACK", b"ERR", b"OPN", b"MSG")


class Protocol(UASocketProtocol):
    """invalid: why what the peer sent is no OPC UA; empty so far."""

    def __init__(self, timeout_s: float, policy: SecurityPolicy, ended: Callable[[], None]) -> None:
        super().__init__(timeout_s, policy, TransportLimits(MAX_MESSAGE, SEND_CHUNK, MAX_CHUNKS, MAX_MESSAGE))
        self.pending = bytearray()
        self.invalid = ""
        self.ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self.pending.clear()
        super().connection_lost(exc)
        self.ended()

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while not self._closing() and (chunk := self._next_chunk()):
            self._process_received_data(chunk)
            if self._closing() and not chunk.startswith(b"ERR"):
                self.invalid = self.invalid or "a message that cannot be read"

    def _closing(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def _next_chunk(self) -> bytes:
        """The oldest whole chunk; empty where it is not complete yet, or is none."""
        if len(self.pending) < HEADER:
            return b""
        size = int.from_bytes(self.pending[4:HEADER], "little")
        if bytes(self.pending[:3]) not in TYPES or self.pending[3] not in b"FCA":
            return self._reject("a message of unknown type")
        if not MIN_SIZE <= size <= MAX_MESSAGE:
            return self._reject(f"a chunk of {size} bytes")
        if len(self.pending) < size:
            return b""
        chunk = bytes(self.pending[:size])
        del self.pending[:size]
        return chunk

    def _reject(self, reason: str) -> bytes:
        self.invalid = reason
        self.pending.clear()
        if self.transport is not None:
            self.transport.abort()
        return b""


class Transport(UaClient):
    """Makes that protocol."""

    def __init__(self, timeout_s: float, ended: Callable[[], None]) -> None:
        super().__init__(timeout_s)
        self.ended = ended

    def _make_protocol(self) -> UASocketProtocol:
        self.protocol = Protocol(self._timeout, self.security_policy, self.ended)
        self.protocol.on_connection_lost = self._on_transport_lost
        return self.protocol


def make_client(url: str, timeout_s: float, ended: Callable[[], None]) -> Client:
    """A client that neither reconnects nor repeats: its `connect`, which starts such tasks, is not used."""
    client = Client(url, timeout_s)
    client.uaclient = Transport(timeout_s, ended)
    client.max_messagesize, client.max_chunkcount = MAX_MESSAGE, MAX_CHUNKS
    client.name = client.description = "reflexd"
    return client
