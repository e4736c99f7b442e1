"""Checks of a lane's section beyond those of its configuration model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from agent import redact
from agent.backends import base as backends
from agent.commands import wire
from agent.config.head_checks import head_mistakes
from agent.config.models import Config, LaneConfig
from agent.decoders import base as decoders
from agent.errors import MissingPackage, PackageError, Pending, about_file, heals
from agent.packages import package
from agent.packages.checksums import verify_files
from agent.vision import reference
from agent.yamlfile import NAME, Document, Place, unknown
from drivers import base as drivers
from drivers.base import DriverError


def lane_mistakes(config: Config, document: Document, name: str) -> Iterator[str]:
    """Everything except the lane's name and the options of its source."""
    lane, place = config.lanes[name], ("lanes", name)
    yield from _bad_model(document, (*place, "model"), lane.model)
    yield from _bad_backend(document, (*place, "backend"), lane)
    yield from _bad_first_model(document, (*place, "model"), lane.model)
    for head in lane.heads:
        yield from _bad_model(document, (*place, "heads", head), head)
    yield from head_mistakes(document, name, lane)
    if lane.refine:
        yield from _bad_refine(document, (*place, "refine"), lane)
    if lane.gate:
        yield from _bad_gate(config, document, (*place, "gate"), name)
    if lane.then:
        yield from _bad_second_model(document, place, lane)
    yield from _bad_reference(document, place, lane)
    yield from _bad_sound(document, place, lane)
    yield from _bad_timeout(document, (*place, "source", "timeout_ms"), lane.source.options.get("timeout_ms"))
    yield from _bad_zones(document, (*place, "zones"), lane)
    if lane.shrink != 1 and not reads_pictures(document, lane):
        yield f"{document.at((*place, 'shrink'))}: model '{lane.model}' reads no pictures: there is nothing to shrink"
    yield from _bad_cores(document, (*place, "cores"), lane.cores)


def bad_name(document: Document, place: Place, name: str) -> Iterator[str]:
    if not re.fullmatch(NAME, name):
        yield f"{document.at(place)}: '{name}': a name has 1 to 32 letters, digits, '_', '.' or '-'"


def _bad_model(document: Document, place: Place, model: str) -> Iterator[str]:
    try:
        folder = package.find(model, document.path.resolve().parent)
        verify_files(folder, package.read(folder))
    except PackageError as error:
        kind = Pending if isinstance(error, MissingPackage) or heals(error) else str
        yield from (kind(f"{document.at(place)}: {line}") for line in redact.lines(error))


