"""One kept HTTP connection, every step of which ends by a deadline: a server that sends a byte now and then, too."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from agent.open_inference.server import Away, Server, tls


class Answer(NamedTuple):
    """Of a server, whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Connection:
    """Used by one thread at a time. Proxies of the environment are not used: they would see what it carries."""

    def __init__(self, server: Server) -> None:
        """Raises OSError, ssl.SSLError for certificates that cannot be read."""
        self._server = server
        self._tls = tls(server) if server.encrypted else None
        self._socket: socket.socket | None = None
        self._addresses: list[Any] = []
        self._resolver: threading.Thread | None = None
        self._resolve()

    def exchange(
        self, method: str, path: str, headers: Mapping[str, object], body: bytes, deadline: int, limit: int
    ) -> Answer:
        """deadline: CLOCK_MONOTONIC ns. limit: bytes of the answer. Raises Away."""
        while True:
            kept = self._socket is not None
            try:
                return self._exchange(method, path, headers, body, deadline, limit)
            except (OSError, http.client.HTTPException) as error:
                closed = isinstance(error, (ConnectionError, http.client.BadStatusLine))
                if not (kept and closed):  # one that was kept may have been closed by the server meanwhile
                    raise Away(_reason(error)) from error

    def close(self) -> None:
        if self._socket:
            with suppress(OSError):
                self._socket.close()
        self._socket = None

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, object], body: bytes, deadline: int, limit: int
    ) -> Answer:
        try:
            if self._socket is None:
                self._socket = self._connected(deadline)
            self._socket.settimeout(_left_s(deadline))
            self._socket.sendall(self._head(method, path, headers, len(body)))
            self._socket.settimeout(_left_s(deadline))
            self._socket.sendall(body)
            answer, kept = _read(self._socket, method, deadline, limit)
        except BaseException:
            self.close()
            raise
        if not kept:
            self.close()
        return answer

    def _head(self, method: str, path: str, headers: Mapping[str, object], length: int) -> bytes:
        lines = {"Host": self._server.authority, "Content-Length": length, **headers}
        if self._server.token:
            lines["Authorization"] = f"Bearer {self._server.token}"
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode("ascii")

    def _connected(self, deadline: int) -> socket.socket:
        """Raises OSError."""
        failure: OSError = socket.gaierror(socket.EAI_NONAME, f"the name {self._server.host} has no address")
        for family, kind, protocol, _, address in self._addresses:
            plain = socket.socket(family, kind, protocol)
            try:
                plain.settimeout(_left_s(deadline))
                plain.connect(address)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                plain.settimeout(_left_s(deadline))
                return self._tls.wrap_socket(plain, server_hostname=self._server.host) if self._tls else plain
            except OSError as error:
                plain.close()
                failure = error
        self._resolve_later()
        raise failure

    def _resolve(self) -> None:
        with suppress(OSError, UnicodeError):
            self._addresses = socket.getaddrinfo(self._server.host, self._server.port, type=socket.SOCK_STREAM)

    def _resolve_later(self) -> None:
        """A name server may take seconds, which a lane does not have; the address may have changed."""
        if self._resolver is None or not self._resolver.is_alive():
            self._resolver = threading.Thread(target=self._resolve, daemon=True)
            self._resolver.start()


class _Part:
    """What http.client reads from, in place of a socket."""

    def __init__(self, source: socket.socket, deadline: int) -> None:
        self._raw = _Raw(source, deadline)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._raw)


class _Raw(io.RawIOBase):
    def __init__(self, source: socket.socket, deadline: int) -> None:
        self._source, self._deadline = source, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._source.settimeout(_left_s(self._deadline))
        return self._source.recv_into(buffer)


def _read(source: socket.socket, method: str, deadline: int, limit: int) -> tuple[Answer, bool]:
    """(the answer, whether the connection can carry another one). Raises OSError, HTTPException."""
    response = http.client.HTTPResponse(_Part(source, deadline), method=method)  # type: ignore[arg-type]
    response.begin()
    body = response.read(limit + 1)
    if len(body) > limit:
        raise http.client.HTTPException(f"its answer has more than {limit:,} bytes")
    return Answer(response.status, response.headers, body), response.isclosed() and not response.will_close


def _left_s(deadline: int) -> float:
    """Raises TimeoutError."""
    left = deadline - time.monotonic_ns()
    if left <= 0:
        raise TimeoutError
    return left / 1e9


def _reason(error: Exception) -> str:
    """In words, without what the server sent."""
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"does not speak TLS as this box does: {error.reason or 'handshake failed'}"
    if isinstance(error, http.client.RemoteDisconnected):
        return "closes the connection without an answer"
    if isinstance(error, http.client.BadStatusLine):
        return "does not speak HTTP"
    if isinstance(error, OSError):
        return f"cannot be reached: {error.strerror or error}"
    return f"sends no valid answer: {str(error)[:80] or type(error).__name__}"
