"""Checks of sockets, ports and keys: what an actuator's address needs, and what two of them cannot share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from stat import S_IMODE
from typing import NamedTuple

from agent import keys, web_keys
from agent.config.models import Config
from agent.control.client import NAME as CONTROL_SOCKET
from agent.endpoints import is_local
from agent.errors import about_file
from agent.yamlfile import Document, Place

LONGEST_SOCKET = 107  # bytes of a path in sockaddr_un, less its final zero
ANY = ("*", "0.0.0.0", "::")


class Listener(NamedTuple):
    """A socket that is opened, or connected to. host: empty for a path. here: this box listens at it."""

    place: Place
    user: str
    host: str
    port: str
    here: bool


def endpoint_mistakes(config: Config, document: Document) -> Iterator[str]:
    """Of run_dir, every actuator's endpoint, metrics, and keys."""
    yield from _bad_run_dir(config, document)
    for name in config.actuators:
        yield from _bad_endpoint(config, document, name)
    yield from _used_twice(config, document)
    yield from _bad_metrics(config, document)
    yield from _bad_web(config, document)
    yield from _bad_keys(config, document)


def _bad_run_dir(config: Config, document: Document) -> Iterator[str]:
    """Its longest socket: the control socket, or that of an actuator without an endpoint."""
    names = [CONTROL_SOCKET, *(f"{name}.sock" for name, actuator in config.actuators.items() if not actuator.endpoint)]
    longest = max(names, key=lambda name: len(os.fsencode(name)))
    size = len(os.fsencode(config.run_dir / longest))
    if size > LONGEST_SOCKET:
        yield (
            f"{document.at(('run_dir',))}: the path of socket {longest} in run_dir has {size} bytes,"
            f" the kernel's limit is {LONGEST_SOCKET}: shorten run_dir"
        )


def _bad_endpoint(config: Config, document: Document, name: str) -> Iterator[str]:
    endpoint, actuator = config.endpoint(name), config.actuators[name]
    line = document.at(("actuators", name, "endpoint"))
    size = len(os.fsencode(endpoint.removeprefix("ipc://")))
    if actuator.endpoint.startswith("ipc://") and size > LONGEST_SOCKET:
        yield f"{line}: the socket path has {size} bytes, the kernel's limit is {LONGEST_SOCKET}: shorten it"
    if is_local(endpoint) or config.insecure or "keys" in document.data and config.keys is None:
        return  # of broken keys only their own mistake is reported
    if config.keys is None:
        yield (
            f"{line}: '{endpoint}' can be reached from the network and has no keys:"
            " use 'reflexd keys DIR', set 'keys' (and 'server_key' of a remote actuator),"
            " or 'insecure: true' on a private network"
        )
    elif actuator.device is None and actuator.server_key is None:
        yield (
            f"{line}: '{endpoint}' is on another box, and only its key proves which one answers:"
            " set server_key: FILE, the public key of that box"
        )
    elif actuator.device and config.keys.authorized is None:
        yield (
            f"{line}: '{endpoint}' can be reached from the network, and no other box may command it:"
            " set keys.authorized: FOLDER, with the public keys of those that may"
        )


def _used_twice(config: Config, document: Document) -> Iterator[str]:
    listeners: list[Listener] = []
    for listener in _listeners(config):
        for other in listeners:
            if _clash(listener, other):
                yield f"{document.at(listener.place)}: {other.user} has this address, too: give each its own"
                break
        listeners.append(listener)


def _listeners(config: Config) -> Iterator[Listener]:
    yield Listener(("run_dir",), "the control socket", "", os.path.realpath(config.run_dir / CONTROL_SOCKET), True)
    if config.metrics.port:
        yield Listener(
            ("metrics", "port"), "metrics", one_spelling(config.metrics.host), str(config.metrics.port), True
        )
    if config.web.port:
        yield Listener(("web", "port"), "the live view", one_spelling(config.web.host), str(config.web.port), True)
    serve = config.offload.serve if config.offload else None
    if serve:
        place = ("offload", "serve", "port")
        yield Listener(place, "inference for other boxes", one_spelling(serve.host), str(serve.port), True)
    if config.web.foxglove:
        yield Listener(("web", "foxglove"), "Foxglove", "127.0.0.1", str(config.web.foxglove), True)
    for name, actuator in config.actuators.items():
        place, user, here = ("actuators", name, "endpoint"), f"actuator '{name}'", actuator.device is not None
        kind, _, address = config.endpoint(name).partition("://")
        if kind == "ipc":
            yield Listener(place, user, "", address if address[0] == "@" else os.path.realpath(address), here)
        else:
            host, _, port = address.rpartition(":")
            yield Listener(place, user, one_spelling(host), str(int(port)), here)


