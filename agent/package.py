"""A model package on disk: read its manifest, check it, load it, warm it, compare it with its golden outputs."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent import yamlfile
from agent.backends import base as backends
from agent.backends.base import Engine, EngineError
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import Decoder, DecoderError, Finding

BUNDLED = Path(__file__).resolve().parent.parent / "models"
GOLDEN_STEPS = 8  # quantisation steps of 256; kernels with and without VNNI differ by 5 in what we ship
GOLDEN_REAL = 0.02  # the same for outputs that are not quantised
# What numpy.load raises on a file that is damaged or no .npz
UNREADABLE = (OSError, ValueError, EOFError, TypeError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)


class PackageError(Exception):
    """This package cannot be used; the text says which file, what is wrong and what to do."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Picture(Part):
    """How pixels become the input: real value = (pixel - mean) / std, pixel 0..255."""

    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0
    fit: Literal["stretch", "letterbox"] = "stretch"
    resize: Literal["linear", "area"] = "linear"
    reference: bool = Field(False, description="input [1, height, width, 2]: the camera's picture, and the lane's reference")

    @model_validator(mode="after")
    def one_or_three(self) -> Picture:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, list) and len(value) != (1 if self.colour == "grey" else 3):
                raise ValueError(f"{name} is one number, or one per colour")
        if 0.0 in (self.std if isinstance(self.std, list) else [self.std]):
            raise ValueError("std must not be 0")
        if self.reference and self.colour != "grey":
            raise ValueError("a reference is compared in grey: say 'colour: grey'")
        return self

    @property
    def channels(self) -> int:
        return 2 if self.reference else 1 if self.colour == "grey" else 3


class Window(Part):
    """How readings become the input [1, length, channels]: real value = (reading - mean) / std, oldest row first."""

    channels: list[str] = Field(min_length=1)
    length: int = Field(ge=1, le=100_000)
    hop: int = Field(1, ge=1, description="infer on every hop-th reading")
    rate_hz: float = Field(0.0, ge=0, description="at which the model wants its readings; 0: any")
    mean: list[float]
    std: list[float]

    @model_validator(mode="after")
    def one_per_channel(self) -> Window:
        if not len(self.channels) == len(self.mean) == len(self.std):
            raise ValueError("channels, mean and std must have the same length")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.length, len(self.channels)


class Poses(Part):
    """How keypoints over time become the input [1, length, 51]: a row each `every_ms`, the newest last (agent/poses.py)."""

    length: int = Field(ge=2, le=256)
    every_ms: float = Field(100.0, ge=10, le=1000)
    min_score: float = Field(0.2, ge=0, le=1, description="keypoints below this are not seen")
    lasting: list[str] = Field([], description="labels that stay true while the person is not seen any more")
    memory_s: float = Field(60.0, ge=0, le=86400, description="for so long")

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.length, 51


class SoundInput(Part):
    """How sound becomes the input [length], [1, length] or [1, length, 1]: real value = value * full_scale, oldest first."""

    rate_hz: int = Field(ge=4_000, le=192_000, description="values a second")
    length: int = Field(ge=1, le=1_920_000, description="values that it hears at once")
    hop: int = Field(ge=1, le=19_200_000, description="infer on every hop-th value; a lane's hop_ms goes before this")
    full_scale: float = Field(1.0, gt=0, description="its number for the loudest value; 32768 where it learned 16 bit values")


class Manifest(Part):
    """manifest.yaml: what the model file cannot say."""

    version: str
    licence: str
    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    backend: str = "litert"
    provider: str = ""
    decoder: str
    labels: list[str] = []
    options: dict[str, Any] = Field({}, description="of the decoder")
    picture: Picture | None = None
    window: Window | None = None
    poses: Poses | None = Field(None, description="of a second model, that reads the keypoints of a lane's first")
    sound: SoundInput | None = None
    budget_ms: float = Field(10.0, gt=0, description="longest inference that is still good")
    data: str = Field("", description="what it was trained on, and the licence of that")
    golden: str = ""

    @model_validator(mode="after")
    def one_input(self) -> Manifest:
        if [self.picture, self.window, self.poses, self.sound].count(None) != 3:
            raise ValueError("a manifest has one section that says what the input is made of: picture, window, poses or sound")
        return self


