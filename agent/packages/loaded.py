"""What a loaded model is, in plain values: for the recorder, the drift monitor, and from a worker to the daemon."""

from __future__ import annotations

from typing import NamedTuple

from agent.packages.package import Package


class LoadedModel(NamedTuple):
    """folder: of the package, resolved. engine: what runs it. checksum: of what its outputs depend on."""

    folder: str
    engine: str
    checksum: str
    version: str


def loaded(package: Package) -> LoadedModel:
    manifest = package.manifest
    return LoadedModel(str(package.folder.resolve()), package.backend, manifest.checksum, manifest.version)
