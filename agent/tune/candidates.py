"""The changes of a lane that may shorten it, from those that change no answer to those that read less."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agent.config.models import Config, LaneConfig
from agent.decoders import base as decoders
from agent.errors import PackageError
from agent.packages import engines, package
from agent.packages.manifest import AUTO, Manifest
from agent.tune.measure import Changes
from agent.tune.trace import Latency, Trace

# From the cheapest on: an engine computes the same; threads take another lane's core; fewer pixels, fewer bits and
# another network change the answers a little; gates and longer intervals leave samples out.
ENGINE, THREADS, SHRINK, INT8, MODEL = "engine", "threads", "shrink", "INT8", "model"
CROP, GATE, EVERY = "crop", "gate", "every"
COST = {kind: cost for cost, kind in enumerate((ENGINE, THREADS, SHRINK, INT8, MODEL, CROP, GATE, EVERY))}
SAME_ANSWERS = (ENGINE, THREADS)
MIN_SHARE = 0.1  # of the time: a part that takes less is not worth a change
FACTORS = (2, 3, 4, 6)
MAX_MODELS = 6


class Candidate(NamedTuple):
    """changes: of keys below the lane. twin: of a model, the same but for its weights."""

    kind: str
    changes: Changes
    twin: bool = False

    @property
    def text(self) -> str:
        """As in the configuration: "threads: 2"."""
        return "; ".join(f"{'.'.join(map(str, place))}: {_plain(value)}" for place, value in self.changes.items())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def joined(several: Iterable[Candidate]) -> Candidate:
    """All of them in one."""
    parts = sorted(several, key=lambda candidate: COST[candidate.kind])
    changes = {place: value for part in parts for place, value in part.changes.items()}
    return Candidate(parts[-1].kind, changes)


def candidates(config: Config, lane: str, base_folder: Path, trace: Trace, measured: Latency) -> list[Candidate]:
    """Those that shorten a part which matters. trace, measured: of the lane as it is. Raises PackageError."""
    section = config.lanes[lane]
    folder = package.find(section.model, base_folder)
    manifest = package.read(folder)
    shares = measured.shares
    waits, infers = shares["queueing"] >= MIN_SHARE, shares["inference"] >= MIN_SHARE
    offered: list[Candidate] = []
    if infers or waits:
        offered += [*_engines(section, folder, manifest), *_threads(section, manifest)]
        offered += _models(config, lane, base_folder, folder, manifest)
    if shares["preprocess"] >= MIN_SHARE:
        offered += _shrinks(section, trace)
    if waits:
        offered += [*_gates(config, lane, manifest), *_intervals(section, manifest)]
    return offered


def crop(config: Config, lane: str, base_folder: Path) -> Candidate | None:
    """Only the part that moves, in all of its pixels: what a smaller model may need to find the same."""
    section = config.lanes[lane]
    picture = package.read(package.find(section.model, base_folder)).picture
    if picture is None or picture.reference or section.gate or section.refine:
        return None
    return Candidate(CROP, {("gate",): {"motion": {"crop": True}, "active_interval_ms": _interval(config, lane)}})


def _engines(section: LaneConfig, folder: Path, manifest: Manifest) -> Iterator[Candidate]:
    """Others than the package names; `auto` has timed them all already, and heads run on their backbone's."""
    current = section.backend or manifest.backend
    if section.heads or current == AUTO or Path(manifest.file).suffix not in engines.BY_SUFFIX:
        return
    for name in engines.installed(folder, manifest):
        if name != current:
            yield Candidate(ENGINE, {("backend",): name})


def _threads(section: LaneConfig, manifest: Manifest) -> Iterator[Candidate]:
    """Of engines that have threads, as many as this process may use cores."""
    cores = len(os.sched_getaffinity(0))
    if Path(manifest.file).suffix in engines.BY_SUFFIX:
        yield from (Candidate(THREADS, {("threads",): count}) for count in (2, 4) if section.threads < count <= cores)


def _shrinks(section: LaneConfig, trace: Trace) -> Iterator[Candidate]:
    """No factor leaves fewer pixels than the model reads."""
    if not trace.frame or not trace.network or section.shrink == "auto":
        return
    most = max(min(trace.frame[0] / trace.network[0], trace.frame[1] / trace.network[1]), 1)
    yield from (Candidate(SHRINK, {("shrink",): n}) for n in FACTORS if int(section.shrink) < n <= most)


