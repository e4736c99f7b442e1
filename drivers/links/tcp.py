"""TCP and TLS to a server, for drivers: each step ends within the time limit of the call, the look-up of a name too."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, DriverOptions

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]


class TlsOptions(DriverOptions):
    """The server's certificate must be valid for its name; TLS 1.2 at least."""

    ca: Path | None = Field(
        None, description="PEM file that the server's certificate is checked against; else the system's"
    )
    certificate: Path | None = Field(None, description="PEM file of this box, where the server asks for one")
    key_file: Path | None = Field(None, description="PEM file of that certificate's key, without a password")

    @model_validator(mode="after")
    def _pair(self) -> TlsOptions:
        if (self.certificate is None) != (self.key_file is None):
            raise ValueError("certificate and key_file belong together")
        return self

    def input_files(self) -> list[Path]:
        return [path for path in (self.ca, self.certificate, self.key_file) if path is not None]


class TlsContext(ssl.SSLContext):
    """Checks the certificate for `host`, also where the socket was connected to an address, and until this time."""

    host = ""
    until = 0.0

    def wrap_socket(self, sock: socket.socket, *_: Any, **__: Any) -> ssl.SSLSocket:
        sock.settimeout(remaining(self.until))
        return super().wrap_socket(sock, server_hostname=self.host)


def tls_context(options: TlsOptions, host: str) -> TlsContext:
    """Read from the files, which may have been renewed since. Raises DeviceFault."""
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.host = host
    try:
        if options.ca:
            context.load_verify_locations(options.ca)
        else:
            context.load_default_certs()
        if options.certificate and options.key_file:
            context.load_cert_chain(options.certificate, options.key_file, password="")
    except OSError as error:  # SSLError is one
        files = ", ".join(map(str, options.input_files())) or "the system's certificates"
        raise DeviceFault(f"{files}: not usable for TLS, {error.strerror or error}") from error
    return context


class Resolver:
    """Looks a name up with a time limit, which the C library does not have; at most one look-up at a time."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.look_up: threading.Thread | None = None
        self.answer: list[str] | OSError = []

    def addresses(self, until: float) -> list[str]:
        """Raises DeviceMissing, DeviceTimeout."""
        try:
            return [str(ipaddress.ip_address(self.host))]
        except ValueError:
            pass
        if self.look_up is None or not self.look_up.is_alive():
            self.look_up = threading.Thread(target=self._look_up, name="look-up", daemon=True)
            self.look_up.start()
        self.look_up.join(remaining(until))
        if self.look_up.is_alive():
            raise DeviceTimeout(f"{self.host}: no name server answers; write its address, or add it to /etc/hosts")
        if isinstance(self.answer, OSError):
            raise DeviceMissing(f"{self.host}: unknown name, {self.answer.strerror}") from self.answer
        return self.answer

    def _look_up(self) -> None:
        try:
            entries = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.answer = error if isinstance(error, OSError) else OSError(errno.EINVAL, "no valid name")
        else:
            self.answer = list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def connect(resolver: Resolver, tls: TlsContext | None, until: float) -> socket.socket:
    """To the first address that accepts, until this monotonic time. Raises DeviceError."""
    place = f"{resolver.host}:{resolver.port}"
    failure: Exception = OSError("no address")
    for address in resolver.addresses(until):
        try:
            sock = socket.create_connection((address, resolver.port), remaining(until))
        except OSError as error:
            failure = error
            continue
        no_delay(sock)
        try:
            return secured(sock, tls, until) if tls else sock
        except OSError as error:
            sock.close()
            raise explain(place, error) from error
    raise explain(place, failure) from failure


def secured(sock: socket.socket, tls: TlsContext, until: float) -> ssl.SSLSocket:
    tls.until = until
    return tls.wrap_socket(sock)


def no_delay(sock: Any) -> None:
    """Without it Nagle's algorithm and the peer's delayed acknowledgement hold a small message back for 40 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def remaining(until: float) -> float:
    """Seconds until this monotonic time, for a socket's time limit: 0 would mean that it does not block."""
    return max(0.001, until - time.monotonic())


def explain(place: str, error: Exception) -> DeviceError:
    """Why no connection was made, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return DeviceFault(f"{place}: its certificate is not valid here, {error.verify_message}: check tls.ca and host")
    if isinstance(error, TimeoutError):
        return DeviceTimeout(f"{place}: no answer in time")
    if isinstance(error, ssl.SSLError):
        return DeviceFault(f"{place}: no TLS, {error.reason or error}: is this the TLS port?")
    if isinstance(error, ConnectionRefusedError):
        return DeviceMissing(f"{place}: refuses connections: is the server running, and is the port right?")
    return DeviceMissing(f"{place}: not reachable, {getattr(error, 'strerror', None) or error}")
