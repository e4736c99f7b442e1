"""What is wrong with a configuration that its models alone cannot see; one line of file:line and advice each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent import package, reference, wire
from agent.data import Arguments, Command
from agent.decoders import base as decoders
from agent.guard import Bounds, Guard
from agent.yamlfile import Document, Place
from drivers import base as drivers
from drivers.base import DriverError

if TYPE_CHECKING:
    from agent.config import ActuatorConfig, Config, Device, LaneConfig
    from agent.conditions import Condition

NAME = r"^[A-Za-z0-9_.-]{1,32}$"


def all_mistakes(config: Config, document: Document) -> Iterator[str]:
    """What the models alone cannot see: names that point nowhere, driver options, model packages, binds."""
    for name, lane in config.lanes.items():
        yield from bad_names(document, ("lanes", name), name)
        yield from bad_device(document, ("lanes", name, "source"), lane.source, source=True)
        yield from bad_model(document, ("lanes", name, "model"), lane.model)
        yield from bad_first(document, ("lanes", name, "model"), lane.model)
        if lane.fine:
            yield from bad_fine(document, ("lanes", name, "fine"), lane)
        if lane.gate:
            yield from bad_gate(config, document, ("lanes", name, "gate"), name)
        if lane.then:
            yield from bad_second(document, ("lanes", name), lane)
        yield from bad_reference(document, ("lanes", name), lane)
        yield from bad_zones(document, ("lanes", name, "zones"), lane)
        yield from bad_sound(document, ("lanes", name), lane)
        yield from bad_cores(document, ("lanes", name, "cores"), lane.cores)
    for name, actuator in config.actuators.items():
        yield from bad_names(document, ("actuators", name), name)
        if actuator.device:
            yield from bad_device(document, ("actuators", name, "device"), actuator.device, source=False)
        yield from bad_command(config, document, ("actuators", name), name, "rest", actuator.rest, {})
        yield from bad_bind(config, document, name)
    labels = {name: labels_of(document, lane) for name, lane in config.lanes.items()}  # once, for all rules
    for name in config.rules:
        yield from bad_rule(config, document, name, labels)
    for index, name in enumerate(config.recorder.events.rules):
        yield from unknown(document, ("recorder", "events", "rules", index), name, "rule", config.rules)
    if config.metrics.port and not is_local(f"tcp://{config.metrics.host}:0") and not config.insecure:
        yield f"{document.at(('metrics', 'host'))}: metrics have no keys: serve them on 127.0.0.1, or say 'insecure: true'"


def bad_names(document: Document, place: Place, name: str) -> Iterator[str]:
    if not re.fullmatch(NAME, name):
        yield f"{document.at(place)}: '{name}': a name has 1 to 32 letters, digits, '_', '.' or '-'"


def bad_device(document: Document, place: Place, device: Device, source: bool) -> Iterator[str]:
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


def bad_model(document: Document, place: Place, model: str) -> Iterator[str]:
    try:
        folder = package.find(model, document.path.resolve().parent)
        package.verify_file(folder, package.read(folder))
    except package.PackageError as error:
        yield from (f"{document.at(place)}: {line}" for line in str(error).splitlines())


def bad_first(document: Document, place: Place, model: str) -> Iterator[str]:
    """What a lane's source delivers is never keypoints."""
    try:
        poses = package.read(package.find(model, document.path.resolve().parent)).poses
    except package.PackageError:
        return  # reported by bad_model
    if poses:
        yield f"{document.at(place)}: model '{model}' reads keypoints: name it under 'then', and a pose network here"


