"""Checks of sources and devices: options, a device used twice, what a model cannot read, too slow a rate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from pydantic import ValidationError

from agent.config.endpoint_checks import one_spelling
from agent.config.models import Config, Device, LaneConfig
from agent.errors import PackageError
from agent.packages import package
from agent.packages.manifest import Manifest
from agent.prepare.decimate import rate_mistake
from agent.section import explain
from agent.yamlfile import Document, Place, unknown
from drivers import base as drivers
from drivers.base import DriverError
from drivers.identity import identity


class Usage(NamedTuple):
    """A device in use. user: as in "lane 'yard'". options: validated."""

    place: Place
    user: str
    module: ModuleType
    options: Any


def device_mistakes(config: Config, document: Document) -> Iterator[str]:
    """Of every source and device, and of pairs of them."""
    for name, lane in config.lanes.items():
        yield from _bad_device(document, ("lanes", name, "source"), lane.source, source=True)
    for name, actuator in config.actuators.items():
        if actuator.device:
            yield from _bad_device(document, ("actuators", name, "device"), actuator.device, source=False)
    yield from _used_twice(config, document)
    for name, lane in config.lanes.items():
        yield from _bad_model(config, document, name, lane)


def usages(config: Config) -> Iterator[Usage]:
    """Every source and device whose driver and options are valid."""
    for name, lane in config.lanes.items():
        yield from _usage(lane.source, ("lanes", name, "source"), f"lane '{name}'")
    for name, actuator in config.actuators.items():
        if actuator.device:
            yield from _usage(actuator.device, ("actuators", name, "device"), f"actuator '{name}'")


def _usage(device: Device, place: Place, user: str) -> Iterator[Usage]:
    try:
        module = drivers.load(device.driver)
        yield Usage(place, user, module, module.Options.model_validate(device.options))
    except (DriverError, ValidationError):
        return  # reported by _bad_device


def _bad_device(document: Document, place: Place, device: Device, source: bool) -> Iterator[str]:
    try:
        module = drivers.load(device.driver)
    except DriverError as error:
        yield f"{document.at((*place, 'driver'))}: {error}"
        return
    if issubclass(module.Driver, drivers.Actuator) == source:
        expected = "a source (camera, sensor, microphone)" if source else "an actuator"
        yield f"{document.at((*place, 'driver'))}: driver '{device.driver}' is not {expected}"
        return
    try:
        module.Options.model_validate(device.options)
    except ValidationError as error:
        yield from explain(document, error, module.Options, place)


def _used_twice(config: Config, document: Document) -> Iterator[str]:
    """A device that two would open; of a relay board each actuator may switch other relays."""
    users: dict[str, list[Usage]] = {}
    for usage in usages(config):
        name = _exclusive(usage)
        if not name:
            continue
        others = users.setdefault(_identity(name), [])
        yield from (mistake for other in others[:1] for mistake in _clash(document, usage, other))
        yield from (mistake for other in others[1:] for mistake in _clash(document, usage, other))
        others.append(usage)


def _clash(document: Document, usage: Usage, other: Usage) -> Iterator[str]:
    parts, others_parts = usage.options.exclusive_parts(), other.options.exclusive_parts()
    name, others_name = _exclusive(usage), _exclusive(other)
    also = "" if name == others_name else f", as '{others_name}'"
    if not parts or not others_parts:
        yield f"{document.at(usage.place)}: '{name}' is used by {other.user}, too{also}: only one may open it"
    elif parts & others_parts:
        word = getattr(usage.options, "part_name", "relay")
        part = min(parts & others_parts)
        yield f"{document.at(usage.place)}: {word} {part} of '{name}' is switched by {other.user}, too{also}"
    elif getattr(usage.options, "baud", 0) != getattr(other.options, "baud", 0):
        yield f"{document.at(usage.place)}: '{name}' is used by {other.user}, too{also}: at another baud"


def _exclusive(usage: Usage) -> str:
    """Empty for drivers of others, whose options need not derive from ours."""
    return str(getattr(usage.options, "exclusive_device", str)())


def _identity(name: str) -> str:
    """The same for every name of a device: links, two nodes of one number, a host in capitals."""
    return _address(name) if "://" in name else identity(name)


def _address(url: str) -> str:
    """The same for every spelling of a socket."""
    kind, _, rest = url.partition("://")
    host, _, port = re.split("[/?#]", rest, maxsplit=1)[0].rpartition(":")
    return f"{kind.lower()}://{one_spelling(host)}:{port.lstrip('0')}"


def _bad_model(config: Config, document: Document, name: str, lane: LaneConfig) -> Iterator[str]:
    """What the source delivers, and how often, against what the model reads and the rules expect."""
    try:
        manifest = package.read(package.find(lane.model, document.path.resolve().parent))
    except PackageError:
        return  # reported at the model
    for usage in _usage(lane.source, ("lanes", name, "source"), name):
        yield from _bad_kind(document, usage, lane, manifest)
        yield from bad_channels(document, usage, lane, manifest, offered_channels(usage))
        yield from bad_rate(config, document, usage, name, manifest, offered_rate(usage))


def _bad_kind(document: Document, usage: Usage, lane: LaneConfig, manifest: Manifest) -> Iterator[str]:
    """Sound is checked with its rate."""
    driver, line = lane.source.driver, document.at((*usage.place, "driver"))
    if manifest.picture and not issubclass(usage.module.Driver, (drivers.Camera, drivers.Microphone)):
        yield f"{line}: model '{lane.model}' reads pictures, and driver '{driver}' is not a camera"
    if manifest.window and issubclass(usage.module.Driver, drivers.Camera):
        yield f"{line}: model '{lane.model}' reads a sensor, and driver '{driver}' is a camera"


def offered_channels(usage: Usage) -> tuple[str, ...]:
    """Of a sensor; empty where they are known only once it is open."""
    if not issubclass(usage.module.Driver, drivers.SensorStream):
        return ()
    named = getattr(usage.options, "channels", ()) or getattr(usage.options, "signals", ())
    return tuple(usage.module.Driver(usage.options).channels) or tuple(named)


def bad_channels(
    document: Document, usage: Usage, lane: LaneConfig, manifest: Manifest, offered: tuple[str, ...]
) -> Iterator[str]:
    """A channel that the model or the gate needs. offered: empty where it is not known."""
    if not offered or not manifest.window:
        return
    known, place = dict.fromkeys(offered), (*usage.place, "channels")
    missing = [name for name in manifest.window.channels if name not in known]
    if missing:
        yield (
            f"{document.at(place)}: model '{lane.model}' needs channel '{missing[0]}'"
            f"; the source has {', '.join(offered[:12])}"
        )
    for name in lane.gate.outlier if lane.gate else ():
        yield from unknown(document, (*usage.place[:-1], "gate", "outlier", name), name, "channel", known)


def offered_rate(usage: Usage) -> float:
    """Samples a second; 0 where it is not known, or the source has no pace of its own."""
    if issubclass(usage.module.Driver, drivers.Microphone) or getattr(usage.options, "pace", "real") == "fast":
        return 0.0
    return float(getattr(usage.options, "fps", 0.0) or getattr(usage.options, "rate_hz", 0.0) or 0.0)


def bad_model_rate(
    document: Document, usage: Usage, lane: LaneConfig, manifest: Manifest, rate_hz: float
) -> Iterator[str]:
    """Readings that come more slowly than the model wants them."""
    sensor = issubclass(usage.module.Driver, (drivers.SensorStream, drivers.Sensor))
    if manifest.window and sensor and (mistake := rate_mistake(manifest.window.rate_hz, rate_hz, f"'{lane.model}'")):
        yield f"{document.at((*usage.place, 'rate_hz'))}: {mistake}"


def bad_rate(
    config: Config, document: Document, usage: Usage, name: str, manifest: Manifest, rate_hz: float
) -> Iterator[str]:
    """A source that is too slow for the model, or would count as stale, or its lane as missing, between two samples."""
    if not rate_hz:
        return
    too_slow = list(bad_model_rate(document, usage, config.lanes[name], manifest, rate_hz))
    if too_slow:
        yield from too_slow
        return
    period_ms, timeout_ms = 1000 / rate_hz, float(getattr(usage.options, "timeout_ms", 500.0))
    line = document.at((*usage.place, "fps" if hasattr(usage.options, "fps") else "rate_hz"))
    if period_ms >= timeout_ms:
        yield (
            f"{line}: a sample comes every {period_ms:g} ms, but after timeout_ms: {timeout_ms:g} the source counts as"
            f" stale: set timeout_ms to {3 * period_ms:g} or so"
        )
    window = manifest.window
    interval_ms = max(period_ms, 1000 / window.rate_hz if window and window.rate_hz else 0.0)
    interval_ms *= (window.hop if window else 1) * config.lanes[name].every
    if config.lanes[name].every > 1 and interval_ms >= timeout_ms:
        yield (
            f"{document.at(('lanes', name, 'every'))}: lane '{name}' infers every {interval_ms:g} ms, but a command"
            f" holds for timeout_ms: {timeout_ms:g} after its sample: make every smaller, or timeout_ms longer"
        )
    for rule, section in config.rules.items():
        if any(each.lane == name and each.within_ms <= interval_ms for each in section.conditions):
            yield (
                f"{line}: lane '{name}' infers every {interval_ms:g} ms, but rule '{rule}' counts it as missing before:"
                f" set within_ms in its condition to {2 * interval_ms:g} or so"
            )