def one_spelling(host: str) -> str:
    """One spelling of an address."""
    name = host.strip("[]")
    try:
        return str(ip_address(name))
    except ValueError:
        return "127.0.0.1" if name == "localhost" else name.lower()


def _clash(first: Listener, second: Listener) -> bool:
    """The same address, also where one listens at every address of this box."""
    if first.port != second.port or bool(first.host) != bool(second.host):
        return False
    anywhere = first.here and second.here and (first.host in ANY or second.host in ANY)
    return first.host == second.host or anywhere or {first.host, second.host} <= set(ANY)


def _bad_metrics(config: Config, document: Document) -> Iterator[str]:
    if config.metrics.port and not is_local(f"tcp://{config.metrics.host}:0") and not config.insecure:
        line = document.at(("metrics", "host"))
        yield f"{line}: metrics have no keys: serve them on 127.0.0.1, or set 'insecure: true'"


def _bad_web(config: Config, document: Document) -> Iterator[str]:
    """Pictures and the state of the box are for this box alone, or for those who have the token."""
    web = config.web
    if web.keys:
        yield from _bad_file(document, ("web", "keys"), web.keys, _web_keys_mistake)
    elif not is_local(f"tcp://{web.host}:0"):
        yield f"{document.at(('web', 'host'))}: {web_keys.missing(web.host)}"


def _web_keys_mistake(folder: Path) -> str:
    try:
        web_keys.tls(folder)
        web_keys.read_token(folder)
    except (OSError, ValueError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return f"{reason}: 'reflexd keys --web {folder}' makes certificate, key and token"
    return ""


def _bad_keys(config: Config, document: Document) -> Iterator[str]:
    """A wrong kind of key, a missing file or folder, and a secret that others can read."""
    if config.keys:
        yield from _bad_file(document, ("keys", "own"), config.keys.own, _secret_mistake)
        if config.keys.authorized:
            yield from _bad_file(document, ("keys", "authorized"), config.keys.authorized, _folder_mistake)
    for name, actuator in config.actuators.items():
        if actuator.server_key:
            yield from _bad_file(document, ("actuators", name, "server_key"), actuator.server_key, _public_mistake)
    if config.recorder.events.seal:
        yield from _bad_file(document, ("recorder", "events", "seal"), config.recorder.events.seal, _public_mistake)
    if config.drift and config.drift.collect and config.drift.collect.seal:
        yield from _bad_file(document, ("drift", "collect", "seal"), config.drift.collect.seal, _public_mistake)


def _bad_file(document: Document, place: Place, path: Path, examine: Callable[[Path], str]) -> Iterator[str]:
    try:
        if os.path.exists(path) and not os.access(path, os.R_OK):
            return  # only the service's user may read it: `doctor` says so
        mistake = examine(path)
    except OSError as error:
        mistake = str(error)
    if mistake:
        yield about_file(path, f"{document.at(place)}: {mistake}")


def _secret_mistake(path: Path) -> str:
    keys.read_secret(path)
    mode = S_IMODE(os.stat(path).st_mode)
    if mode & 0o007:
        return f"{path}: mode {mode:04o}, so every user of this box can copy the secret key: chmod 600 {path}"
    return ""


def _public_mistake(path: Path) -> str:
    _, secret = keys.read(path)
    public = path.with_suffix(".key")
    return f"{path} holds a secret key, which stays on its box: name its public key, {public.name}" if secret else ""


def _folder_mistake(path: Path) -> str:
    if not path.is_dir():
        return f"no folder '{path}': put the public keys of the boxes there that may command this one"
    entries = sorted(path.iterdir())
    secrets = [file for file in entries if file.suffix != keys.SUFFIX and _is_secret(file)]
    secrets += [file for file in entries if keys.is_public_file(file.name) and keys.read(file)[1]]
    return (
        f"{secrets[0]}: a secret key, which stays on its box: keep only public keys in this folder" if secrets else ""
    )


def _is_secret(file: Path) -> bool:
    """By its name or what it holds."""
    try:
        return file.name.endswith("_secret") or keys.read(file)[1] is not None
    except OSError:
        return False
