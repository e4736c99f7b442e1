"""Checks of a lane's `heads`, and of the backbone that they read."""

from __future__ import annotations

from collections.abc import Iterator

from agent.config.models import Config, LaneConfig
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.packages import package
from agent.packages.heads import is_backbone, mismatch
from agent.packages.manifest import Manifest
from agent.rules.conditions import Condition
from agent.yamlfile import Document, Place, unknown


def head_mistakes(document: Document, name: str, lane: LaneConfig) -> Iterator[str]:
    """Mistakes inside a package are reported by `lane_checks`."""
    place = ("lanes", name)
    backbone = _manifest(document, lane.model)
    if backbone and backbone.backbone:
        yield (
            f"{document.at((*place, 'model'))}: model '{lane.model}' is a head: name it under 'heads', and here its"
            f" backbone, '{backbone.backbone.model}'"
        )
    elif backbone and not _is_backbone(backbone):
        if lane.heads:
            yield f"{document.at((*place, 'heads'))}: model '{lane.model}' is no backbone: remove 'heads', or name one"
    elif backbone and not lane.heads:
        yield f"{document.at((*place, 'model'))}: model '{lane.model}' is a backbone, which finds nothing: name 'heads'"
    elif backbone:
        for head in lane.heads:
            yield from _bad_head(document, (*place, "heads", head), lane, head, backbone)
    if lane.refine and (refining := _manifest(document, lane.refine.model)) and _is_backbone(refining):
        line = document.at((*place, "refine", "model"))
        yield f"{line}: model '{lane.refine.model}' is a backbone, which finds nothing: name a whole model here"


def _bad_head(document: Document, place: Place, lane: LaneConfig, name: str, backbone: Manifest) -> Iterator[str]:
    manifest = _manifest(document, name)
    if manifest and (reason := mismatch(manifest, backbone)):
        yield f"{document.at(place)}: model '{name}': {reason}"
    if lane.heads[name].prefetch_s and not lane.heads[name].when:
        yield f"{document.at((*place, 'prefetch_s'))}: without 'when' it is always in memory: remove 'prefetch_s'"
    if when := lane.heads[name].when:
        # A head that waits for another one that waits would hide what it is for.
        labels = dict.fromkeys(label for other in _always(lane) for label in _labels(document, other))
        yield from unknown(document, (*place, "when"), when, "label", labels, " of a head without 'when'")


def bad_absence(config: Config, document: Document, place: Place, condition: Condition) -> Iterator[str]:
    """What a head would have found that was not in memory is not absent."""
    lane = config.lanes.get(condition.lane)
    if not condition.absent or lane is None or not lane.heads:
        return
    if any(
        condition.label in _labels(document, name) for name in (*_always(lane), *lane.models[len(lane.first_models) :])
    ):
        return
    late = [name for name in lane.heads if condition.label in _labels(document, name)]
    if late:
        yield (
            f"{document.at((*place, 'absent'))}: '{late[0]}', which finds '{condition.label}', loads on demand: while"
            " it is not in memory the label would count as absent; remove its 'when', or this 'absent'"
        )


def _always(lane: LaneConfig) -> list[str]:
    return [name for name, head in lane.heads.items() if not head.when]


def _manifest(document: Document, model: str) -> Manifest | None:
    """None where it has a mistake, which is reported at the model."""
    try:
        return package.read(package.find(model, document.path.resolve().parent))
    except PackageError:
        return None


def _labels(document: Document, model: str) -> list[str]:
    try:
        return package.labels(package.find(model, document.path.resolve().parent))
    except PackageError:
        return []


def _is_backbone(manifest: Manifest) -> bool:
    try:
        return is_backbone(manifest)
    except DecoderError:
        return False
