"""`reflexd model init`: write a package's manifest for a public model file."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import click
from pydantic import ValidationError

from agent import section, yamlfile
from agent.backends import base as backends
from agent.backends.base import Engine, EngineError, TensorSpec
from agent.box import files
from agent.box.files import BadFile
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.isolated import python
from agent.modeltools import guess
from agent.modeltools.trial import trial
from agent.packages import checksums, package
from agent.packages.manifest import Manifest

SUFFIXES = {".tflite": "litert", ".onnx": "onnx"}
MAX_LABEL_BYTES = 1_000_000
TIMEOUT_S, MAX_MEMORY = 120, 8 << 30  # of the child process; bytes of address space
# Of a model with AudioSet's classes (YAMNet), those that mean somebody needs help
ALARMS = {
    "scream": ["Screaming"],
    "groan": ["Groan", "Grunt", "Wail, moan", "Whimper"],
    "glass": ["Glass", "Shatter"],
    "speech": ["Speech", "Conversation"],
}


class Request(NamedTuple):
    """What the user says of the model. shape, outputs: as in a manifest. picture: its input is one, in doubt.

    labels: file with a line for each.
    """

    decoder: str = ""
    shape: tuple[int, ...] = ()
    outputs: tuple[str, ...] = ()
    activation: str = ""
    picture: bool = False
    labels: str = ""


class Made(NamedTuple):
    """text: the manifest's. weights: names of the other files that the model reads. reads: its input, in words."""

    text: str
    weights: list[str]
    reads: str
    decoder: str


def init(file: Path, into: Path | None, request: Request, as_json: bool) -> int:
    """Write manifest.yaml for FILE, which a child process loads once: a foreign file may crash the engine."""
    if file.suffix not in SUFFIXES:
        raise PackageError(f"{file}: expected a .tflite or .onnx file")
    _check(file, request)
    folder = into or file.with_suffix("")
    if (folder / "manifest.yaml").exists():
        raise PackageError(f"{folder}/manifest.yaml exists already: remove it first")
    made = _from_child(file, request)
    for name in (file.name, *made.weights):
        _copy(file.parent / name, folder / name)
    (folder / "manifest.yaml").write_text(made.text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"ok": True, "manifest": str(folder / "manifest.yaml")}))
    else:
        advice = f"check {_to_check(made.text)} against the model's page, then run:"
        click.echo(f"wrote {folder}/manifest.yaml; it reads {made.reads}, decoder {made.decoder}; {advice}")
        click.echo(f"reflexd model verify {folder}")
    return 0


def _to_check(text: str) -> str:
    """The keys of this manifest that are guessed."""
    reads = {line.partition(":")[0] for line in text.splitlines()}
    if "sound" in reads:
        return "decoder, rate_hz and hop"
    return "decoder, mean and std" if "window" in reads else "decoder, colour, mean and std"


def _check(file: Path, request: Request) -> None:
    """Raises PackageError."""
    try:
        files.open_regular(file, checksums.MAX_BYTES).close()
        if request.decoder:
            decoders.load(request.decoder)
    except BadFile as error:
        raise PackageError(f"{file}: {error}") from error
    except DecoderError as error:
        raise PackageError(f"--decoder: {error}") from error


def _copy(source: Path, target: Path) -> None:
    """Raises PackageError where another file is there already."""
    if target.exists():
        if checksums.digest(target) != checksums.digest(source):
            raise PackageError(f"{target} exists already and is another file: remove it, or choose another --into")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with files.open_regular(source, checksums.MAX_BYTES) as opened, open(target, "wb") as copy:
            while chunk := opened.read(files.CHUNK):
                copy.write(chunk)
    except BadFile as error:
        raise PackageError(f"{source}: {error}") from error


def _from_child(file: Path, request: Request) -> Made:
    command = python("agent.modeltools.init", str(file), json.dumps(request))
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"{file}: it did not load and run within {TIMEOUT_S} s") from error
    if child.returncode < 0:
        crash = f"the inference engine crashed on it (signal {-child.returncode})"
        raise PackageError(f"{file}: {crash}: the file is damaged or hostile")
    if child.returncode:
        raise PackageError((child.stderr.strip().splitlines() or ["unknown error"])[-1])
    return Made(**json.loads(child.stdout.splitlines()[-1]))


