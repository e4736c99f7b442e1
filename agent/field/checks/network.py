"""Ports, keys, and whether the DSCP mark by which a 5G or TSN network sorts packets survives."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

from agent import keys
from agent.config.models import Config
from agent.endpoints import is_ipc, is_local
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, listed

EXPEDITED = 46  # DSCP EF
TIMEOUT_S = 0.5


def checks(box: Box) -> Iterator[Check]:
    yield from ports(box)
    yield insecure(box.config)
    yield from key_files(box)
    yield dscp(loopback_tos)


def ports(box: Box) -> Iterator[Check]:
    """Served ports are free or used by the daemon; those of other boxes accept connections."""
    metrics = box.config.metrics
    if metrics.port:
        yield served("metrics", metrics.host, metrics.port, bool(box.view.pid))
    for name, actuator in box.config.actuators.items():
        if actuator.endpoint.startswith("tcp://") and actuator.device is None:
            host, _, port = actuator.endpoint.removeprefix("tcp://").rpartition(":")
            yield remote(name, host.strip("[]"), int(port))


def served(name: str, host: str, port: int, running: bool) -> Check:
    """running: the daemon runs."""
    title, where = f"port of {name}", f"{host}:{port}"
    connected = _reachable(host, port)
    if running and not connected:
        fix = f"is the port taken? sudo ss -ltnp 'sport = :{port}'; then: journalctl -u reflexd"
        return Check(title, WARN, f"{where}: the daemon runs, no connection", f"{name} cannot be read", fix)
    if not running and connected:
        fix = f"sudo ss -ltnp 'sport = :{port}' names it; choose another port"
        return Check(title, WARN, f"{where}: taken by another program", f"{name} cannot be served", fix)
    return Check(title, GOOD, f"{where}: {'accepts connections' if running else 'free'}")


def remote(name: str, host: str, port: int) -> Check:
    title = f"port of actuator {name}"
    if _reachable(host, port):
        return Check(title, GOOD, f"{host}:{port} accepts connections")
    effect = "no command arrives; the actuator is in its safe state"
    fix = f"on that box: reflexd actuate; from here: ping {host}; firewall: port {port}/tcp"
    return Check(title, BAD, f"{host}:{port}: no connection", effect, fix)


def _reachable(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), TIMEOUT_S):
            return True
    except OSError:
        return False


def insecure(config: Config) -> Check:
    if not config.insecure:
        return Check("open endpoints", GOOD, "none without keys")
    unprotected = [name for name in config.actuators if not is_local(config.endpoint(name))]
    cause, effect = "'insecure: true', and nothing needs it", "an endpoint added later would accept every box"
    if unprotected:
        cause = f"'insecure: true': {listed(unprotected)} can be reached without keys"
        effect = "every box in that network can move the machine"
    fix = "reflexd keys DIR; set 'keys' and 'server_key'; remove 'insecure'"
    return Check("open endpoints", WARN, cause, effect, fix)


def key_files(box: Box) -> Iterator[Check]:
    config = box.config
    if config.keys is None:
        yield Check("keys", SKIP, "the configuration names none")
        return
    yield secret(config.keys.own)
    if any(actuator.device and not is_ipc(config.endpoint(name)) for name, actuator in config.actuators.items()):
        yield authorised(config.keys.authorized)
    for name, actuator in config.actuators.items():
        if actuator.server_key:
            yield public(f"key of actuator {name}", actuator.server_key)


def secret(path: Path) -> Check:
    title, effect = "own key", "network endpoints cannot be opened: the daemon does not start"
    try:
        mode = S_IMODE(path.stat().st_mode)
        if not os.access(path, os.R_OK):
            return Check(title, SKIP, f"{path}: only its owner may read it: sudo reflexd doctor")
        keys.read_secret(path)
    except OSError as error:
        return Check(title, BAD, str(error), effect, f"reflexd keys {path.parent}")
    if mode & 0o077:
        effect = "other users of this box can copy the key and command the actuators"
        fix = f"chmod 600 {path}; better: new keys, as it may have been copied"
        return Check(title, BAD, f"{path}: mode {mode:04o}, not 0600", effect, fix)
    return Check(title, GOOD, f"{path}: mode {mode:04o}")


def authorised(folder: Path | None) -> Check:
    title, effect = "authorised keys", "no other box may command the actuators of this box"
    if folder is None:
        return Check(title, GOOD, "none: only this box commands its actuators")
    if not folder.is_dir():
        fix = f"mkdir {folder}; copy the public key of each commanding box there, named NODE.key after it"
        return Check(title, WARN, f"no folder '{folder}'", effect, fix)
    if not os.access(folder, os.R_OK | os.X_OK):
        return Check(title, SKIP, f"{folder}: only the service may read it: sudo reflexd doctor")
    publics = sorted(path for path in folder.iterdir() if keys.is_public_file(path.name))
    secrets = sorted(folder.glob("*_secret"))
    if not publics:
        fix = f"copy the public key of each commanding box to {folder}, named NODE.key after it"
        return Check(title, WARN, f"{folder}: no .key file", effect, fix)
    try:
        for path in publics:
            keys.read(path)
    except OSError as error:
        fix = f"copy it again: scp NODE:DIR/box.key {folder}/NODE.key"
        return Check(title, BAD, str(error), "its box may not command", fix)
    if secrets:
        cause = f"secret keys lie in {folder}: {listed([path.name for path in secrets])}"
        fix = "remove them there; make new keys on that box"
        return Check(title, WARN, cause, "a secret key that was copied is no longer secret", fix)
    return Check(title, GOOD, f"of {listed([path.stem for path in publics])} in {folder}")


def public(title: str, path: Path) -> Check:
    try:
        keys.read(path)
    except OSError as error:
        return Check(title, BAD, str(error), "the actuator cannot be reached", f"copy its box's public key to {path}")
    return Check(title, GOOD, str(path))


def loopback_tos(value: int) -> int:
    """The type-of-service byte that arrives when `value` is sent; raises OSError."""
    udp = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*udp) as receiver, socket.socket(*udp) as sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(TIMEOUT_S)
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, value)
        sender.sendto(b"?", receiver.getsockname())
        _, ancillary, _, _ = receiver.recvmsg(1, socket.CMSG_SPACE(4))
    tos = (socket.IPPROTO_IP, socket.IP_TOS)
    return next((data[0] for level, kind, data in ancillary if (level, kind) == tos), -1)


def dscp(measure: Callable[[int], int]) -> Check:
    """measure: the type-of-service byte that arrives when one is sent."""
    try:
        arrived = measure(EXPEDITED << 2)
    except OSError as error:
        return Check("DSCP", SKIP, f"loopback cannot be tried: {error}")
    cause = f"{EXPEDITED} sent, {arrived >> 2} arrived on loopback"
    if arrived == EXPEDITED << 2:
        return Check("DSCP", GOOD, f"{cause}; the network beyond is not checked")
    effect = "the network cannot tell commands from other traffic: no slice, no priority"
    fix = "sudo nft list ruleset | grep -i dscp; sudo iptables -t mangle -S"
    return Check("DSCP", WARN, cause, effect, fix)
