"""Reads files of a repository over http, https or from a folder: never for ever, never faster than allowed."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import url2pathname

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from agent.box import files
from agent.update.fetching.connection_deadline import ConnectionDeadline

CHUNK = 1 << 16  # bytes
MAX_FILE = 1 << 31
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5


class Limits(NamedTuple):
    """silent_s: between two parts of an answer. slow_s: after so long an answer must come at `slow_bytes` a second.

    kbit_s: most that is taken; 0: no limit.
    """

    silent_s: float = 10.0
    slow_s: float = 30.0
    slow_bytes: float = 256.0
    kbit_s: float = 0.0


class Pace(NamedTuple):
    """now: seconds, monotonic. check: called at each part; raises Paused where the download is to go on later."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    check: Callable[[], object] = bool


class Fetcher(FetcherInterface):
    """For python-tuf, and for downloads that go on where they broke off."""

    def __init__(self, limits: Limits, pace: Pace | None = None) -> None:
        self._limits = limits
        # Parts of a quarter of a second, so that a low limit is even, and the end of the process is not delayed.
        self._chunk = min(CHUNK, max(1024, int(limits.kbit_s * 31))) if limits.kbit_s else CHUNK
        self._pace = pace or Pace()
        self.received = 0  # bytes

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.read(url, 0)[1]

    def read(self, url: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """(where it begins, the bytes): from `offset` on, or from 0 where the server does not serve parts.

        Raises DownloadError, which has a kind for silence and for an HTTP status.
        """
        if url.startswith("file:"):
            return offset, self._paced(_of_file(url, offset, self._chunk))
        answer = _Answer(url, offset, self._limits.silent_s)
        return answer.start, self._paced(answer.chunks(self._chunk))

    def _paced(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        began, count, rate = self._pace.now(), 0, self._limits.kbit_s * 125.0
        slowest = min(self._limits.slow_bytes, rate / 4 or self._limits.slow_bytes)
        for chunk in chunks:
            count += len(chunk)
            self.received += len(chunk)
            yield chunk
            self._pace.check()
            spent = self._pace.now() - began
            if spent > self._limits.slow_s and count < slowest * spent:
                raise SlowRetrievalError(f"{count:,} bytes in {spent:.0f} s")
            if rate and count / rate > spent:
                self._pace.sleep(count / rate - spent)


def _of_file(url: str, offset: int, size: int) -> Iterator[bytes]:
    """A missing file is as with a web server: python-tuf asks for the next root.json until there is none."""
    path = Path(url2pathname(urlsplit(url).path))
    if not os.path.lexists(path):
        raise DownloadHTTPError(f"{path} does not exist", 404)
    try:
        file = files.open_regular(path, MAX_FILE)
    except files.BadFile as error:
        raise DownloadError(f"{path}: {error}") from error
    return _file_chunks(file, offset, size, path)


def _file_chunks(file: BinaryIO, offset: int, size: int, path: Path) -> Iterator[bytes]:
    """A stick may be pulled at any moment. Raises DownloadError."""
    with file:
        try:
            file.seek(offset)
            while chunk := file.read(size):
                yield chunk
        except OSError as error:
            raise DownloadError(f"{path}: {error.strerror}") from error


class _Open(NamedTuple):
    """socket: apart, since a connection forgets it where the server is to close it after the answer."""

    socket: socket.socket
    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse


class _Answer:
    """What a web server sends for a file."""

    def __init__(self, url: str, offset: int, silent_s: float) -> None:
        """Asks, and reads the answer's head. Raises DownloadError."""
        self._silent_s = silent_s
        with _download_errors():
            self._socket, self._connection, self._response = _asked(url, offset, silent_s)
        status = self._response.status
        if status not in (200, 206):
            self._connection.close()
            raise DownloadHTTPError(f"{shown(url)}: HTTP status {status}", status)
        self.start = _start(self._response.getheader("Content-Range", "")) if status == 206 else 0

    def chunks(self, size: int) -> Iterator[bytes]:
        """Raises DownloadError."""
        with _download_errors(), ConnectionDeadline(lambda: self._socket, self._silent_s) as deadline:
            try:
                while chunk := self._response.read1(size):
                    deadline.suspend()  # the reader may be slow on purpose
                    yield chunk
                    deadline.extend()
                deadline.check()
            finally:
                self._connection.close()


def _asked(url: str, offset: int, silent_s: float) -> _Open:
    """After redirects. Raises OSError, HTTPException."""
    for _ in range(MAX_REDIRECTS):
        parts = urlsplit(url)
        connection = _connection(parts, silent_s)
        try:
            with ConnectionDeadline(partial(getattr, connection, "sock"), silent_s) as deadline:
                connection.connect()
                sock = connection.sock
                connection.request("GET", _path(parts), headers=_headers(parts, offset))
                response = connection.getresponse()
                deadline.check()
        except BaseException:
            connection.close()
            raise
        location = response.getheader("Location", "")
        if response.status not in REDIRECTS or not location:
            return _Open(sock, connection, response)
        connection.close()
        following = urljoin(url, location)
        if not following.startswith(("https://", parts.scheme + "://")):
            raise http.client.HTTPException(f"redirected to {shown(following)}, which is less safe")
        url = following
    raise http.client.HTTPException("redirected too often")


def _connection(parts: SplitResult, silent_s: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=silent_s)


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _headers(parts: SplitResult, offset: int) -> dict[str, str]:
    # No compression: its bytes would not be those that were signed.
    headers = {"User-Agent": "reflexd", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    return headers


def _start(content_range: str) -> int:
    """Of "bytes 500-999/1000". Raises DownloadError."""
    begin = content_range.removeprefix("bytes ").partition("-")[0]
    if not begin.isdecimal():
        raise DownloadError("a part without its place: the server's Content-Range is wrong")
    return int(begin)


def shown(url: str) -> str:
    """Without login and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def _download_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise SlowRetrievalError("no answer in time") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(str(error) or type(error).__name__) from error