class Package:
    """A checked and loaded model with its decoder, ready to run on one lane."""

    def __init__(self, folder: Path, manifest: Manifest, engine: Engine, decoder: Decoder) -> None:
        self.name = folder.name
        self.folder = folder
        self.manifest = manifest
        self.engine = engine
        self.decoder = decoder
        self.places = range(len(engine.outputs))
        self.golden: float | None = None  # worst difference from the golden outputs in units of the tolerance

    def findings(self) -> list[Finding]:
        """What the newest inference says."""
        return self.decoder([self.engine.real(place) for place in self.places])

    def set_hop(self, hop_ms: float | None) -> None:
        """Of a model that hears: infer so often; None for as often as its manifest says."""
        sound = self.manifest.sound
        if sound and hop_ms:
            hop = max(1, round(hop_ms * sound.rate_hz / 1000))
            self.manifest = self.manifest.model_copy(update={"sound": sound.model_copy(update={"hop": hop})})

    def warm(self) -> None:
        """The first runs page in weights and pick kernels; keep them off the lane. Raises PackageError."""
        try:
            for _ in range(3):
                self.engine.invoke()
        except RuntimeError as error:
            raise PackageError(f"{self.folder}: the model loads and does not run: {str(error).splitlines()[0]}") from error


def find(name: str | Path, beside: Path | None = None) -> Path:
    """The folder of a package: a bundled name, or a path (relative to `beside`). Raises PackageError."""
    places = [(beside or Path()) / name, BUNDLED / name]
    for place in places:
        if os.path.isfile(place / "manifest.yaml"):  # Path.is_file raises on a name that is too long
            return place
    bundled = ", ".join(sorted(path.parent.name for path in BUNDLED.glob("*/manifest.yaml"))) or "none"
    raise PackageError(f"no model package '{name}': neither a folder with a manifest.yaml nor bundled (bundled: {bundled})")


def read(folder: Path) -> Manifest:
    """The checked manifest. Raises PackageError with file:line."""
    try:
        document = yamlfile.read(folder / "manifest.yaml")
        return Manifest.model_validate(document.data)
    except yamlfile.YamlError as error:
        raise PackageError(str(error)) from error
    except ValidationError as error:
        raise PackageError("\n".join(document.explain(error, Manifest))) from error


def labels(folder: Path) -> list[str]:
    """Every label that the package can report. Raises PackageError."""
    manifest = read(folder)
    try:
        module = decoders.load(manifest.decoder)
    except DecoderError as error:
        raise PackageError(f"{folder}/manifest.yaml: {error}") from error
    groups = manifest.options.get("groups") if "groups" in module.Decoder.Options.model_fields else None
    own = list(groups) if isinstance(groups, dict) and groups else manifest.labels
    return [*own, *getattr(module, "LABELS", ())]


def verify_file(folder: Path, manifest: Manifest) -> Path:
    """The model file, which exists and has the manifest's sha256. Raises PackageError."""
    path = folder / manifest.file
    if not os.path.isfile(path):
        raise PackageError(f"{folder}/manifest.yaml: model file '{path}' does not exist: copy it there or correct 'file'")
    try:
        found = digest(path)
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from error
    if found != manifest.sha256:
        raise PackageError(
            f"{path}: sha256 is {found[:16]}..., the manifest says {manifest.sha256[:16]}...:"
            " the file is damaged or not the one that was checked; restore it, or 'reflexd model init' one that you trust"
        )
    return path


