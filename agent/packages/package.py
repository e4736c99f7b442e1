"""A model package on disk: read its manifest, check it, load it, warm it, compare it with its golden outputs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from agent import section, yamlfile
from agent.backends import base as backends
from agent.backends.base import Engine, EngineError, Tensor, TensorSpec
from agent.box import files
from agent.box.files import BadFile
from agent.decoders import base as decoders
from agent.decoders.base import Decoder, DecoderError, Finding
from agent.errors import MissingPackage, PackageError, first_line
from agent.packages import engines, golden
from agent.packages.checksums import file_inside, verify_files
from agent.packages.comparison import ComparingEngine
from agent.packages.input_check import check_input
from agent.packages.manifest import Manifest
from agent.packages.outputs import Outputs
from agent.packages.shared import share

log = logging.getLogger("reflexd")
BUNDLED = Path(__file__).resolve().parents[2] / "models"


class Package:
    """A checked and loaded model with its decoder, ready to run on one lane."""

    def __init__(
        self, folder: Path, manifest: Manifest, engine: Engine, decoder: Decoder, backend: str = "", name: str = ""
    ) -> None:
        """backend: what runs it, where the manifest leaves that open. name: for messages; default: the folder's."""
        self.name = name or folder.name
        self.backend = backend or manifest.backend
        self.folder = folder
        self.manifest = manifest
        self.decoder = decoder
        self.network = self.engine = engine  # the engine of a decoder that reads_input is one around it
        self.network_outputs = self.outputs = Outputs(self.name, engine, decoder.reads_stored)
        if decoder.reads_input:
            self.engine = ComparingEngine(engine, decoder.compare)
            self.outputs = Outputs(self.name, self.engine)
        # What the lane does with a package that it gets, and with each that replaces it.
        self.on_lane: Callable[[Package], None] | None = None
        self.golden: float | None = None  # worst difference from the golden outputs in units of the tolerance

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Width and height of the pictures that it reads."""
        if not self.manifest.picture:
            return None
        height, width = self.engine.inputs[0].sides
        return width, height

    def put_around(self, network: Engine) -> None:
        """Another engine of the same tensors, around the one that was loaded."""
        if isinstance(self.engine, ComparingEngine):
            self.engine.network = network
        else:
            self.engine = network
        self.network = network

    def follow(self, old: Package) -> None:
        """In the place of another one on its lane."""
        if old.on_lane and self.on_lane is None:
            self.on_lane = old.on_lane
            try:
                old.on_lane(self)
            except PackageError as error:
                log.warning("model %s: computed on this box alone: %s", self.name, error)

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


def find(name: str | Path, base_folder: Path | None = None) -> Path:
    """The folder of a package: a bundled name, or a path (relative to `base_folder`). Raises PackageError."""
    for folder in ((base_folder or Path()) / name, BUNDLED / name):
        if os.path.isfile(folder / "manifest.yaml"):  # Path.is_file raises on a name that is too long
            return folder
    bundled = ", ".join(sorted(path.parent.name for path in BUNDLED.glob("*/manifest.yaml"))) or "none"
    kind = MissingPackage if os.sep in str(name) else PackageError
    raise kind(f"no model package '{name}': neither a folder with a manifest.yaml nor bundled (bundled: {bundled})")


def read(folder: Path) -> Manifest:
    """The checked manifest. Raises PackageError with file:line."""
    path = folder / "manifest.yaml"
    try:
        files.open_regular(path, yamlfile.MAX_BYTES).close()
        return section.load(path, Manifest)
    except BadFile as error:
        raise PackageError(f"{path}: {error}") from error
    except yamlfile.YamlError as error:
        raise PackageError(str(error)) from error


def first_engine(folder: Path) -> str:
    """That of a machine where only one is installed. Raises PackageError."""
    return engines.first(folder, read(folder))


def labels(folder: Path, manifest: Manifest | None = None) -> list[str]:
    """Every label that the package can report. manifest: where it was read already. Raises PackageError."""
    manifest = manifest or read(folder)
    try:
        module = decoders.load(manifest.decoder)
    except DecoderError as error:
        raise PackageError(f"{folder}/manifest.yaml: {error}") from error
    groups = manifest.options.get("groups") if "groups" in module.Decoder.Options.model_fields else None
    of_model = list(groups) if isinstance(groups, dict) and groups else manifest.labels
    return [*of_model, *getattr(module, "LABELS", ())]


def open_package(folder: Path, threads: int = 1, backend: str = "", shared: bool = False) -> Package:
    """Check, load, warm up, compare with the golden outputs. Raises PackageError.

    backend: in place of the manifest's. shared: with the other packages of this model that are opened so.
    """
    return open_as(folder, read(folder), threads, backend, shared)


def open_as(
    folder: Path, manifest: Manifest, threads: int = 1, backend: str = "", shared: bool = False, name: str = ""
) -> Package:
    """As `open_package`, with another manifest than that of the folder, or another name."""
    path = verify_files(folder, manifest)
    backend = backend or engines.choose(folder, manifest, threads)
    package = load(folder, manifest, path, threads, backend, shared, name)
    package.golden = compare_golden(package)
    if package.golden is not None and package.golden > 1.0:
        raise PackageError(
            f"{folder}: golden outputs differ by {package.golden:.1f} times the tolerance:"
            " this machine computes another model"
        )
    return package


def load(
    folder: Path, manifest: Manifest, path: Path, threads: int, backend: str, shared: bool = False, name: str = ""
) -> Package:
    """The model at `path`, whose files were verified, loaded and warm. Raises PackageError."""
    try:
        decoders.load(manifest.decoder)
        spec = TensorSpec(manifest.shape, manifest.outputs)
        engine = _engine(backend, path, threads, manifest, spec, shared)
    except (EngineError, DecoderError) as error:
        raise PackageError(f"{folder}: {error}") from error
    check_input(folder, manifest, engine)
    warm(folder, engine)
    decoder = _decoder(folder, manifest, engine)
    engine.outputs = [_varying(tensor, decoder) for tensor in engine.outputs]
    try:
        return Package(folder, manifest, engine, decoder, backend, name)
    except DecoderError as error:
        raise PackageError(f"{folder}: {error}") from error


def _engine(backend: str, path: Path, threads: int, manifest: Manifest, spec: TensorSpec, shared: bool) -> Engine:
    """Raises EngineError."""

    def load_own() -> Engine:
        return backends.load(backend, path, threads, manifest.provider, spec)

    if not shared:
        return load_own()
    key = manifest.checksum, backend, threads, manifest.provider, tuple(spec.shape), tuple(spec.outputs)
    return share(key, load_own)


def warm(folder: Path, engine: Engine) -> None:
    """Run it a few times off the lane: the first runs page in weights and choose kernels. Raises PackageError.

    Sizes of outputs that the file leaves open are then those of these runs.
    """
    if engine.away:
        log.warning("model %s: %s; it is tried again with every sample", folder.name, engine.away)
        return
    try:
        with engine.own_inputs():
            for _ in range(3):
                engine.invoke()
        shapes = [engine.output(index).shape for index in range(len(engine.outputs))]
    except Exception as error:  # each engine has its own kinds
        raise PackageError(f"{folder}: the model loads but does not run: {first_line(error)}") from error
    engine.outputs = [
        tensor._replace(shape=shape) if tensor.unknown or not tensor.shape else tensor
        for tensor, shape in zip(engine.outputs, shapes)
    ]


def new_decoder(opened: Package) -> Decoder:
    """Another one of the same kind, which remembers nothing yet. Raises PackageError."""
    return _decoder(opened.folder, opened.manifest, opened.network)


def _decoder(folder: Path, manifest: Manifest, engine: Engine) -> Decoder:
    """Raises PackageError with what the model's outputs are."""
    try:
        shapes = [tensor.shape for tensor in engine.outputs]
        decoder = decoders.make(manifest.decoder, manifest.labels, manifest.options, shapes)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        raise PackageError(f"{folder}/manifest.yaml: options.{option}: {first['msg']}") from error
    except DecoderError as error:
        outputs = ", ".join(map(str, engine.outputs)) or "none"
        raise PackageError(f"{folder}: {error} (outputs: {outputs})") from error
    decoder.tensors = engine.outputs
    return decoder


def _varying(output: Tensor, decoder: Decoder) -> Tensor:
    """An open size is that of the first run, except where the decoder allows it to change."""
    return output._replace(unknown=tuple(axis for axis in output.unknown if axis == decoder.varying_axis))


def compare_golden(package: Package) -> float | None:
    """Worst difference from the golden outputs in units of the tolerance; None without, and where it is away."""
    if not package.manifest.golden or package.network.away:
        return None
    path = file_inside(package.folder, package.manifest.golden)
    return golden.compare(path, package.network, package.network_outputs, package.manifest.tolerance)