def make_manifest(file: Path, request: Request) -> Made:
    """The manifest, from names, shapes, values and labels of the file, after it was tried. Raises PackageError."""
    backend = SUFFIXES[file.suffix]
    weights = checksums.weight_files(file) if backend == "onnx" else []
    sums = {name: checksums.digest(checksums.file_inside(file.parent, name)) for name in weights}
    try:
        engine = backends.load(backend, file, spec=TensorSpec(request.shape, request.outputs))
        reads_line, reads = guess.input_section(engine.inputs[0], request.picture)
        package.warm(file, engine)
        decoder, order = guess.decoder_of(engine, request.decoder)
        outputs = list(request.outputs) or order
    except (EngineError, RuntimeError) as error:
        raise PackageError(f"{file}: {error}") from error
    labels = _labels(file, request, engine, decoder)
    facts: dict[str, Any] = {"file": file.name, "sha256": checksums.digest(file)}
    facts |= {"files": sums} if sums else {}
    facts |= {"backend": backend, "decoder": decoder}
    facts |= {"shape": list(request.shape)} if request.shape else {}
    facts |= {"outputs": outputs} if outputs else {}
    lines = ["version: 1.0.0", "licence: unknown  # state it before you ship this"]
    lines += [f"{key}: {json.dumps(value)}" for key, value in facts.items()]
    lines += [reads_line, *_options(request, labels), f"labels: {json.dumps(labels)}"]
    text = "\n".join([*lines, "budget_ms: 10", 'data: ""', ""])
    trial(package.load(file, _manifest(text, file), file))
    return Made(text, weights, reads, decoder)


def _labels(file: Path, request: Request, engine: Engine, decoder: str) -> list[str]:
    """Raises PackageError where those of the user do not fit, or nobody says what many values are."""
    given = _labels_of_user(Path(request.labels)) if request.labels else _labels_inside(file)
    if not request.decoder:
        guess.check_unnamed(engine, decoder, given)
    labels = guess.labels_of(decoder, engine.outputs, given)
    if request.labels and labels != given:
        raise PackageError(f"--labels: {request.labels} has {len(given)} lines, and the model {len(labels)} labels")
    return labels


def _labels_of_user(path: Path) -> list[str]:
    try:
        with files.open_regular(path, MAX_LABEL_BYTES) as file:
            return _lines(file.read().decode("utf-8-sig"))
    except BadFile as error:
        raise PackageError(f"--labels: {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise PackageError(f"--labels: {path}: not UTF-8 text") from error


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text.rstrip("\r\n")) if text else []


def _options(request: Request, labels: list[str]) -> list[str]:
    if request.activation:
        return [f"options: {{activation: {request.activation}}}"]
    if all(label in labels for group in ALARMS.values() for label in group):
        return [f"options: {{groups: {json.dumps(ALARMS)}}}  # without this line: all {len(labels)} labels"]
    return []


def _manifest(text: str, file: Path) -> Manifest:
    document = yamlfile.parse(text.encode(), file)
    try:
        return Manifest.model_validate(document.data)
    except ValidationError as error:
        raise PackageError("; ".join(section.explain(document, error, Manifest))) from error


def _labels_inside(file: Path) -> list[str]:
    """A .tflite with metadata has its label file in a zip at its end."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".txt")]
            small = [entry for entry in entries if entry.file_size < MAX_LABEL_BYTES]
            text = archive.read(small[0]).decode("utf-8-sig") if small else ""
            return _lines(text)
    except (zipfile.BadZipFile, UnicodeDecodeError):
        return []


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    asked = Request(*json.loads(sys.argv[2]))
    try:
        print(json.dumps(make_manifest(Path(sys.argv[1]), asked)._asdict()))
    except (EngineError, PackageError, MemoryError) as error:
        text = f"{error}" or "it needs too much memory"
        sys.exit(text if text.startswith(sys.argv[1]) else f"{sys.argv[1]}: {text}")