def open_package(folder: Path, threads: int = 1) -> Package:
    """Check, load, warm, compare with the golden outputs. Raises PackageError."""
    manifest = read(folder)
    path = verify_file(folder, manifest)
    try:
        engine = backends.load(manifest.backend, path, threads, manifest.provider)
        shapes = [tensor.shape for tensor in engine.outputs]
        decoder = decoders.make(manifest.decoder, manifest.labels, manifest.options, shapes)
    except ValidationError as error:
        first = error.errors()[0]
        raise PackageError(f"{folder}/manifest.yaml: options.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (EngineError, DecoderError) as error:
        raise PackageError(f"{folder}: {error}") from error
    check_input(folder, manifest, engine)
    package = Package(folder, manifest, engine, decoder)
    package.warm()
    worst = package.golden = compare_golden(package)
    if worst is not None and worst > 1.0:
        raise PackageError(
            f"{folder}: golden outputs differ by {worst:.1f} times the tolerance: this machine computes another model"
        )
    return package


def check_input(folder: Path, manifest: Manifest, engine: Engine) -> None:
    shape = engine.inputs[0].shape
    section = manifest.window or manifest.poses
    if section:
        kind = "window" if manifest.window else "poses"
        if shape != section.shape:
            raise PackageError(f"{folder}/manifest.yaml: {kind} makes an input {section.shape}, the model takes {shape}")
    elif manifest.sound:
        length = manifest.sound.length
        if shape not in ((length,), (1, length), (1, length, 1)):
            raise PackageError(f"{folder}/manifest.yaml: sound makes an input ({length},), the model takes {shape}")
    elif manifest.picture:
        said, counts = ("with a reference ", (2,)) if manifest.picture.reference else ("", (1, 3))
        found = next((shape[axis] for axis in (3, 1) if len(shape) == 4 and shape[axis] in counts), 0)
        if not found:
            wanted = f"[1, height, width, {' or '.join(map(str, counts))}]"
            raise PackageError(f"{folder}/manifest.yaml: a picture {said}needs an input {wanted}, the model takes {shape}")
        if found != manifest.picture.channels:
            raise PackageError(f"{folder}/manifest.yaml: picture.colour is {manifest.picture.colour}, the model takes {shape}")


def compare_golden(package: Package) -> float | None:
    """Worst difference from the golden outputs in units of the tolerance; None without golden outputs."""
    if not package.manifest.golden:
        return None
    path = package.folder / package.manifest.golden
    try:
        golden = np.load(path, allow_pickle=False)
        if isinstance(golden, np.ndarray):
            raise ValueError("a single array, not an archive of them")
        with golden:
            arrays: dict[str, Array] = {name: golden[name] for name in golden.files}
    except UNREADABLE as error:
        raise PackageError(f"{path}: cannot be read: {error}") from error
    if not arrays.get("input_0", np.empty(0)).size or not any(name.startswith("output_") for name in arrays):
        raise PackageError(f"{path}: proves nothing: it needs arrays input_0 and output_0 with a row for each sample")
    try:
        return max(golden_row(package.engine, arrays, row) for row in range(len(arrays["input_0"])))
    except (KeyError, ValueError, IndexError) as error:
        raise PackageError(f"{path}: does not fit the model: {error}") from error


def golden_row(engine: Engine, arrays: dict[str, Array], row: int) -> float:
    for index in range(len(engine.inputs)):
        engine.input(index)[...] = arrays[f"input_{index}"][row]
    engine.invoke()
    worst = 0.0
    for index, tensor in enumerate(engine.outputs):
        if f"output_{index}" not in arrays:
            continue
        difference = np.abs(engine.output(index)[0].astype(np.float64) - arrays[f"output_{index}"][row]).max()
        # NaN is no match, and no comparison would say so.
        worst = max(worst, float(np.nan_to_num(difference, nan=np.inf)) / (GOLDEN_STEPS if tensor.scale else GOLDEN_REAL))
    return worst


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
