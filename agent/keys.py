"""CURVE keys of a box: makes them, reads them, and admits only authorized ones."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

Z85_KEY = 40


class Curve(NamedTuple):
    """Keys for an actuator across a network, Z85."""

    public: bytes
    secret: bytes
    server: bytes


def is_local(endpoint: str) -> bool:
    """Only this box can reach it."""
    if endpoint.startswith("ipc://"):
        return True
    host = endpoint.removeprefix("tcp://").rsplit(":", 1)[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make(folder: Path, name: str) -> tuple[Path, Path]:
    """(public, secret) key files; only the owner can read the secret one. Raises FileExistsError, never overwrites."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (folder / f"{name}.key", folder / f"{name}.key_secret"):
        if path.exists():
            raise FileExistsError(f"{path} exists: a new key would lock out every box that knows the old one")
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
        public, secret = zmq.auth.load_certificate(path)
        if any(len(key) != Z85_KEY for key in (public, secret) if key is not None):
            raise ValueError(f"a key has {Z85_KEY} characters")
    except (OSError, ValueError, IndexError) as error:
        raise OSError(f"key file {path}: {error}: make one with 'reflexd keys DIR'") from error
    return public, secret


def read_secret(path: Path) -> tuple[bytes, bytes]:
    public, secret = read(path)
    if secret is None:
        raise OSError(f"key file {path} holds no secret key: name the .key_secret file")
    return public, secret


def require(socket: zmq.Socket[bytes], own: Path) -> None:
    """Make a socket require an authorized key; call it before bind. own: secret key file of this box."""
    socket.curve_publickey, socket.curve_secretkey = read_secret(own)
    socket.curve_server = True
    socket.zap_domain = b"reflexd"


def authenticator(context: zmq.Context[zmq.Socket[bytes]], authorized: Path | None) -> ThreadAuthenticator:
    """Admits only peers whose public key file is in the folder `authorized`. Raises OSError where that is missing."""
    if authorized is None or not authorized.is_dir():
        advice = "put the public key files of the boxes that may command this one there"
        raise OSError(f"keys.authorized: no folder '{authorized}': {advice}")
    for path in authorized.glob("*.key"):
        read(path)  # pyzmq only logs a broken file, and then admits no peer
    thread = ThreadAuthenticator(context)
    thread.start()
    thread.configure_curve(domain="reflexd", location=str(authorized))
    return thread


def curve(own: Path | None, server_key: Path | None) -> Curve | None:
    """A lane's keys for an actuator across a network; None where one of the files is not configured."""
    if own is None or server_key is None:
        return None
    public, secret = read_secret(own)
    return Curve(public, secret, read(server_key)[0])
