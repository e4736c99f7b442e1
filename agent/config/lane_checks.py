"""What is wrong with a lane's section that its models alone cannot see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from agent import package
from agent.config.models import NAME, Config, LaneConfig
from agent.decoders import base as decoders
from agent.errors import PackageError
from agent.vision import reference
from agent.yamlfile import Document, Place, unknown
from drivers import base as drivers
from drivers.base import DriverError


def lane_mistakes(config: Config, document: Document, name: str) -> Iterator[str]:
    """All but its name and its source's options."""
    lane, place = config.lanes[name], ("lanes", name)
    yield from _bad_model(document, (*place, "model"), lane.model)
    yield from _bad_first(document, (*place, "model"), lane.model)
    if lane.refine:
        yield from _bad_refine(document, (*place, "refine"), lane)
    if lane.gate:
        yield from _bad_gate(config, document, (*place, "gate"), name)
    if lane.then:
        yield from _bad_second(document, place, lane)
    yield from _bad_reference(document, place, lane)
    yield from _bad_sound(document, place, lane)
    yield from _bad_zones(document, (*place, "zones"), lane)
    if lane.shrink != 1 and not sees(document, lane):
        yield f"{document.at((*place, 'shrink'))}: model '{lane.model}' takes no pictures, so there is none to shrink"
    yield from _bad_cores(document, (*place, "cores"), lane.cores)


def bad_names(document: Document, place: Place, name: str) -> Iterator[str]:
    if not re.fullmatch(NAME, name):
        yield f"{document.at(place)}: '{name}': a name has 1 to 32 letters, digits, '_', '.' or '-'"


def _bad_model(document: Document, place: Place, model: str) -> Iterator[str]:
    try:
        folder = package.find(model, document.path.resolve().parent)
        package.verify_file(folder, package.read(folder))
    except PackageError as error:
        yield from (f"{document.at(place)}: {line}" for line in str(error).splitlines())


def _bad_first(document: Document, place: Place, model: str) -> Iterator[str]:
    """What a lane's source delivers is never keypoints."""
    try:
        poses = package.read(package.find(model, document.path.resolve().parent)).poses
    except PackageError:
        return  # reported by bad_model
    if poses:
        yield f"{document.at(place)}: model '{model}' reads keypoints: name it under 'then', and a pose network here"


def _bad_refine(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A model that looks again takes pictures, and looks at something that the first one says."""
    assert lane.refine
    beside = document.path.resolve().parent
    wrong = list(_bad_model(document, (*place, "model"), lane.refine.model))
    yield from wrong
    try:
        first = package.read(package.find(lane.model, beside))
        said = dict.fromkeys(package.labels(package.find(lane.model, beside)))
    except PackageError:
        return  # reported at the model
    if not first.picture:
        yield f"{document.at(place)}: model '{lane.model}' takes no pictures, so there is nothing to refine: remove 'refine'"
        return
    yield from unknown(document, (*place, "label"), lane.refine.label, f"label of model '{lane.model}'", said)
    if lane.then and lane.refine.band[1] < 1.0:
        yield (
            f"{document.at((*place, 'band'))}: '{lane.then}' reads what this model finds, which does not look at scores above"
            f" {lane.refine.band[1]:g}: let band end at 1"
        )
    if wrong:
        return
    picture = package.read(package.find(lane.refine.model, beside)).picture
    if picture is None or picture.reference:
        yield f"{document.at((*place, 'model'))}: model '{lane.refine.model}' does not take a part of a picture"


def _bad_gate(config: Config, document: Document, place: Place, name: str) -> Iterator[str]:
    """A gate fits what the lane reads, and never lets evidence go stale that a rule still counts on."""
    gate = config.lanes[name].gate
    assert gate
    try:
        manifest = package.read(package.find(config.lanes[name].model, document.path.resolve().parent))
    except PackageError:
        return  # reported at the model
    if manifest.window and not gate.outlier:
        yield f"{document.at(place)}: 'keyframe' and 'motion' are for pictures; for readings say 'outlier'"
    elif gate.outlier and not manifest.window:
        yield f"{document.at((*place, 'outlier'))}: 'outlier' is for readings; for pictures say 'keyframe' or 'motion'"
    conditions = [
        (rule, one) for rule, section in config.rules.items() for one in section.conditions if one.lane == name
    ]
    for rule, one in conditions:
        longest, kind = (
            (gate.idle_interval_ms, "idle_interval_ms")
            if one.absent
            else (gate.active_interval_ms, "active_interval_ms")
        )
        if longest >= one.within_ms:
            yield (
                f"{document.at(place)}: {kind} is {longest:g}, but to rule '{rule}' the lane is missing after within_ms:"
                f" {one.within_ms:g}: it would end while the event lasts; make {kind} shorter"
            )


def _bad_second(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A second model reads keypoints; the first must find them."""
    beside = document.path.resolve().parent
    wrong = list(_bad_model(document, (*place, "then"), lane.then))
    yield from wrong
    try:
        manifest = package.read(package.find(lane.refine.model if lane.refine else lane.model, beside))
        first = decoders.load(manifest.decoder)
    except (PackageError, decoders.DecoderError):
        return  # reported at the model
    if wrong or manifest.poses:
        return  # one of the two is reported already
    if not package.read(package.find(lane.then, beside)).poses:
        yield f"{document.at((*place, 'then'))}: model '{lane.then}' reads no keypoints: give it a lane of its own"
    elif not hasattr(first, "KEYPOINTS"):
        yield f"{document.at((*place, 'then'))}: model '{lane.model}' finds no keypoints for '{lane.then}': use a pose network"


def _bad_reference(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    beside = document.path.resolve().parent
    try:
        picture = package.read(package.find(lane.model, beside)).picture
    except PackageError:
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
    except reference.BadReference as error:
        yield f"{document.at((*place, 'reference'))}: {error}"


def _bad_sound(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    """A model that hears takes a microphone at its own rate, and a microphone no other model."""
    name, driver = lane.model, lane.source.driver
    try:
        sound = package.read(package.find(name, document.path.resolve().parent)).sound
        module = drivers.load(driver)
        options = module.Options.model_validate(lane.source.options)
    except (PackageError, DriverError, ValidationError):
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


def _bad_zones(document: Document, place: Place, lane: LaneConfig) -> Iterator[str]:
    for name in lane.zones:
        yield from bad_names(document, (*place, name), name)
    if lane.zones and not sees(document, lane):
        yield f"{document.at(place)}: a zone is a part of a picture, and model '{lane.model}' sees none: remove it"


def sees(document: Document, lane: LaneConfig) -> bool:
    """Its model reads pictures; also where the model is wrong, which is reported there."""
    try:
        return package.read(package.find(lane.model, document.path.resolve().parent)).picture is not None
    except PackageError:
        return True


def _bad_cores(document: Document, place: Place, cores: Sequence[int]) -> Iterator[str]:
    allowed = os.sched_getaffinity(0)
    if not allowed.issuperset(cores):
        yield f"{document.at(place)}: this process may use cores {sorted(allowed)}, not {sorted(set(cores) - allowed)}"


def labels_of(document: Document, lane: LaneConfig) -> dict[str, None] | None:
    """What the lane's models can say; None where one is wrong, which is reported at the lane."""
    beside = document.path.resolve().parent
    try:
        return dict.fromkeys(label for model in lane.models for label in package.labels(package.find(model, beside)))
    except PackageError:
        return None
