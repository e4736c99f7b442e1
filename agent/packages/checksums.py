"""The files of a package that are read, each inside its folder and with the sha256 that the manifest has."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from agent.backends import onnx_weights
from agent.box import files
from agent.box.files import BadFile
from agent.errors import PackageError
from agent.packages.manifest import Manifest

MAX_BYTES = 1 << 31  # of a file; the formats of models allow no more


def verify_files(folder: Path, manifest: Manifest) -> Path:
    """The model file, where it and every other file that is read is in order. Raises PackageError."""
    path = _verified(folder, manifest.file, manifest.sha256, "file")
    for name in _read_besides(path, manifest):
        if name not in manifest.files:
            sha256 = digest(file_inside(folder, name))
            raise PackageError(
                f"{folder}/manifest.yaml: '{name}' is read, too, and 'files' has no sha256 of it; if you trust it, add"
                f" {{'{name}': {sha256}}}"
            )
    for name, sha256 in manifest.files.items():
        _verified(folder, name, sha256, "files")
    return path


def _read_besides(path: Path, manifest: Manifest) -> list[str]:
    """Names of golden outputs, and of weights as the model names them."""
    weights = weight_files(path) if manifest.backend == "onnx" or path.suffix == ".onnx" else []
    parent = PurePosixPath(manifest.file).parent
    return [str(parent / name) for name in weights] + ([manifest.golden] if manifest.golden else [])


def weight_files(path: Path) -> list[str]:
    """Names, relative to an ONNX model, of the files that have its weights. Raises PackageError."""
    try:
        return [str(PurePosixPath(name)) for name in onnx_weights.locations(path)]
    except ValueError:
        return []  # the engine says what is wrong with the model
    except onnx_weights.TooLarge as error:
        raise PackageError(f"{path}: {error}: no model for a lane") from error
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from error


def _verified(folder: Path, name: str, expected: str, key: str) -> Path:
    """key: of the manifest, which has the name."""
    path = file_inside(folder, name)
    if not os.path.exists(path) or os.path.isdir(path):
        kind = "model file" if key == "file" else "file"
        raise PackageError(f"{folder}/manifest.yaml: {kind} '{path}' does not exist: copy it there or correct '{key}'")
    sha256 = digest(path)
    if sha256 != expected:
        raise PackageError(
            f"{path}: sha256 is {sha256[:16]}..., the manifest says {expected[:16]}...:"
            " the file is damaged or another one; restore it, or run 'reflexd model init' on one that you trust"
        )
    return path


def file_inside(folder: Path, name: str) -> Path:
    """Raises PackageError."""
    try:
        return files.inside(folder, name)
    except BadFile as error:
        raise PackageError(f"{folder / name}: {error}") from error


def digest(path: Path) -> str:
    """sha256 of a model's file, in hexadecimal digits. Raises PackageError."""
    try:
        return files.digest(path, MAX_BYTES)
    except BadFile as error:
        raise PackageError(f"{path}: {error}") from error
