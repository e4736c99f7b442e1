"""Checks of a configuration beyond those of its models; each mistake is one line with file:line and advice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from pydantic import ValidationError

from agent.commands import wire
from agent.commands.guard import within_limits
from agent.config.device_checks import device_mistakes
from agent.config.drift_checks import drift_mistakes
from agent.config.endpoint_checks import endpoint_mistakes
from agent.config.head_checks import bad_absence
from agent.config.lane_checks import bad_name, labels_of, lane_mistakes, reads_pictures
from agent.config.models import ActuatorConfig, Config, LaneConfig
from agent.config.offload_checks import offload_mistakes
from agent.config.redundancy_checks import redundancy_mistakes
from agent.config.site_checks import site_mistakes
from agent.data import Arguments, Command
from agent.rules.conditions import Condition
from agent.yamlfile import NAME, Document, Place, unknown
from drivers import base as drivers
from drivers.base import DriverError

COUNT, TIME = (1 << 32) - 1, (1 << 63) - 1
# A command with the largest numbers, to find out whether the longest one fits a message.
LARGEST = Command(
    node="",
    session=COUNT,
    sequence=COUNT,
    decision=COUNT,
    actuator="",
    verb="",
    arguments={},
    t_capture=TIME,
    t_sent=TIME,
    ttl=wire.MAX_TTL_US,
    clock=COUNT,
    nonce=COUNT,
    t_echo=TIME,
    held=COUNT,
)


def all_mistakes(config: Config, document: Document) -> Iterator[str]:
    """Names without a definition, options of drivers, model packages, endpoints, keys."""
    for name in config.lanes:
        yield from bad_name(document, ("lanes", name), name)
        yield from lane_mistakes(config, document, name)
    for name, actuator in config.actuators.items():
        yield from bad_name(document, ("actuators", name), name)
        yield from _bad_command(config, document, ("actuators", name), name, "rest", actuator.rest, {})
        yield from _bad_senders(config, document, ("actuators", name, "senders"), actuator)
        yield from redundancy_mistakes(config, document, name, actuator.verbs or _driver_verbs(actuator))
    yield from device_mistakes(config, document)
    yield from endpoint_mistakes(config, document)
    labels = {name: labels_of(document, lane) for name, lane in config.lanes.items()}  # once, for all rules
    for name in config.rules:
        yield from _bad_rule(config, document, name, labels)
    rules = _names(document, "rules", config.rules)
    for index, name in enumerate(config.recorder.events.rules):
        yield from unknown(document, ("recorder", "events", "rules", index), name, "rule", rules)
    yield from _unsealed_pictures(config, document)
    yield from drift_mistakes(config, document)
    yield from site_mistakes(config, document)
    yield from offload_mistakes(config, document)
    yield from _bad_updates(config, document)


def _bad_updates(config: Config, document: Document) -> Iterator[str]:
    """A model that no lane uses is never swapped in; one that is named by its path has no name to look for."""
    used = dict.fromkeys(name for lane in config.lanes.values() for name in lane.models if "/" not in name)
    for index, name in enumerate(config.update.models if config.update else []):
        yield from unknown(document, ("update", "models", index), name, "model", used, " of a lane")


def _unsealed_pictures(config: Config, document: Document) -> Iterator[str]:
    """Sealed clips beside recordings in which everybody can see the same pictures."""
    if config.recorder.events.seal and config.recorder.pictures is True:
        yield (
            f"{document.at(('recorder', 'pictures'))}: 'events.seal' encrypts the clips, but with 'pictures: true' the"
            " recordings beside them keep all pictures as they are: write 'pictures: clips', or remove 'seal'"
        )


def _names(document: Document, sections: str, valid: Mapping[str, object]) -> Mapping[str, object]:
    """Of these sections, those with mistakes, too: a rule that names one is right."""
    written = document.data.get(sections)
    return {**valid, **written} if isinstance(written, dict) else valid


def _bad_rule(
    config: Config, document: Document, name: str, labels: Mapping[str, Mapping[str, None] | None]
) -> Iterator[str]:
    rule, place = config.rules[name], ("rules", name)
    yield from bad_name(document, place, name)
    actuators, lanes = _names(document, "actuators", config.actuators), _names(document, "lanes", config.lanes)
    yield from unknown(document, (*place, "actuator"), rule.actuator, "actuator", actuators)
    if rule.actuator in config.actuators:
        yield from _bad_command(config, document, place, rule.actuator, "verb", rule.verb, rule.arguments)
    for index, condition in enumerate(rule.conditions):
        here = (*place, rule.kind, index)
        yield from unknown(document, (*here, "lane"), condition.lane, "lane", lanes)
        reported = labels.get(condition.lane)
        if reported is not None:  # a rule on a label that its model never reports would never hold
            where = f" in model '{config.lanes[condition.lane].model}'"
            yield from unknown(document, (*here, "label"), condition.label, "label", reported, where)
        yield from bad_absence(config, document, here, condition)
        if condition.zone and condition.lane in config.lanes:
            yield from _bad_zone(document, (*here, "zone"), condition, config.lanes[condition.lane])


def _bad_zone(document: Document, place: Place, condition: Condition, lane: LaneConfig) -> Iterator[str]:
    """Only evidence from pictures has a place, and so can be in a zone."""
    if isinstance(condition.zone, str) and (lane.zones or reads_pictures(document, lane)):
        yield from unknown(document, place, condition.zone, "zone", lane.zones, f" in lane '{condition.lane}'")
    elif not reads_pictures(document, lane):
        yield f"{document.at(place)}: lane '{condition.lane}' reads no pictures: it has no zones"


def _bad_command(
    config: Config, document: Document, place: Place, name: str, key: str, verb: str, arguments: Arguments
) -> Iterator[str]:
    """A verb or an argument that the actuator would refuse, or a command too long for one message."""
    actuator = config.actuators[name]
    accepted = actuator.verbs or _driver_verbs(actuator)
    if accepted and verb not in accepted:
        yield f"{document.at((*place, key))}: actuator '{name}' accepts {', '.join(accepted)}, not '{verb}'"
    longest_lane = max(config.feeding(name), key=len, default="")
    longest = LARGEST._replace(node=f"{config.node}/{longest_lane}", actuator=name, verb=verb, arguments=arguments)
    if not within_limits(arguments, actuator.limits):
        yield f"{document.at((*place, 'arguments'))}: outside the limits of actuator '{name}'"
    try:
        wire.unpack(wire.pack_command(longest))
    except wire.WireError as error:
        yield f"{document.at((*place, key))}: {error}"


def _bad_senders(config: Config, document: Document, place: Place, actuator: ActuatorConfig) -> Iterator[str]:
    """One that nothing sends as: its actuator would stay safe. Of a file without lanes, another one may have them."""
    here = dict.fromkeys(f"{config.node}/{lane}" for lane in _names(document, "lanes", config.lanes))
    for index, sender in enumerate(actuator.senders):
        node, slash, lane = sender.partition("/")
        if not (slash and re.fullmatch(NAME, node) and re.fullmatch(NAME, lane)):
            close = get_close_matches(sender, here, 1, 0.4)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            yield f"{document.at((*place, index))}: expected box/lane, found '{sender}'{hint}"
        elif node == config.node and here:
            yield from unknown(document, (*place, index), sender, "lane", here, ", which this actuator waits for")


def _driver_verbs(actuator: ActuatorConfig) -> Sequence[str]:
    """Verbs of its driver, which may depend on its options; empty for any verb, and where the driver cannot be made."""
    if actuator.device is None:
        return ()
    try:
        module = drivers.load(actuator.device.driver)
        return tuple(module.Driver(module.Options.model_validate(actuator.device.options)).verbs)
    except (DriverError, ValidationError, AttributeError):
        return ()  # reported at the device
