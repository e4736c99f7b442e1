"""Checks of actuators that redundant boxes command: whose word could never count, and whose could count unproven."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent import endpoints, keys
from agent.commands.merge import box_of
from agent.config.models import ActuatorConfig, Config
from agent.yamlfile import NAME, Document, Place, unknown


def redundancy_mistakes(config: Config, document: Document, name: str, verbs: Sequence[str]) -> Iterator[str]:
    """verbs: that the actuator accepts; empty: any, or not known."""
    section, place = config.actuators[name], ("actuators", name)
    yield from _used_twice(document, (*place, "boxes"), section.boxes, "box")
    yield from _used_twice(document, (*place, "strongest"), section.strongest, "verb")
    for index, verb in enumerate(section.strongest if verbs else ()):
        where = f" of actuator '{name}'"
        yield from unknown(document, (*place, "strongest", index), verb, "verb", dict.fromkeys(verbs), where)
    if not section.boxes:
        if section.strongest:
            line = document.at((*place, "strongest"))
            yield f"{line}: a verb is stronger than that of another box: set 'boxes: [BOX, BOX]', or leave it out"
        return
    yield from _bad_names(config, document, name)
    yield from _bad_senders(document, (*place, "senders"), section)
    if section.device and not endpoints.is_local(config.endpoint(name)) and config.keys is None and config.insecure:
        yield (
            f"{document.at((*place, 'boxes'))}: without keys nothing proves which of its boxes commands, and one sender"
            " could speak for all of them: set 'keys' with 'authorized'"
        )


def _used_twice(document: Document, place: Place, names: Sequence[str], kind: str) -> Iterator[str]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"{document.at((*place, index))}: {kind} '{name}' is listed twice"


def _bad_names(config: Config, document: Document, name: str) -> Iterator[str]:
    """Too few boxes, no name of a box, or this one commands it and is not listed."""
    boxes, place = config.actuators[name].boxes, ("actuators", name, "boxes")
    for index, box in enumerate(boxes):
        if not re.fullmatch(NAME, box):
            yield f"{document.at((*place, index))}: expected a box's 'node', found '{box}'"
    if len(boxes) < 2:
        yield f"{document.at(place)}: one box is not redundant: list two or more, or leave 'boxes' out"
    if config.feeding(name) and config.node not in boxes:
        yield (
            f"{document.at(place)}: this box, '{config.node}', commands actuator '{name}' and is not among its boxes"
            f" ({', '.join(boxes)}): all of its commands would be refused"
        )


def _bad_senders(document: Document, place: Place, section: ActuatorConfig) -> Iterator[str]:
    """Of a box that is not listed, or of some of the boxes only: of the others any lane would be enough."""
    for index, sender in enumerate(section.senders):
        if "/" in sender and box_of(sender) not in section.boxes:
            listed = ", ".join(section.boxes)
            yield f"{document.at((*place, index))}: box '{box_of(sender)}' is not among its boxes ({listed})"
    named = {box_of(sender) for sender in section.senders}
    for box in section.boxes if named else ():
        if box not in named:
            yield f"{document.at(place)}: no lane of box '{box}': name the lanes of each of its boxes, or none"


def redundancy_warnings(config: Config, document: Document) -> Iterator[str]:
    """Boxes that cannot reach the actuator, or have no key yet."""
    for name, section in config.actuators.items():
        if section.device is None or not section.boxes:
            continue
        endpoint, place = config.endpoint(name), ("actuators", name, "boxes")
        if endpoints.is_local(endpoint):
            yield (
                f"{document.at(place)}: warning: only this box reaches '{endpoint}', so its boxes would all have to be"
                " daemons of this one: set 'endpoint: tcp://HOST:PORT'"
            )
        elif config.keys and config.keys.authorized:
            yield from _without_key(config.node, config.keys.authorized, section.boxes, document.at(place))


def _without_key(node: str, authorized: Path, boxes: Sequence[str], line: str) -> Iterator[str]:
    """A folder that is missing, or that only the service may read, is reported elsewhere."""
    try:
        names = os.listdir(authorized)
    except OSError:
        return
    for box in boxes:
        if box != node and re.fullmatch(NAME, box) and f"{box}{keys.SUFFIX}" not in names:
            yield (
                f"{line}: warning: no key of box '{box}' in '{authorized}', so it cannot command: copy its public key"
                f" there as {box}{keys.SUFFIX}"
            )