def _models(config: Config, lane: str, base_folder: Path, own: Path, manifest: Manifest) -> list[Candidate]:
    """Smaller packages, bundled or beside the lane's own, that read the same and report what the rules ask for."""
    section = config.lanes[lane]
    if section.heads:
        return []  # they fit this one alone
    needed = _needed_labels(config, lane, package.labels(own))
    size = _size(own, manifest)
    smaller: list[tuple[int, Candidate]] = []
    for folder in _packages(own):
        try:
            other = package.read(folder)
            fits = _fits(section, manifest, other) and needed <= set(package.labels(folder))
        except PackageError:
            continue  # damaged ones are no candidates
        if folder.resolve() == own.resolve() or not fits or not 0 < _size(folder, other) < size:
            continue
        twin = (other.decoder, other.labels, other.options) == (manifest.decoder, manifest.labels, manifest.options)
        bundled = folder.parent == package.BUNDLED
        name = folder.name if bundled else os.path.relpath(folder, base_folder.resolve())
        smaller.append((_size(folder, other), Candidate(MODEL, {("model",): name}, twin)))
    return [candidate for _, candidate in sorted(smaller, key=lambda entry: entry[0])[-MAX_MODELS:]]


def _packages(own: Path) -> list[Path]:
    folders = (package.BUNDLED, own.resolve().parent)
    return list(dict.fromkeys(path.parent for folder in folders for path in sorted(folder.glob("*/manifest.yaml"))))


def _size(folder: Path, manifest: Manifest) -> int:
    """Bytes of the model file; 0 where it is missing."""
    path = folder / manifest.file
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _needed_labels(config: Config, lane: str, own: list[str]) -> set[str]:
    """Those that rules or the refining model read; without such all of its own."""
    conditions = [condition for rule in config.rules.values() for condition in rule.conditions]
    labels = {condition.label for condition in conditions if condition.lane == lane}
    refine = config.lanes[lane].refine
    second = config.lanes[lane].then
    needed = labels & set(own) if second or refine else labels
    return (needed | ({refine.label} if refine else set())) or set(own)


def _fits(section: LaneConfig, own: Manifest, other: Manifest) -> bool:
    """It reads what the source delivers, and finds the keypoints that a second model reads."""
    if own.picture and other.picture:
        same = own.picture.reference == other.picture.reference
    elif own.window and other.window:
        same = (own.window.channels, own.window.rate_hz) == (other.window.channels, other.window.rate_hz)
    else:
        same = bool(own.sound and other.sound and own.sound.rate_hz == other.sound.rate_hz)
    if section.then and not section.refine:
        decoder = decoders.load(other.decoder).Decoder
        return same and bool(decoder.finds_keypoints(other.options))
    return same


def _gates(config: Config, lane: str, manifest: Manifest) -> Iterator[Candidate]:
    """A gate where there is none, else one that lets half as much through."""
    gate = config.lanes[lane].gate
    if gate is None and manifest.picture and not manifest.picture.reference:
        yield Candidate(GATE, {("gate",): {"motion": {}, "active_interval_ms": _interval(config, lane)}})
        return
    changes: dict[tuple[str, ...], Any] = {}
    if gate and gate.motion:
        changes["gate", "motion", "min_area"] = min(1.0, round(gate.motion.min_area * 2, 4))
    if gate and gate.keyframe:
        changes["gate", "keyframe", "min_changed"] = min(1.0, round(gate.keyframe.min_changed * 2, 4))
    for channel, outlier in (gate.outlier if gate else {}).items():
        changes["gate", "outlier", channel, "tolerance"] = round(outlier.tolerance * 1.5, 6)
    if changes:
        yield Candidate(GATE, changes)


def _interval(config: Config, lane: str) -> float:
    """Short enough that no rule takes the lane for missing in between."""
    conditions = [condition for rule in config.rules.values() for condition in rule.conditions]
    return min([400.0, *(0.8 * condition.within_ms for condition in conditions if condition.lane == lane)])


def _intervals(section: LaneConfig, manifest: Manifest) -> Iterator[Candidate]:
    """Twice as long between two inferences."""
    if not manifest.sound:
        yield Candidate(EVERY, {("every",): section.every * 2})
        return
    hop_ms = section.hop_ms or manifest.sound.hop / manifest.sound.rate_hz * 1000
    if hop_ms * 2 <= 60_000:
        yield Candidate(EVERY, {("hop_ms",): round(hop_ms * 2, 3)})
