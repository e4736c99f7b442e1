"""What is wrong with a configuration that its models alone cannot see; one line of file:line and advice each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from agent.commands import wire
from agent.commands.guard import within_limits
from agent.config.lane_checks import bad_names, labels_of, lane_mistakes, sees
from agent.config.models import ActuatorConfig, Config, Device, LaneConfig
from agent.data import Arguments, Command
from agent.keys import is_local
from agent.rules.conditions import Condition
from agent.yamlfile import Document, Place, unknown
from drivers import base as drivers
from drivers.base import DriverError


def all_mistakes(config: Config, document: Document) -> Iterator[str]:
    """What the models alone cannot see: names that point nowhere, driver options, model packages, binds."""
    for name, lane in config.lanes.items():
        yield from bad_names(document, ("lanes", name), name)
        yield from _bad_device(document, ("lanes", name, "source"), lane.source, source=True)
        yield from lane_mistakes(config, document, name)
    for name, actuator in config.actuators.items():
        yield from bad_names(document, ("actuators", name), name)
        if actuator.device:
            yield from _bad_device(document, ("actuators", name, "device"), actuator.device, source=False)
        yield from _bad_command(config, document, ("actuators", name), name, "rest", actuator.rest, {})
        yield from _bad_bind(config, document, name)
    labels = {name: labels_of(document, lane) for name, lane in config.lanes.items()}  # once, for all rules
    for name in config.rules:
        yield from _bad_rule(config, document, name, labels)
    for index, name in enumerate(config.recorder.events.rules):
        yield from unknown(document, ("recorder", "events", "rules", index), name, "rule", config.rules)
    if config.metrics.port and not is_local(f"tcp://{config.metrics.host}:0") and not config.insecure:
        yield f"{document.at(('metrics', 'host'))}: metrics have no keys: serve them on 127.0.0.1, or say 'insecure: true'"


def _bad_device(document: Document, place: Place, device: Device, source: bool) -> Iterator[str]:
    try:
        module = drivers.load(device.driver)
    except DriverError as error:
        yield f"{document.at((*place, 'driver'))}: {error}"
        return
    if issubclass(module.Driver, drivers.Actuator) == source:
        wanted = "a source (camera, sensor, microphone)" if source else "an actuator"
        yield f"{document.at((*place, 'driver'))}: driver '{device.driver}' is not {wanted}"
        return
    try:
        module.Options.model_validate(device.options)
    except ValidationError as error:
        yield from document.explain(error, module.Options, place)


def _bad_bind(config: Config, document: Document, name: str) -> Iterator[str]:
    endpoint, actuator = config.endpoint(name), config.actuators[name]
    place = ("actuators", name, "endpoint")
    size = len(os.fsencode(endpoint.removeprefix("ipc://")))
    if endpoint.startswith("ipc://") and size > 107:
        yield f"{document.at(place)}: the socket path has {size} bytes, the kernel takes 107: shorten run_dir"
    if is_local(endpoint) or config.insecure:
        return
    if config.keys is None or (actuator.device is None and actuator.server_key is None):
        yield (
            f"{document.at(place)}: '{endpoint}' can be reached from the network and there are no keys: use 'reflexd keys DIR',"
            " set 'keys' (and 'server_key' of a remote actuator), or say 'insecure: true' if the network is yours alone"
        )


def _bad_rule(
    config: Config, document: Document, name: str, labels: Mapping[str, Mapping[str, None] | None]
) -> Iterator[str]:
    rule, place = config.rules[name], ("rules", name)
    yield from bad_names(document, place, name)
    yield from unknown(document, (*place, "actuator"), rule.actuator, "actuator", config.actuators)
    if rule.actuator in config.actuators:
        yield from _bad_command(config, document, place, rule.actuator, "verb", rule.verb, rule.arguments)
    for index, condition in enumerate(rule.conditions):
        here = (*place, rule.kind, index)
        yield from unknown(document, (*here, "lane"), condition.lane, "lane", config.lanes)
        said = labels.get(condition.lane)
        if said is not None:  # a rule on a label that its model never says would never fire
            kind_of = f"label of model '{config.lanes[condition.lane].model}'"
            yield from unknown(document, (*here, "label"), condition.label, kind_of, said)
        if condition.zone and condition.lane in config.lanes:
            yield from _bad_zone(document, (*here, "zone"), condition, config.lanes[condition.lane])


def _bad_zone(document: Document, place: Place, condition: Condition, lane: LaneConfig) -> Iterator[str]:
    """Evidence that has no place is in no zone."""
    if isinstance(condition.zone, str) and (lane.zones or sees(document, lane)):
        yield from unknown(document, place, condition.zone, f"zone of lane '{condition.lane}'", lane.zones)
    elif not sees(document, lane):
        yield f"{document.at(place)}: lane '{condition.lane}' sees no pictures: it has no zones"


def _bad_command(
    config: Config, document: Document, place: Place, name: str, key: str, verb: str, arguments: Arguments
) -> Iterator[str]:
    """What the actuator would refuse, or what is too long for one message."""
    actuator = config.actuators[name]
    takes = actuator.verbs or _driver_verbs(actuator)
    if takes and verb not in takes:
        yield f"{document.at((*place, key))}: actuator '{name}' takes {', '.join(takes)}, not '{verb}'"
    node = f"{config.node}/{max(config.feeding(name), key=len, default='')}"
    count, time = (1 << 32) - 1, (1 << 63) - 1
    longest = Command(node, count, count, count, name, verb, arguments, time, time, count, count)
    if not within_limits(arguments, actuator.limits):
        yield f"{document.at((*place, 'arguments'))}: outside the limits of actuator '{name}'"
    try:
        wire.unpack(wire.pack_command(longest))
    except wire.WireError as error:
        yield f"{document.at((*place, key))}: {error}"


def _driver_verbs(actuator: ActuatorConfig) -> Sequence[str]:
    """What its driver takes, which may follow from its options; nothing for any verb, or if the driver cannot be made."""
    if actuator.device is None:
        return ()
    try:
        module = drivers.load(actuator.device.driver)
        return tuple(module.Driver(module.Options.model_validate(actuator.device.options)).verbs)
    except (DriverError, ValidationError, AttributeError):
        return ()  # reported at the device