def bad_fine(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A model that looks again takes pictures, and looks at something that the first one says."""
    assert lane.fine
    beside = document.path.resolve().parent
    wrong = list(bad_model(document, (*place, "model"), lane.fine.model))
    yield from wrong
    try:
        first = package.read(package.find(lane.model, beside))
        said = dict.fromkeys(package.labels(package.find(lane.model, beside)))
    except package.PackageError:
        return  # reported at the model
    if not first.picture:
        yield f"{document.at(place)}: model '{lane.model}' takes no pictures, so there is nothing to look at again: remove 'fine'"
        return
    yield from unknown(document, (*place, "label"), lane.fine.label, f"label of model '{lane.model}'", said)
    if wrong:
        return
    picture = package.read(package.find(lane.fine.model, beside)).picture
    if picture is None or picture.reference:
        yield f"{document.at((*place, 'model'))}: model '{lane.fine.model}' does not take a part of a picture"


def bad_gate(config: Config, document: Document, place: Place, name: str) -> Iterator[str]:
    """A gate fits what the lane reads, and never lets evidence go stale that a rule still counts on."""
    gate = config.lanes[name].gate
    assert gate
    try:
        manifest = package.read(package.find(config.lanes[name].model, document.path.resolve().parent))
    except package.PackageError:
        return  # reported at the model
    if manifest.window and not gate.outlier:
        yield f"{document.at(place)}: 'keyframe' and 'motion' are for pictures; for readings say 'outlier'"
    elif gate.outlier and not manifest.window:
        yield f"{document.at((*place, 'outlier'))}: 'outlier' is for readings; for pictures say 'keyframe' or 'motion'"
    conditions = [(rule, one) for rule, section in config.rules.items() for one in section.conditions if one.lane == name]
    for rule, one in conditions:
        longest, kind = (gate.silence_ms, "silence_ms") if one.absent else (gate.beat_ms, "beat_ms")
        if longest >= one.within_ms:
            yield (
                f"{document.at(place)}: {kind} is {longest:g}, but to rule '{rule}' the lane is missing after within_ms:"
                f" {one.within_ms:g}: it would end while the event lasts; make {kind} shorter"
            )


def bad_second(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A second model reads keypoints; the first must find them."""
    beside = document.path.resolve().parent
    wrong = list(bad_model(document, (*place, "then"), lane.then))
    yield from wrong
    try:
        manifest = package.read(package.find(lane.fine.model if lane.fine else lane.model, beside))
        first = decoders.load(manifest.decoder)
    except (package.PackageError, decoders.DecoderError):
        return  # reported at the model
    if wrong or manifest.poses:
        return  # one of the two is reported already
    if not package.read(package.find(lane.then, beside)).poses:
        yield f"{document.at((*place, 'then'))}: model '{lane.then}' reads no keypoints: give it a lane of its own"
    elif not hasattr(first, "KEYPOINTS"):
        yield f"{document.at((*place, 'then'))}: model '{lane.model}' finds no keypoints for '{lane.then}': use a pose network"


def bad_reference(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    beside = document.path.resolve().parent
    try:
        picture = package.read(package.find(lane.model, beside)).picture
    except package.PackageError:
        return  # reported at the model
    wanted = picture is not None and picture.reference
    if wanted and lane.reference is None:
        yield f"{document.at((*place, 'model'))}: model '{lane.model}' compares with a good part: add 'reference: FILE'"
    if lane.reference is None:
        return
    if not wanted:
        yield f"{document.at((*place, 'reference'))}: model '{lane.model}' compares with no reference: remove this line"
        return
    try:
        reference.read(beside / lane.reference)
    except reference.ReferenceMistake as error:
        yield f"{document.at((*place, 'reference'))}: {error}"


def bad_sound(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A model that hears takes a microphone at its own rate, and a microphone no other model."""
    name, driver = lane.model, lane.source.driver
    try:
        sound = package.read(package.find(name, document.path.resolve().parent)).sound
        module = drivers.load(driver)
        options = module.Options.model_validate(lane.source.options)
    except (package.PackageError, DriverError, ValidationError):
        return  # reported at the model or the source
    if lane.hop_ms is not None and not sound:
        yield f"{document.at((*place, 'hop_ms'))}: model '{name}' does not hear, and only such have a hop: remove this line"
    hears = issubclass(module.Driver, drivers.Microphone)
    if sound and not hears:
        where = document.at((*place, "source", "driver"))
        yield f"{where}: model '{name}' hears, and driver '{driver}' is no microphone: use audio.alsa"
    elif hears and not sound:
        yield f"{document.at((*place, 'model'))}: driver '{driver}' is a microphone, and model '{name}' does not hear"
    elif sound and (rate_hz := getattr(options, "rate_hz", sound.rate_hz)) != sound.rate_hz:
        where = document.at((*place, "source", "rate_hz"))
        yield f"{where}: model '{name}' hears at {sound.rate_hz} values a second, not at {rate_hz:g}: 'rate_hz: {sound.rate_hz}'"
    elif sound and (hop_ms := lane.hop_ms or 1000 * sound.hop / sound.rate_hz) >= getattr(options, "timeout_ms", 500.0):
        where = document.at((*place, "source", "timeout_ms"))
        yield f"{where}: it infers every {hop_ms:g} ms, and its word holds for timeout_ms: set that above, or hop_ms below"


def bad_cores(document: Document, place: Place, cores: Sequence[int]) -> Iterator[str]:
    allowed = os.sched_getaffinity(0)
    if not allowed.issuperset(cores):
        yield f"{document.at(place)}: this process may use cores {sorted(allowed)}, not {sorted(set(cores) - allowed)}"


def bad_bind(config: Config, document: Document, name: str) -> Iterator[str]:
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


def is_local(endpoint: str) -> bool:
    """Only this box can reach it."""
    if endpoint.startswith("ipc://"):
        return True
    host = endpoint.removeprefix("tcp://").rsplit(":", 1)[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bad_rule(config: Config, document: Document, name: str, labels: Mapping[str, Mapping[str, None] | None]) -> Iterator[str]:
    rule, place = config.rules[name], ("rules", name)
    yield from bad_names(document, place, name)
    yield from unknown(document, (*place, "actuator"), rule.actuator, "actuator", config.actuators)
    if rule.actuator in config.actuators:
        yield from bad_command(config, document, place, rule.actuator, "verb", rule.verb, rule.arguments)
    for index, condition in enumerate(rule.conditions):
        here = (*place, rule.kind, index)
        yield from unknown(document, (*here, "lane"), condition.lane, "lane", config.lanes)
        said = labels.get(condition.lane)
        if said is not None:  # a rule on a label that its model never says would never fire
            kind_of = f"label of model '{config.lanes[condition.lane].model}'"
            yield from unknown(document, (*here, "label"), condition.label, kind_of, said)
        if condition.zone and condition.lane in config.lanes:
            yield from bad_zone(document, (*here, "zone"), condition, config.lanes[condition.lane])


def bad_zones(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    for name in lane.zones:
        yield from bad_names(document, (*place, name), name)
    if lane.zones and not sees(document, lane):
        yield f"{document.at(place)}: a zone is a part of a picture, and model '{lane.model}' sees none: remove it"


def bad_zone(document: Document, place: Place, condition: Condition, lane: LaneConfig) -> Iterator[str]:
    """Evidence that has no place is in no zone."""
    if isinstance(condition.zone, str) and (lane.zones or sees(document, lane)):
        yield from unknown(document, place, condition.zone, f"zone of lane '{condition.lane}'", lane.zones)
    elif not sees(document, lane):
        yield f"{document.at(place)}: lane '{condition.lane}' sees no pictures: it has no zones"


def sees(document: Document, lane: LaneConfig) -> bool:
    """Its model reads pictures; also where the model is wrong, which is reported there."""
    try:
        return package.read(package.find(lane.model, document.path.resolve().parent)).picture is not None
    except package.PackageError:
        return True


def bad_command(
    config: Config, document: Document, place: Place, name: str, key: str, verb: str, arguments: Arguments
) -> Iterator[str]:
    """What the actuator would refuse, or what is too long for one message."""
    actuator = config.actuators[name]
    takes = actuator.verbs or driver_verbs(actuator)
    if takes and verb not in takes:
        yield f"{document.at((*place, key))}: actuator '{name}' takes {', '.join(takes)}, not '{verb}'"
    node = f"{config.node}/{max(config.feeding(name), key=len, default='')}"
    count, time = (1 << 32) - 1, (1 << 63) - 1
    longest = Command(node, count, count, count, name, verb, arguments, time, time, count, count)
    if not Guard(name, Bounds(frozenset(), 0, frozenset(), actuator.limits), 0).within_limits(longest):
        yield f"{document.at((*place, 'arguments'))}: outside the limits of actuator '{name}'"
    try:
        wire.unpack(wire.pack_command(longest))
    except wire.WireError as error:
        yield f"{document.at((*place, key))}: {error}"


def driver_verbs(actuator: ActuatorConfig) -> Sequence[str]:
    """What its driver takes, which may follow from its options; nothing for any verb, or if the driver cannot be made."""
    if actuator.device is None:
        return ()
    try:
        module = drivers.load(actuator.device.driver)
        return tuple(module.Driver(module.Options.model_validate(actuator.device.options)).verbs)
    except (DriverError, ValidationError, AttributeError):
        return ()  # reported at the device


def labels_of(document: Document, lane: LaneConfig) -> dict[str, None] | None:
    """What the lane's models can say; None where one is wrong, which is reported at the lane."""
    beside = document.path.resolve().parent
    try:
        return dict.fromkeys(label for model in lane.models for label in package.labels(package.find(model, beside)))
    except package.PackageError:
        return None


def unknown(document: Document, place: Place, name: str, kind: str, known: Mapping[str, object]) -> Iterator[str]:
    if name in known:
        return
    close = get_close_matches(name, known, 1, 0.5)
    hint = f"; did you mean '{close[0]}'?" if close else f"; there is {', '.join(list(known)[:12]) or 'none'}"
    yield f"{document.at(place)}: no {kind} '{name}'{hint}"