def _bad_backend(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """One that is installed; whether it runs this model, the trial of `reflexd check` tells."""
    try:
        if lane.backend:
            backends.check(lane.backend)
    except backends.EngineError as error:
        yield from (f"{document.at(place)}: {line}" for line in redact.lines(error))


def _bad_first_model(document: Document, place: Place, model: str) -> Iterator[str]:
    """No source delivers keypoints."""
    try:
        poses = package.read(package.find(model, document.path.resolve().parent)).poses
    except PackageError:
        return  # reported by _bad_model
    if poses:
        yield f"{document.at(place)}: model '{model}' reads keypoints: name it under 'then', and a pose network here"


def _bad_refine(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A refining model reads pictures, around a label that the first model reports."""
    assert lane.refine
    base_folder = document.path.resolve().parent
    mistakes = list(_bad_model(document, (*place, "model"), lane.refine.model))
    yield from mistakes
    try:
        first = package.read(package.find(lane.model, base_folder))
        labels = dict.fromkeys(
            label for model in lane.first_models for label in package.labels(package.find(model, base_folder))
        )
    except PackageError:
        return  # reported at the model
    if not first.picture:
        yield f"{document.at(place)}: model '{lane.model}' reads no pictures: remove 'refine'"
        return
    yield from unknown(document, (*place, "label"), lane.refine.label, "label", labels, f" in model '{lane.model}'")
    if lane.then and lane.refine.band[1] < 1.0:
        yield (
            f"{document.at((*place, 'band'))}: '{lane.then}' reads the keypoints of this model, which does not run on"
            f" scores above {lane.refine.band[1]:g}: let band end at 1"
        )
    if mistakes:
        return
    picture = package.read(package.find(lane.refine.model, base_folder)).picture
    if picture is None or picture.reference:
        yield f"{document.at((*place, 'model'))}: model '{lane.refine.model}' cannot read a part of a picture"


def _bad_gate(config: Config, document: Document, place: Place, name: str) -> Iterator[str]:
    """A gate suits what the lane reads, and infers before its evidence becomes stale for a rule."""
    gate = config.lanes[name].gate
    assert gate
    try:
        manifest = package.read(package.find(config.lanes[name].model, document.path.resolve().parent))
    except PackageError:
        return  # reported at the model
    if manifest.window and not gate.outlier:
        yield f"{document.at(place)}: 'keyframe' and 'motion' are for pictures; for readings use 'outlier'"
    elif gate.outlier and not manifest.window:
        yield f"{document.at((*place, 'outlier'))}: 'outlier' is for readings; for pictures use 'keyframe' or 'motion'"
    conditions = [(rule, condition) for rule, section in config.rules.items() for condition in section.conditions]
    for rule, condition in conditions:
        key = "idle_interval_ms" if condition.absent else "active_interval_ms"
        interval_ms = getattr(gate, key)
        if condition.lane == name and interval_ms >= condition.within_ms:
            yield (
                f"{document.at(place)}: {key} is {interval_ms:g}, but for rule '{rule}' the lane is missing after"
                f" within_ms: {condition.within_ms:g}: it would end while the event lasts; make {key} shorter"
            )


def _bad_second_model(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A second model reads keypoints, which the first must find."""
    base_folder = document.path.resolve().parent
    mistakes = list(_bad_model(document, (*place, "then"), lane.then))
    yield from mistakes
    try:
        manifest = package.read(package.find(lane.refine.model if lane.refine else lane.model, base_folder))
        first = decoders.load(manifest.decoder)
    except (PackageError, decoders.DecoderError):
        return  # reported at the model
    if mistakes or manifest.poses:
        return  # reported already
    if not package.read(package.find(lane.then, base_folder)).poses:
        yield f"{document.at((*place, 'then'))}: model '{lane.then}' reads no keypoints: give it a lane of its own"
    elif not first.Decoder.finds_keypoints(manifest.options):
        line = document.at((*place, "then"))
        yield f"{line}: model '{lane.model}' finds no keypoints for '{lane.then}': use a pose network"


def _bad_reference(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    base_folder = document.path.resolve().parent
    try:
        picture = package.read(package.find(lane.model, base_folder)).picture
    except PackageError:
        return  # reported at the model
    compares = picture is not None and picture.reference
    if compares and lane.reference is None:
        yield f"{document.at((*place, 'model'))}: model '{lane.model}' compares with a good part: add 'reference: FILE'"
    if lane.reference is None:
        return
    if not compares:
        yield f"{document.at((*place, 'reference'))}: model '{lane.model}' compares with no reference: remove this line"
        return
    try:
        reference.read(base_folder / lane.reference)
    except reference.BadReference as error:
        yield about_file(base_folder / lane.reference, f"{document.at((*place, 'reference'))}: {error}")


def _bad_sound(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A sound model reads a microphone at its own rate, and no other model reads a microphone."""
    name, driver = lane.model, lane.source.driver
    try:
        sound = package.read(package.find(name, document.path.resolve().parent)).sound
        module = drivers.load(driver)
        options = module.Options.model_validate(lane.source.options)
    except (PackageError, DriverError, ValidationError):
        return  # reported at the model or the source
    if lane.hop_ms is not None and not sound:
        line = document.at((*place, "hop_ms"))
        yield f"{line}: model '{name}' reads no sound, and only sound models have a hop: remove this line"
    microphone = issubclass(module.Driver, drivers.Microphone)
    if sound and not microphone:
        line = document.at((*place, "source", "driver"))
        yield f"{line}: model '{name}' reads sound, and driver '{driver}' is not a microphone: use audio.alsa"
    elif microphone and not sound:
        yield f"{document.at((*place, 'model'))}: driver '{driver}' is a microphone, and model '{name}' reads no sound"
    elif sound and (rate_hz := getattr(options, "rate_hz", sound.rate_hz)) != sound.rate_hz:
        line = document.at((*place, "source", "rate_hz"))
        yield f"{line}: model '{name}' reads {sound.rate_hz} values a second, not {rate_hz:g}: set rate_hz to that"
    elif sound and (hop_ms := lane.hop_ms or 1000 * sound.hop / sound.rate_hz) >= getattr(options, "timeout_ms", 500.0):
        line = document.at((*place, "source", "timeout_ms"))
        yield f"{line}: the model infers every {hop_ms:g} ms, and results hold for timeout_ms: set that above hop_ms"


def _bad_timeout(document: Document, place: Place, timeout_ms: object) -> Iterator[str]:
    """A command holds for the source's timeout_ms after its capture, and an actuator takes none that hold too long."""
    limit_ms = wire.MAX_TTL_US / 1000
    if isinstance(timeout_ms, (int, float)) and timeout_ms > limit_ms:
        yield f"{document.at(place)}: {timeout_ms:g} ms, but a command holds for {limit_ms:g} ms at most"


def _bad_zones(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    for name in lane.zones:
        yield from bad_name(document, (*place, name), name)
    if lane.zones and not reads_pictures(document, lane):
        yield f"{document.at(place)}: a zone is a part of a picture, and model '{lane.model}' reads none: remove it"


def reads_pictures(document: Document, lane: LaneConfig) -> bool:
    """Does its model read pictures? Also true where the model has a mistake, which is reported there."""
    try:
        return package.read(package.find(lane.model, document.path.resolve().parent)).picture is not None
    except PackageError:
        return True


def _bad_cores(document: Document, place: Place, cores: Sequence[int]) -> Iterator[str]:
    allowed = os.sched_getaffinity(0)
    if not allowed.issuperset(cores):
        yield f"{document.at(place)}: this process may use cores {sorted(allowed)}, not {sorted(set(cores) - allowed)}"


def labels_of(document: Document, lane: LaneConfig) -> dict[str, None] | None:
    """The labels that the lane's models can report; None where other boxes report them, and where a model has a
    mistake, which is reported at the lane.
    """
    base_folder = document.path.resolve().parent
    try:
        if package.read(package.find(lane.model, base_folder)).evidence:
            return None
        return dict.fromkeys(
            label for model in lane.models for label in package.labels(package.find(model, base_folder))
        )
    except PackageError:
        return None
