"""Ports, keys, and whether the mark that a 5G or TSN network sorts by survives."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

from agent import keys
from agent.config.models import Config
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, listed
from agent.keys import is_local

EXPEDITED = 46  # DSCP EF
TIMEOUT_S = 0.5


def checks(box: Box) -> Iterator[Check]:
    yield from ports(box)
    yield insecure(box.config)
    yield from key_files(box)
    yield dscp(loopback_tos)


def ports(box: Box) -> Iterator[Check]:
    """Those that we serve are free or ours; those of other boxes answer."""
    config, alive = box.config, bool(box.view.pid)
    if config.metrics.port:
        yield served("metrics", config.metrics.host, config.metrics.port, alive)
    for name, actuator in config.actuators.items():
        if not actuator.endpoint.startswith("tcp://"):
            continue
        host, _, port = actuator.endpoint.removeprefix("tcp://").rpartition(":")
        if actuator.device is None:
            yield remote(name, host.strip("[]"), int(port))


def served(name: str, host: str, port: int, alive: bool) -> Check:
    title, where = f"port of {name}", f"{host}:{port}"
    answers = _reachable(host, port)
    if alive and not answers:
        mend = f"is the port taken? sudo ss -ltnp 'sport = :{port}'; then: journalctl -u reflexd"
        return Check(title, WARN, f"{where}: the daemon runs and nobody answers", "nobody can read it", mend)
    if not alive and answers:
        mend = f"sudo ss -ltnp 'sport = :{port}' tells who; choose another port"
        return Check(title, WARN, f"{where}: taken by another program", "it cannot be served", mend)
    return Check(title, GOOD, f"{where}: {'answers' if alive else 'free'}")


def remote(name: str, host: str, port: int) -> Check:
    title = f"port of actuator {name}"
    if _reachable(host, port):
        return Check(title, GOOD, f"{host}:{port} answers")
    effect = "no command arrives; the actuator is in its safe state"
    mend = f"on that box: reflexd actuate; from here: ping {host}; firewall: port {port}/tcp"
    return Check(title, BAD, f"{host}:{port}: nobody answers", effect, mend)


def _reachable(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), TIMEOUT_S):
            return True
    except OSError:
        return False


def insecure(config: Config) -> Check:
    if not config.insecure:
        return Check("insecure", GOOD, "network endpoints need keys")
    open_ones = [name for name in config.actuators if not is_local(config.endpoint(name))]
    cause, effect = "'insecure: true', and nothing needs it", "a later endpoint would be open to everybody"
    if open_ones:
        cause = f"'insecure: true': {listed(open_ones)} can be reached without keys"
        effect = "whoever is in that network can move the machine"
    return Check("insecure", WARN, cause, effect, "reflexd keys DIR; set 'keys' and 'server_key'; remove 'insecure'")


def key_files(box: Box) -> Iterator[Check]:
    config = box.config
    if config.keys is None:
        yield Check("keys", SKIP, "the configuration names none")
        return
    yield secret(config.keys.own)
    if any(one.device and not is_local(config.endpoint(name)) for name, one in config.actuators.items()):
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
        effect = "others on this box can take the key and command the actuators"
        mend = f"chmod 600 {path}; better: new keys, as it may be known"
        return Check(title, BAD, f"{path}: mode {mode:04o}, not 0600", effect, mend)
    return Check(title, GOOD, f"{path}: mode {mode:04o}")


def authorised(folder: Path | None) -> Check:
    title, effect = "authorised keys", "nobody may command the actuators of this box"
    if folder is None or not folder.is_dir():
        mend = "set keys.authorized; put the other boxes' .key files there"
        return Check(title, BAD, f"no folder '{folder}'", effect, mend)
    found, secrets = sorted(folder.glob("*.key")), sorted(folder.glob("*_secret"))
    if not found:
        return Check(
            title, BAD, f"{folder}: no .key file", effect, f"copy the public key of each commanding box to {folder}"
        )
    try:
        for path in found:
            keys.read(path)
    except OSError as error:
        return Check(title, BAD, str(error), "its box may not command", "copy it again: scp BOX:DIR/NAME.key")
    if secrets:
        cause = f"secret keys lie in {folder}: {listed([path.name for path in secrets])}"
        return Check(
            title, WARN, cause, "a secret key that travels is none", "remove them there; make new keys on that box"
        )
    return Check(title, GOOD, f"{len(found)} in {folder}")


def public(title: str, path: Path) -> Check:
    try:
        keys.read(path)
    except OSError as error:
        return Check(title, BAD, str(error), "the actuator cannot be reached", f"copy its box's public key to {path}")
    return Check(title, GOOD, str(path))


def loopback_tos(value: int) -> int:
    """The type-of-service byte that arrives when `value` is sent; raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as of:
        to.bind(("127.0.0.1", 0))
        to.settimeout(TIMEOUT_S)
        to.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        of.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, value)
        of.sendto(b"?", to.getsockname())
        _, told, _, _ = to.recvmsg(1, socket.CMSG_SPACE(4))
    return next((data[0] for level, kind, data in told if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS)), -1)


def dscp(measure: Callable[[int], int]) -> Check:
    """measure: what arrives of a type-of-service byte."""
    try:
        arrived = measure(EXPEDITED << 2)
    except OSError as error:
        return Check("DSCP", SKIP, f"loopback cannot be tried: {error}")
    if arrived == EXPEDITED << 2:
        return Check(
            "DSCP", GOOD, f"{EXPEDITED} sent, {EXPEDITED} arrived on loopback; the network beyond is not seen here"
        )
    effect = "the network cannot tell commands from other traffic: no slice, no priority"
    mend = "sudo nft list ruleset | grep -i dscp; sudo iptables -t mangle -S"
    return Check("DSCP", WARN, f"{EXPEDITED} sent, {arrived >> 2} arrived on loopback", effect, mend)
