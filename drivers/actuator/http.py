"""Sends an HTTP request with a JSON body for each verb: for what is not urgent, such as a lamp or a report."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from agent.data import Arguments
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, DriverOptions
from drivers.links.tcp import Resolver, TlsContext, TlsOptions, connect, remaining, tls_context

SLACK_MS = 50.0  # of this computer, beyond the time limits
LARGEST = 65_536  # bytes of an answer, its headers included
AGAIN = {429, 502, 503, 504}  # of a server that is busy or starts
URGENT = (
    "HTTP is not for an emergency stop: it has no last will, and a slow server may carry out a request after the next "
    "one; use a relay, Modbus or MQTT for that, and write 'critical: false' for what is not urgent"
)


class Request(DriverOptions):
    """What a verb sends."""

    path: str = Field("", pattern=r"^(/[!-~]*)?$", max_length=1000, description="added to the url's")
    body: JsonValue = None

    @field_validator("body")
    @classmethod
    def _body(cls, body: JsonValue) -> JsonValue:
        json.dumps(body, allow_nan=False)
        return body


class Options(DriverOptions):
    """The server, and the request of each verb."""

    url: str = Field(max_length=1000, description="http:// or https://, with the beginning of the path")
    critical: Literal[False] = Field(description="false, written out: nobody is in danger where a command comes late")
    method: Literal["POST", "PUT"] = "POST"
    requests: dict[str, Request] = Field(min_length=1, description="verb -> path and JSON body")
    safe: str = Field(description="the verb of the safe state")
    token: str | None = Field(None, pattern=r"^[!-~]+$", max_length=4096, description="write '${NAME}'")
    token_header: str = Field("Authorization", pattern=r"^[A-Za-z0-9-]{1,64}$", description="else sent as it is")
    tls: TlsOptions = Field(default_factory=lambda: TlsOptions.model_validate({}))
    timeout_ms: float = Field(300.0, gt=0, le=10_000, description="time limit for each try")
    retries: int = Field(1, ge=0, le=5, description="after no connection, no answer, or a server that is busy")
    backoff_ms: float = Field(50.0, ge=1, le=5000, description="pause before the first retry; it doubles")

    @model_validator(mode="before")
    @classmethod
    def _not_urgent(cls, options: Any) -> Any:
        if isinstance(options, dict) and options.get("critical") is not False:
            raise ValueError(URGENT)
        return options

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        split_url(url)
        return url

    @model_validator(mode="after")
    def _safe(self) -> Options:
        if self.safe not in self.requests:
            raise ValueError(f"safe: '{self.safe}' is not among the requests' verbs: {', '.join(self.requests)}")
        return self

    def input_files(self) -> list[Any]:
        return self.tls.input_files()


class Driver(Actuator):
    """Each try has a connection of its own, so none is found broken only by the command that needs it."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.verbs = tuple(options.requests)
        self.url = split_url(options.url)
        self.place = f"{self.url.scheme}://{self.url.netloc}"
        port = self.url.port or (443 if self.url.scheme == "https" else 80)
        self.resolver = Resolver(self.url.hostname or "", port)
        self.pauses_s = [options.backoff_ms / 1e3 * 2**number for number in range(options.retries)]
        self.deadline_ms = SLACK_MS + options.timeout_ms * (1 + options.retries) + 1e3 * sum(self.pauses_s)
        self.tls: TlsContext | None = None
        self.opened = False

    def open(self) -> None:
        self.tls = tls_context(self.options.tls, self.resolver.host) if self.url.scheme == "https" else None
        self.opened = True

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.options.requests:
            raise DeviceFault(f"{self.place}: no verb '{verb}', only {', '.join(self.verbs)}")
        if not self.opened:
            raise DeviceMissing(f"{self.place}: not open")
        request = self.options.requests[verb]
        for pause_s in self.pauses_s:
            try:
                if self._try(request):
                    return
            except (DeviceMissing, DeviceTimeout):
                pass
            time.sleep(pause_s)
        self._try(request, last=True)

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    def close(self) -> None:
        self.opened = False

    def _try(self, request: Request, last: bool = False) -> bool:
        """Whether the server accepted it; False where it is worth another try. Raises DeviceError."""
        until = time.monotonic() + self.options.timeout_ms / 1e3
        sock = connect(self.resolver, self.tls, until)
        try:
            status = self._exchange(sock, self._bytes(request), until)
        except TimeoutError as error:
            raise DeviceTimeout(f"{self.place}: no answer for {self.options.timeout_ms:g} ms") from error
        except OSError as error:  # http.client.RemoteDisconnected, too
            raise DeviceMissing(f"{self.place}: connection lost, {error.strerror or error}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise DeviceFault(f"{self.place}: answers what is no HTTP, {type(error).__name__}") from error
        finally:
            sock.close()
        if 200 <= status < 300:
            return True
        if status in AGAIN and not last:
            return False
        raise _refusal(self.place, status)

    def _bytes(self, request: Request) -> bytes:
        body = json.dumps(request.body, allow_nan=False).encode()
        headers = {"Host": self.url.netloc, "Connection": "close", "Content-Type": "application/json"}
        if self.options.token:
            bearer = "Bearer " if self.options.token_header == "Authorization" else ""
            headers[self.options.token_header] = bearer + self.options.token
        headers["Content-Length"] = str(len(body))
        target = (self.url.path.rstrip("/") + request.path) or "/"
        lines = [f"{self.options.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _exchange(self, sock: socket.socket, request: bytes, until: float) -> int:
        """The status. The request is one write: no half of it waits for the peer's acknowledgement."""
        sock.settimeout(remaining(until))
        sock.sendall(request)
        answer: Any = _Answer(sock, until)  # http.client only calls its makefile
        response = http.client.HTTPResponse(answer, method=self.options.method)
        response.begin()
        return response.status  # which is all that matters: the body is not read


class _Answer(io.RawIOBase):
    """The bytes of an answer, within a time and a size: http.client itself bounds neither as a whole."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self.sock, self.until, self.left = sock, until, LARGEST

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() >= self.until:
            raise TimeoutError("answer incomplete")
        self.sock.settimeout(remaining(self.until))
        count = self.sock.recv_into(buffer)
        self.left -= count
        if self.left < 0:
            raise ValueError(f"over {LARGEST} bytes")
        return count


def split_url(url: str) -> SplitResult:
    """Raises ValueError."""
    if "@" in url or "?" in url or "#" in url:  # first: what cannot be split is not shown, as it may be a password
        raise ValueError("no login, '@', '?' or '#' in it: a token is an option of its own")
    if not all("!" <= character <= "~" for character in url):
        raise ValueError("only printable ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("write http://host:port/path, with a port of 1 to 65535") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write http://host/path or https://host/path")
    if port == 0:
        raise ValueError("a port is 1 to 65535")
    return parts


def _refusal(place: str, status: int) -> DeviceError:
    known = next((item.phrase for item in HTTPStatus if item == status), "")
    answer = f"{place}: answers {status} {known}".rstrip()
    if 300 <= status < 400:
        return DeviceFault(f"{answer}: a redirect is not followed; write the final address")
    if status in (401, 403):
        return DeviceFault(f"{answer}: check the token")
    if status in (404, 405):
        return DeviceFault(f"{answer}: check url, path and method")
    return DeviceFault(answer)
