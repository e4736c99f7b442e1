"""A model package on disk: read its manifest, check it, load it, warm it, compare it with its golden outputs."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from agent import section
from agent.backends import base as backends
from agent.backends.base import Engine, EngineError, Tensor
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import Decoder, DecoderError, Finding
from agent.errors import PackageError
from agent.manifest import Manifest, Picture
from agent.outputs import ModelFault, Outputs, first_line
from agent.yamlfile import YamlError

BUNDLED = Path(__file__).resolve().parent.parent / "models"
GOLDEN_STEPS = 8  # quantisation steps of 256; kernels with and without VNNI differ by 5 in the bundled models
GOLDEN_REAL = 0.02  # the same for outputs that are not quantised
# What numpy.load raises on a file that is damaged or not .npz
UNREADABLE = (OSError, ValueError, EOFError, TypeError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)


class Package:
    """A checked and loaded model with its decoder, ready to run on one lane."""

    def __init__(self, folder: Path, manifest: Manifest, engine: Engine, decoder: Decoder) -> None:
        self.name = folder.name
        self.folder = folder
        self.manifest = manifest
        self.engine = engine
        self.decoder = decoder
        self.outputs = Outputs(self.name, engine)
        self.golden: float | None = None  # worst difference from the golden outputs in units of the tolerance

    def infer(self) -> list[Finding]:
        """Run it on what its input holds. Raises ModelFault."""
        self.outputs.invoke(self.engine)
        return self.findings()

    def findings(self) -> list[Finding]:
        """Of the newest inference. Raises ModelFault."""
        outputs = self.outputs.read(self.engine)
        try:
            return self.decoder(outputs)
        except DecoderError as error:
            raise self.outputs.fault(str(error)) from error

    def set_hop(self, hop_ms: float | None) -> None:
        """Of a sound model: infer this often; None keeps the manifest's hop."""
        sound = self.manifest.sound
        if sound and hop_ms:
            hop = max(1, round(hop_ms * sound.rate_hz / 1000))
            self.manifest = self.manifest.model_copy(update={"sound": sound.model_copy(update={"hop": hop})})

    def warm(self) -> None:
        """Run it a few times off the lane: the first runs page in weights and choose kernels. Raises PackageError."""
        try:
            for _ in range(3):
                self.engine.invoke()
        except Exception as error:  # each engine has its own kinds
            raise PackageError(f"{self.folder}: the model loads but does not run: {first_line(error)}") from error


def find(name: str | Path, beside: Path | None = None) -> Path:
    """The folder of a package: a bundled name, or a path (relative to `beside`). Raises PackageError."""
    for folder in ((beside or Path()) / name, BUNDLED / name):
        if os.path.isfile(folder / "manifest.yaml"):  # Path.is_file raises on a name that is too long
            return folder
    bundled = ", ".join(sorted(path.parent.name for path in BUNDLED.glob("*/manifest.yaml"))) or "none"
    raise PackageError(
        f"no model package '{name}': neither a folder with a manifest.yaml nor bundled (bundled: {bundled})"
    )


def read(folder: Path) -> Manifest:
    """The checked manifest. Raises PackageError with file:line."""
    try:
        return section.load(folder / "manifest.yaml", Manifest)
    except YamlError as error:
        raise PackageError(str(error)) from error


def labels(folder: Path) -> list[str]:
    """Every label that the package can report. Raises PackageError."""
    manifest = read(folder)
    try:
        module = decoders.load(manifest.decoder)
    except DecoderError as error:
        raise PackageError(f"{folder}/manifest.yaml: {error}") from error
    groups = manifest.options.get("groups") if "groups" in module.Decoder.Options.model_fields else None
    of_model = list(groups) if isinstance(groups, dict) and groups else manifest.labels
    return [*of_model, *getattr(module, "LABELS", ())]


def verify_file(folder: Path, manifest: Manifest) -> Path:
    """The model file, which exists and has the manifest's sha256. Raises PackageError."""
    path = folder / manifest.file
    if not os.path.isfile(path):
        raise PackageError(
            f"{folder}/manifest.yaml: model file '{path}' does not exist: copy it there or correct 'file'"
        )
    try:
        sha256 = digest(path)
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from error
    if sha256 != manifest.sha256:
        raise PackageError(
            f"{path}: sha256 is {sha256[:16]}..., the manifest says {manifest.sha256[:16]}...:"
            " the file is damaged or another one; restore it, or run 'reflexd model init' on one that you trust"
        )
    return path


