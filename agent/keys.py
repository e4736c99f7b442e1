"""CURVE keys of a box: makes them, reads them, and puts them on a socket."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import zmq
import zmq.auth
from zmq.utils import z85

SUFFIX = ".key"  # of a public one; the secret one's name ends with .key_secret
Z85_KEY = 40
LARGEST_FILE = 65_536
DOMAIN = b"reflexd"  # without one ZeroMQ skips authentication and admits every key


class Curve(NamedTuple):
    """Keys for an actuator across a network, Z85."""

    public: bytes
    secret: bytes
    server: bytes


def is_public_file(name: str) -> bool:
    """Not the files that a Mac puts beside others."""
    return name.endswith(SUFFIX) and not name.startswith(".")


def make(folder: Path, name: str) -> tuple[Path, Path]:
    """(public, secret) key files; only the owner can read the secret one. Raises FileExistsError, never overwrites."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (folder / f"{name}.key", folder / f"{name}.key_secret"):
        if path.exists():
            effect = "a new key would lock out every box that knows the old one"
            raise FileExistsError(f"{path} exists: {effect}: choose another FOLDER or --name")
    before = os.umask(0o077)
    try:
        public, secret = zmq.auth.create_certificates(folder, name)
    finally:
        os.umask(before)
    os.chmod(public, 0o644)
    return Path(public), Path(secret)


def read(path: Path) -> tuple[bytes, bytes | None]:
    """(public, secret or None), Z85. Raises OSError that names the file."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            raise ValueError("no such file, or no key file")  # to open a pipe would be to wait without end
        public, secret = zmq.auth.load_certificate(path)
        _check(public)
        if secret is not None:
            _check(secret)
            if zmq.curve_public(secret) != public:
                raise ValueError("its secret key is not the one of its public key")
    except (OSError, ValueError, IndexError) as error:
        reason = str(error).removesuffix(f" in {path}")
        raise OSError(f"key file {path}: {reason}: make one with 'reflexd keys DIR'") from error
    return public, secret


def _check(key: bytes) -> None:
    """Raises ValueError where this is no key in Z85 (ZeroMQ RFC 32)."""
    if len(key) != Z85_KEY:
        raise ValueError(f"a key has {Z85_KEY} characters")
    try:
        z85.decode(key)
    except (KeyError, struct.error):
        raise ValueError("a key has characters that are not of Z85") from None


def read_secret(path: Path) -> tuple[bytes, bytes]:
    public, secret = read(path)
    if secret is None:
        raise OSError(f"key file {path} holds no secret key: name the .key_secret file")
    return public, secret


def require(socket: zmq.Socket[bytes], own: Path) -> None:
    """Make a socket require an authorized key; call it before bind. own: secret key file of this box."""
    socket.curve_publickey, socket.curve_secretkey = read_secret(own)
    socket.curve_server = True
    socket.zap_domain = DOMAIN


def curve(own: Path | None, server_key: Path | None) -> Curve | None:
    """A lane's keys for an actuator; None where one of the files is not configured. Raises OSError."""
    if own is None or server_key is None:
        return None
    public, secret = read_secret(own)
    return Curve(public, secret, read(server_key)[0])
