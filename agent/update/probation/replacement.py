"""Another version of a model for the place of the one in a lane: the same input, at least the same labels."""

from __future__ import annotations

from pathlib import Path

from agent.config.models import LaneConfig
from agent.errors import PackageError
from agent.packages import package
from agent.packages.answers import CachedEngine, keep_answers
from agent.packages.manifest import AUTO, Manifest
from agent.packages.on_demand import OnDemandEngine
from agent.packages.package import Package


def open_like(old: Package, folder: Path, section: LaneConfig) -> Package:
    """Another version, for the place of this one in a lane. Raises PackageError."""
    if isinstance(old.network, OnDemandEngine):
        raise PackageError(
            f"{folder}: '{old.name}' loads on demand, so no trial of another version would end: remove 'when' from the"
            " lane's head, or name the new package in the configuration"
        )
    manifest = package.read(folder)
    _check_replaces(old, folder, manifest)
    same_file = Path(manifest.file).suffix == Path(old.manifest.file).suffix
    stays = same_file and (manifest.backend == AUTO or section.backend == old.backend)
    backend = old.backend if stays else ""  # timing them takes seconds
    new = package.open_as(folder, manifest, section.threads, backend, section.share, old.name)
    new.set_hop(section.hop_ms)
    shapes = [each.engine.inputs[0].shape for each in (old, new)]
    if shapes[0] != shapes[1]:
        raise PackageError(f"{folder}: its input is {list(shapes[1])}, that of the version in use {list(shapes[0])}")
    if isinstance(old.network, CachedEngine):
        keep_answers(new)
    return new


def _check_replaces(old: Package, folder: Path, manifest: Manifest) -> None:
    """Raises PackageError where the lanes or their rules would need other settings."""
    if old.decoder.is_backbone:
        raise PackageError(
            f"{folder}: a backbone is not exchanged alone, since heads fit only the weights that they learnt with: give"
            " it and its heads new names and change the configuration"
        )
    for kind in ("picture", "window", "poses", "sound", "backbone"):
        old_input, new_input = getattr(old.manifest, kind), getattr(manifest, kind)
        if kind == "sound" and old_input and new_input:
            old_input = old_input.model_copy(update={"hop": new_input.hop})  # the lane's own
        if old_input != new_input:
            raise PackageError(
                f"{folder}/manifest.yaml: its input ({kind}) is another one than that of the version in use: give it"
                " another name and change the configuration"
            )
    known = package.labels(folder, manifest)
    if lacking := [label for label in package.labels(old.folder, old.manifest) if label not in known]:
        raise PackageError(f"{folder}/manifest.yaml: it lacks the label '{lacking[0]}' of the version in use")
