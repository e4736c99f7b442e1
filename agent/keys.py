"""CURVE keys of a box: make them, read them, and let only known ones in."""

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
    """(public, secret) key files; the secret one for its owner only. Raises FileExistsError rather than overwrite."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for suffix in ("key", "key_secret"):
        if (folder / f"{name}.{suffix}").exists():
            raise FileExistsError(
                f"{folder / name}.{suffix} exists: a new key would lock out everybody who knows the old one"
            )
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
    """Make a socket ask for a known key before it listens. own: this box's secret key file."""
    socket.curve_publickey, socket.curve_secretkey = read_secret(own)
    socket.curve_server = True
    socket.zap_domain = b"reflexd"


def authenticator(context: zmq.Context[zmq.Socket[bytes]], authorized: Path | None) -> ThreadAuthenticator:
    """Admits only peers whose public key file is in the folder `authorized`. Raises OSError where that is missing."""
    if authorized is None or not authorized.is_dir():
        raise OSError(
            f"keys.authorized: no folder '{authorized}': put there the public key files of the boxes that may command us"
        )
    for path in authorized.glob("*.key"):
        read(path)  # pyzmq only logs a broken one, and then lets nobody in
    admission = ThreadAuthenticator(context)
    admission.start()
    admission.configure_curve(domain="reflexd", location=str(authorized))
    return admission


def curve(own: Path | None, server_key: Path | None) -> Curve | None:
    """What a lane needs to reach an actuator across a network; None without keys."""
    if own is None or server_key is None:
        return None
    public, secret = read_secret(own)
    return Curve(public, secret, read(server_key)[0])
