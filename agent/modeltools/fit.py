"""`reflexd model fit`: the threshold of a model that has learnt the good state, from recordings of that state."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.ledger_text import counted
from agent.offline import offline_lane
from agent.packages import package
from agent.packages.manifest import Manifest
from agent.packages.package import BUNDLED, Package
from agent.perception import Perception
from drivers.base import DeviceError

MIN_WINDOWS = 100  # that do not overlap; a quantile above 0.99 needs more
SILENT = 2 / 32_768  # peak of a block of sound: a converter without a microphone moves by its last bit
MAX_SILENT = 0.01  # share of a recording
MAX_S, MAX_MB = 3600.0, 1024.0  # of a recording
TIME = "t_s"


class Learned(NamedTuple):
    """Of the good state. windows: all inferences. apart: as many as do not overlap. median to threshold: errors."""

    files: int
    windows: int
    apart: int
    median: float
    quantile: float
    highest: float
    threshold: float


def fit(name: str, good: Sequence[Path], quantile: float, margin: float, into: Path | None, as_json: bool) -> int:
    """Write options.threshold of the package, or of its copy. Raises PackageError."""
    folder = package.find(name)
    target = _target(folder, into)
    learned = learn(folder, good, quantile, margin)
    if into:
        _copy(folder, into)
    before = _write(target / "manifest.yaml", learned.threshold)
    facts = {"manifest": str(target / "manifest.yaml"), "before": before, **learned._asdict()}
    click.echo(json.dumps(facts) if as_json else _sentences(facts, quantile))
    return 0


def _sentences(facts: dict[str, Any], quantile: float) -> str:
    before = "" if facts["before"] is None else f" (was {facts['before']:g})"
    files = counted(facts["files"], "file")
    return (
        f"good state: {facts['windows']:,} windows of {files} ({facts['apart']:,} that do not overlap);"
        f" error: median {facts['median']:.4g}, quantile {quantile:g} {facts['quantile']:.4g},"
        f" highest {facts['highest']:.4g}\n"
        f"wrote {facts['manifest']}: options.threshold {facts['threshold']:.4g}{before}, which has the score 0.5"
    )


def _copy(folder: Path, into: Path) -> None:
    """Raises PackageError."""
    try:
        shutil.copytree(folder, into, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise PackageError(f"{into}: cannot be written: {error}") from error


def _target(folder: Path, into: Path | None) -> Path:
    """Raises PackageError where nothing may be written."""
    if into and into.exists():
        raise PackageError(f"{into} exists already: remove it, or choose another --into")
    if not into and folder.resolve().parent == BUNDLED:
        raise PackageError(f"{folder.name} is bundled: name the folder for a copy with --into DIR")
    return into or folder


def learn(folder: Path, good: Sequence[Path], quantile: float, margin: float) -> Learned:
    """The threshold: this quantile of the errors, and the margin, a share of it, above. Raises PackageError."""
    manifest = _readable(folder)
    files = list(_files(good, ".wav" if manifest.sound else ".csv"))
    opened = package.open_as(folder, manifest)
    perception = Perception(opened)
    errors: list[float] = []
    apart = 0
    for file in files:
        new, values = _play(file, perception)
        errors += new
        apart += values // _length(manifest)
    _check_number(manifest, apart, quantile)
    level = float(np.quantile(errors, quantile))
    threshold = float(f"{level * (1 + margin):.6g}")
    if not threshold > 0:
        raise PackageError("the error is 0 in all recordings: they are empty, or the model only copies its input")
    median, highest = float(np.median(errors)), max(errors)
    return Learned(len(files), len(errors), apart, median, level, highest, threshold)


def _check_number(manifest: Manifest, apart: int, quantile: float) -> None:
    """Raises PackageError where less than one window is expected above the quantile."""
    needed = max(MIN_WINDOWS, ceil(round(1 / (1 - quantile), 6)) if quantile < 1 else 0)
    if apart < needed:
        raise PackageError(
            f"{apart} windows that do not overlap are too few for the quantile {quantile:g}: {needed} are needed, that"
            f" is {_amount(manifest, needed)}; record more of the good state"
        )


def _readable(folder: Path) -> Manifest:
    """The manifest, with a threshold so that it loads. Raises PackageError where none can be learnt."""
    manifest = package.read(folder)
    try:
        decoder = decoders.load(manifest.decoder).Decoder
    except DecoderError as error:
        raise PackageError(f"{folder}/manifest.yaml: {error}") from error
    if not decoder.reads_input or "threshold" not in decoder.Options.model_fields:
        raise PackageError(f"{folder}: decoder '{manifest.decoder}' has no threshold to learn; reconstruction has")
    if not manifest.sound and not manifest.window:
        raise PackageError(f"{folder}: a threshold is learnt from sound or readings, and this model reads neither")
    return manifest.model_copy(update={"options": manifest.options | {"threshold": 1.0}})


def _files(good: Sequence[Path], suffix: str) -> Iterator[Path]:
    """Each once, and all that are in folders. Raises PackageError."""
    for path in dict.fromkeys(path.resolve() for path in good):
        inside = sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path]
        if not inside:
            raise PackageError(f"{path}: no {suffix} file in this folder")
        if inside[0].suffix.lower() != suffix:
            raise PackageError(f"{path}: expected a {suffix} file: that is what this model reads")
        yield from inside


def _length(manifest: Manifest) -> int:
    section = manifest.sound or manifest.window
    assert section
    return section.length


def _amount(manifest: Manifest, windows: int) -> str:
    count = windows * _length(manifest)
    return f"{count / manifest.sound.rate_hz:.0f} s" if manifest.sound else f"{count:,} readings"


def _play(file: Path, perception: Perception) -> tuple[list[float], int]:
    """Errors of the windows of a recording, through the lane's own preparation; its number of values.

    Raises PackageError.
    """
    manifest = perception.package.manifest
    lane = offline_lane("fit", *_source(file, manifest), perception)
    errors: list[float] = []
    values, silent, moved, still = 0, 0, False, np.zeros(0)
    try:
        lane.open()
        for sample in lane.source.remaining_samples():
            values += len(sample.payload)
            silent += len(sample.payload) * (manifest.sound is not None and _is_silent(sample.payload))
            still = sample.payload[0] if not still.size else still
            moved |= bool((sample.payload != still).any())
            if perception.prepare(sample):
                errors.append(_error(perception.package))
    except DeviceError as error:  # the source's, NaN, a model's fault
        text = str(error)
        raise PackageError(text if str(file) in text else f"{file}: {text}") from error
    reason = "" if moved else "nothing changes in it"
    if moved and silent > MAX_SILENT * values:
        reason = f"{silent / values:.0%} of it is silent"
    if reason:
        raise PackageError(f"{file}: {reason}: not a recording of the good state; cut it, or leave it out")
    return errors, values


def _is_silent(payload: np.ndarray[Any, Any]) -> bool:
    return bool(np.abs(payload).max(initial=0.0) <= SILENT)


def _error(opened: Package) -> float:
    """Raises ModelFault."""
    opened.infer()
    return float(opened.engine.output(0).reshape(-1)[0])


def _source(file: Path, manifest: Manifest) -> tuple[str, dict[str, Any]]:
    """Driver and options that play it."""
    if manifest.sound:
        return "audio.file", {"path": str(file), "rate_hz": manifest.sound.rate_hz, "max_s": MAX_S}
    assert manifest.window
    options: dict[str, Any] = {"path": str(file), "channels": manifest.window.channels, "max_mb": MAX_MB}
    if not _has_time(file):
        options["rate_hz"] = manifest.window.rate_hz or 1.0
    return "sensor.replay", options


def _has_time(file: Path) -> bool:
    """What is wrong with the file, the driver says."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            return TIME in [name.strip() for name in next(csv.reader(opened), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _write(path: Path, threshold: float) -> float | None:
    """Only this value of the manifest, whose comments stay; the one before. Raises PackageError."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    new = path.with_name(f"{path.name}.new")
    try:
        document = yaml.load(path.read_bytes())
        options = document.get("options") or {}
        before = options.get("threshold")
        options["threshold"] = threshold
        document["options"] = options
        with open(new, "wb") as file:
            yaml.dump(document, file)
        os.replace(new, path)
    except OSError as error:
        raise PackageError(f"{path}: cannot be written: {error.strerror}") from error
    return None if before is None else float(before)
