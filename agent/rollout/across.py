"""Mistakes that no box's configuration has alone: names used twice, commands that would be refused, addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agent import keys
from agent.config.endpoint_checks import ANY, one_spelling
from agent.config.models import Config
from agent.endpoints import is_ipc, is_local
from agent.yamlfile import Document, Place


class Box(NamedTuple):
    """A box of the file, its configuration valid by itself."""

    name: str
    document: Document
    config: Config


class Host(NamedTuple):
    """The box that has an actuator's device."""

    box: Box
    endpoint: str


def mistakes(boxes: Sequence[Box]) -> Iterator[str]:
    yield from _same_nodes(boxes)
    yield from _same_addresses(boxes)
    yield from _other_sites(boxes)
    hosts = {actuator: Host(box, box.config.endpoint(actuator)) for box in boxes for actuator in _hosted(box)}
    for box in boxes:
        for actuator in _commanded(box):
            if actuator in hosts and hosts[actuator].box is not box:
                yield from _bad_commander(box, actuator, hosts[actuator])
        yield from _bad_senders(box, boxes)


def warnings(boxes: Sequence[Box]) -> Iterator[str]:
    hosted = {actuator for box in boxes for actuator in _hosted(box)}
    for box in boxes:
        for actuator in _commanded(box):
            if actuator not in hosted:
                where = box.document.at(("actuators", actuator))
                yield f"{where}: warning: box '{box.name}' commands actuator '{actuator}', which no box here has"


def _hosted(box: Box) -> Iterator[str]:
    return (name for name, actuator in box.config.actuators.items() if actuator.device)


def _commanded(box: Box) -> list[str]:
    """Of other boxes: those without a device that a rule names."""
    named = {rule.actuator for rule in box.config.rules.values()}
    return [name for name, actuator in box.config.actuators.items() if not actuator.device and name in named]


def _same_nodes(boxes: Sequence[Box]) -> Iterator[str]:
    first: dict[str, str] = {}
    for box in boxes:
        other = first.setdefault(box.config.node, box.name)
        if other != box.name:
            where = box.document.at(("node",))
            yield f"{where}: box '{box.name}' has the node '{box.config.node}', as box '{other}' has: give each its own"


def _same_addresses(boxes: Sequence[Box]) -> Iterator[str]:
    """Two boxes cannot listen at one address; what each has of its own, as loopback, is no mistake."""
    first: dict[tuple[str, str], str] = {}
    for box in boxes:
        for place, host, port in _addresses(box):
            other = first.setdefault((host, port), box.name)
            if other != box.name:
                yield f"{box.document.at(place)}: box '{box.name}' listens at {host}:{port}, as box '{other}' does"


def _addresses(box: Box) -> Iterator[tuple[Place, str, str]]:
    """Places, hosts and ports in the network."""
    listed: list[tuple[Place, str]] = [
        (("actuators", name, "endpoint"), box.config.endpoint(name)) for name in _hosted(box)
    ]
    for index, address in enumerate(_site(box).get("listen") or []):
        listed.append((("site", "listen", index), str(address).replace("/", "://", 1)))
    for place, endpoint in listed:
        host, _, port = endpoint.rpartition("://")[2].rpartition(":")
        if not is_ipc(endpoint) and not is_local(f"tcp://{host}:0") and one_spelling(host) not in ANY:
            yield place, one_spelling(host), port


def _site(box: Box) -> Mapping[str, Any]:
    section = box.document.data.get("site")
    return section if isinstance(section, dict) else {}


def _other_sites(boxes: Sequence[Box]) -> Iterator[str]:
    """Boxes with another name of the site never meet."""
    named = [(box, str(_site(box)["name"])) for box in boxes if "name" in _site(box)]
    for box, name in named[1:]:
        if name != named[0][1]:
            where = box.document.at(("site", "name"))
            yield f"{where}: box '{box.name}' is in site '{name}', box '{named[0][0].name}' in '{named[0][1]}'"


def _bad_commander(box: Box, actuator: str, host: Host) -> Iterator[str]:
    """The actuator's box would not hear it, or refuse its commands."""
    where = box.document.at(("actuators", actuator, "endpoint"))
    named = f"actuator '{actuator}' of box '{host.box.name}'"
    if is_ipc(host.endpoint):
        place = host.box.document.at(("actuators", actuator))
        yield f"{place}: box '{box.name}' commands {named}, which is not in the network: give it a tcp endpoint"
        return
    if is_ipc(box.config.endpoint(actuator)):
        yield f"{where}: box '{box.name}' has no address of {named}: write 'endpoint: tcp://HOST:PORT'"
        return
    ports = [endpoint.rpartition(":")[2] for endpoint in (box.config.endpoint(actuator), host.endpoint)]
    if int(ports[0]) != int(ports[1]):
        yield f"{where}: box '{box.name}' sends to port {ports[0]}, {named} listens at {ports[1]}"
    yield from _missing_key(box, named, host.box)


def _missing_key(box: Box, named: str, host: Box) -> Iterator[str]:
    """Where its folder of keys is here, too; `reflexd check` on that box looks at it in any case."""
    folder = host.config.keys.authorized if host.config.keys else None
    if folder and os.path.isdir(folder) and not os.path.isfile(folder / f"{box.config.node}{keys.SUFFIX}"):
        where = host.document.at(("keys", "authorized"))
        yield f"{where}: no key '{box.config.node}{keys.SUFFIX}' in '{folder}': box '{box.name}' commands {named}"


def _bad_senders(box: Box, boxes: Sequence[Box]) -> Iterator[str]:
    """An actuator that waits for a lane which no box has stays in its safe state for ever."""
    known = {f"{each.config.node}/{lane}" for each in boxes for lane in each.config.lanes}
    for name, actuator in box.config.actuators.items():
        for index, sender in enumerate(actuator.senders):
            if sender not in known:
                where = box.document.at(("actuators", name, "senders", index))
                yield f"{where}: no box of this file has the lane '{sender}': actuator '{name}' would stay safe"