def open_package(folder: Path, threads: int = 1) -> Package:
    """Check, load, warm up, compare with the golden outputs. Raises PackageError."""
    manifest = read(folder)
    path = verify_file(folder, manifest)
    try:
        engine = backends.load(manifest.backend, path, threads, manifest.provider)
        shapes = [tensor.shape for tensor in engine.outputs]
        decoder = decoders.make(manifest.decoder, manifest.labels, manifest.options, shapes)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        raise PackageError(f"{folder}/manifest.yaml: options.{option}: {first['msg']}") from error
    except (EngineError, DecoderError) as error:
        raise PackageError(f"{folder}: {error}") from error
    engine.outputs = [_varying(tensor, decoder) for tensor in engine.outputs]
    check_input(folder, manifest, engine)
    package = Package(folder, manifest, engine, decoder)
    package.warm()
    package.golden = compare_golden(package)
    if package.golden is not None and package.golden > 1.0:
        raise PackageError(
            f"{folder}: golden outputs differ by {package.golden:.1f} times the tolerance:"
            " this machine computes another model"
        )
    return package


def _varying(output: Tensor, decoder: Decoder) -> Tensor:
    """An unknown size is 1, as that of the batch, except where the decoder allows it to change."""
    return output._replace(unknown=tuple(axis for axis in output.unknown if axis == decoder.varying_axis))


def check_input(folder: Path, manifest: Manifest, engine: Engine) -> None:
    """Raises PackageError unless the manifest's input section fits the model's input."""
    shape = engine.inputs[0].shape
    mismatch = ""
    if manifest.window and manifest.window.shape != shape:
        mismatch = f"window makes an input {manifest.window.shape}"
    elif manifest.poses and manifest.poses.shape != shape:
        mismatch = f"poses makes an input {manifest.poses.shape}"
    elif manifest.sound:
        length = manifest.sound.length
        if shape not in ((length,), (1, length), (1, length, 1)):
            mismatch = f"sound makes an input ({length},)"
    elif manifest.picture:
        mismatch = _picture_mismatch(manifest.picture, shape)
    if mismatch:
        raise PackageError(f"{folder}/manifest.yaml: {mismatch}, the model takes {shape}")


def _picture_mismatch(picture: Picture, shape: tuple[int, ...]) -> str:
    """What the section asks for, where an input of this shape is not that; else empty."""
    kind, counts = ("picture with a reference", (2,)) if picture.reference else ("picture", (1, 3))
    channels = next((shape[axis] for axis in (3, 1) if len(shape) == 4 and shape[axis] in counts), 0)
    if not channels:
        return f"a {kind} needs an input [1, height, width, {' or '.join(map(str, counts))}]"
    return "" if channels == picture.channels else f"picture.colour is {picture.colour}"


def compare_golden(package: Package) -> float | None:
    """Worst difference from the golden outputs in units of the tolerance; None without golden outputs."""
    if not package.manifest.golden:
        return None
    path = package.folder / package.manifest.golden
    arrays = _load_golden(path)
    try:
        return max(_golden_row(package, arrays, row) for row in range(len(arrays["input_0"])))
    except (KeyError, ValueError, IndexError, ModelFault) as error:
        raise PackageError(f"{path}: does not fit the model: {error}") from error


def _load_golden(path: Path) -> dict[str, Array]:
    """Its arrays by name. Raises PackageError."""
    try:
        golden = np.load(path, allow_pickle=False)
        if isinstance(golden, np.ndarray):
            raise ValueError("a single array, not an archive of them")
        with golden:
            arrays: dict[str, Array] = {name: golden[name] for name in golden.files}
    except UNREADABLE as error:
        raise PackageError(f"{path}: cannot be read: {error}") from error
    if not arrays.get("input_0", np.empty(0)).size or not any(name.startswith("output_") for name in arrays):
        raise PackageError(f"{path}: no golden outputs: it needs arrays input_0 and output_0, a row for each sample")
    return arrays


def _golden_row(package: Package, arrays: dict[str, Array], row: int) -> float:
    engine = package.engine
    for index in range(len(engine.inputs)):
        engine.input(index)[...] = arrays[f"input_{index}"][row]
    package.outputs.invoke(engine)
    worst = 0.0
    for index, tensor in enumerate(engine.outputs):
        if f"output_{index}" not in arrays:
            continue
        difference = np.abs(engine.output(index)[0].astype(np.float64) - arrays[f"output_{index}"][row]).max()
        tolerance = GOLDEN_STEPS if tensor.scale else GOLDEN_REAL
        worst = max(worst, float(np.nan_to_num(difference, nan=np.inf)) / tolerance)  # NaN would compare as a match
    return worst


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
