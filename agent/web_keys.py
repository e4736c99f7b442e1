"""The live view's certificate and token: the files of `reflexd keys --web`."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

CERTIFICATE, KEY, TOKEN = "web.crt", "web.key", "web.token"
SHORTEST = 16


def tls(folder: Path) -> ssl.SSLContext:
    """Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return context


def read_token(folder: Path) -> str:
    """Raises OSError; ValueError where it is empty or others can read it."""
    path = folder / TOKEN
    if os.stat(path).st_mode & 0o007:
        raise ValueError(f"{path}: every user of this box can read the token: chmod 600 {path}")
    token = path.read_text("ascii").strip()
    if len(token) < SHORTEST:
        raise ValueError(
            f"{path}: no token of {SHORTEST} characters or more: make one with 'reflexd keys --web {folder}'"
        )
    return token


def missing(host: str) -> str:
    """What is wrong, and what to do, where there is no such folder and others can reach the view at this address."""
    advice = "set web.keys: FOLDER, made by 'reflexd keys --web FOLDER'"
    return f"'{host}' can be reached from the network, and the live view has no keys: {advice}"
