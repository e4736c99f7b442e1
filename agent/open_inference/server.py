"""Where a server of the Open Inference Protocol is, and how a client proves who both are."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from agent import redact
from agent.endpoints import is_loopback
from agent.open_inference.release import Recipient
from agent.web_keys import CERTIFICATE, TOKEN

SCHEMES = {"http": 80, "https": 443, "grpc": 8001, "grpcs": 443}
MAX_TOKEN = 4096


class Away(Exception):
    """No answer in time, or no connection: it may work later. The text is the end of a sentence about the server."""


class Refusal(Exception):
    """The server answers, but with no result; the text is the end of a sentence about the server."""


class Server(NamedTuple):
    """name: for people, and in a lane's `release`. ca: certificates that are trusted; None: the system's.

    certificate, key: of this box, where the server asks for them.
    """

    name: str
    scheme: str
    host: str
    port: int
    ca: Path | None = None
    token: str = ""
    certificate: Path | None = None
    key: Path | None = None

    @property
    def encrypted(self) -> bool:
        return self.scheme in ("https", "grpcs")

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.name, is_loopback(self.host), self.encrypted)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"'{self.name}' ({self.scheme}://{self.authority})"

    def __repr__(self) -> str:
        return str(self)  # without the token


def parse(name: str, url: str, ca: Path | None = None, token: str = "") -> Server:
    """Raises ValueError, whose text has no password."""
    parts = urlsplit(url)
    if "@" in url:
        raise ValueError("a url has no user and no password: put a token into a file, token_file")
    try:
        port = parts.port
    except ValueError:
        port = 0
    beside = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in SCHEMES or not parts.hostname or not url.isascii() or port == 0 or beside:
        raise ValueError("expected http://, https://, grpc:// or grpcs://, then HOST:PORT and no path")
    if token and parts.scheme in ("http", "grpc") and not is_loopback(parts.hostname):
        raise ValueError("a token would be sent in plain: use https:// or grpcs://")
    return Server(name, parts.scheme, parts.hostname, port or SCHEMES[parts.scheme], ca, token)


def of_peer(name: str, url: str, keys: Path | None) -> Server:
    """Another reflexd. keys: folder with its certificate and token. Raises OSError, ValueError."""
    token = read_token(keys / TOKEN) if keys else ""
    server = parse(name, url, keys / CERTIFICATE if keys else None, token)
    if server.scheme not in ("http", "https"):
        raise ValueError("a peer is asked over https://")
    return server


def read_token(path: Path) -> str:
    """Raises OSError; ValueError where others can read it, or it is none."""
    if os.stat(path).st_mode & 0o007:
        raise ValueError(f"{path}: every user of this box can read the token: chmod 600 {path}")
    with open(path, encoding="ascii", errors="replace") as file:
        token = file.read(MAX_TOKEN + 1).strip()
    if not token or len(token) > MAX_TOKEN or not token.isprintable() or not token.isascii():
        raise ValueError(f"{path}: no token of 1 to {MAX_TOKEN} ASCII characters in one line")
    redact.remember([token])
    return token


def tls(server: Server) -> ssl.SSLContext:
    """Of a client, which checks the server's certificate and its name. Raises OSError, ssl.SSLError."""
    context = ssl.create_default_context(cafile=str(server.ca) if server.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.certificate:
        context.load_cert_chain(server.certificate, server.key)
    return context
