"""The packages with which a recording is computed again: the version of each model that decided then."""

from __future__ import annotations

from pathlib import Path

from agent.errors import PackageError
from agent.packages import package
from agent.recorder.recording import RecordingError
from agent.replay.header import Header
from agent.update.store import Store, StoreError


def folders(header: Header) -> dict[str, Path]:
    """Of each model: the configuration's package, or the version in this box's store. Raises RecordingError,
    PackageError.
    """
    return {model: _folder(header, model, checksum) for model, checksum in header.models.items()}


def _folder(header: Header, model: str, checksum: str) -> Path:
    """Raises RecordingError where neither is what decided then, PackageError where there is none."""
    configured = package.find(model, header.base_folder)
    if package.read(configured).checksum == checksum:
        return configured
    version = header.versions.get(model, "")
    stored = _stored(header, model, version)
    if stored and package.read(stored).checksum == checksum:
        return stored
    which = f"model {model} {version}".rstrip()
    raise RecordingError(f"{which} has changed since this was recorded: install the old version first")


def _stored(header: Header, model: str, version: str) -> Path | None:
    """A folder of the store has the version as its name."""
    if not version or "/" in model:
        return None
    try:
        folder = Store(header.config.state_dir, model).folder(version)
        return folder if package.read(folder).version == version else None
    except (PackageError, StoreError, OSError):
        return None
