"""`reflexd model init`: write a package's manifest for a public model file."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
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
from agent.modeltools import guess, labels, yolo
from agent.modeltools.trial import trial
from agent.packages import checksums, package
from agent.packages.manifest import AUTO, Manifest

SUFFIXES = {".tflite": "litert", ".onnx": "onnx"}
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
        given = labels.of_user(Path(request.labels)) if request.labels else labels.inside(file, engine.metadata)
        may_be_yolo = request.decoder in ("", "yolo")
        detector = yolo.recognise(engine, len(given), bool(request.outputs)) if may_be_yolo else None
        decoder, order = ("yolo", detector.order) if detector else guess.decoder_of(engine, request.decoder)
        outputs = list(request.outputs) or order
    except (EngineError, RuntimeError) as error:
        raise PackageError(f"{file}: {error}") from error
    names = _labels(request, engine, decoder, given, detector)
    if detector or decoder == "movenet":
        reads_line = reads_line.replace("fit: stretch", "fit: letterbox")
    if detector:
        if detector.picture:
            reads_line, reads = detector.picture, reads.replace(", rgb", ", bgr")
        reads = f"{reads} ({detector.reason}{', the 80 labels of COCO' if names == labels.COCO != given else ''})"
    facts: dict[str, Any] = {"file": file.name, "sha256": checksums.digest(file)}
    facts |= {"files": sums} if sums else {}
    facts |= {"backend": AUTO, "decoder": decoder}
    facts |= {"shape": list(request.shape)} if request.shape else {}
    facts |= {"outputs": outputs} if outputs else {}
    lines = ["version: 1.0.0", "licence: unknown  # state it before you ship this"]
    lines += [f"{key}: {json.dumps(value)}" for key, value in facts.items()]
    lines += [reads_line, *_options(request, names, detector), f"labels: {json.dumps(names)}"]
    text = "\n".join([*lines, "budget_ms: 10", 'data: ""', ""])
    trial(package.load(file, _manifest(text, file), file, 1, backend))
    return Made(text, weights, reads, decoder)


def _labels(
    request: Request, engine: Engine, decoder: str, given: list[str], detector: yolo.Recognised | None
) -> list[str]:
    """Raises PackageError where those of the user do not fit, or nobody says what many values are."""
    if not request.decoder:
        guess.check_unnamed(engine, decoder, given)
    if detector and len(given) != detector.labels:
        names = detector.usual or guess.numbered(detector.labels)
    else:
        names = given if detector else guess.labels_of(decoder, engine.outputs, given)
    if request.labels and names != given:
        raise PackageError(f"--labels: {request.labels} has {len(given)} lines, and the model {len(names)} labels")
    return names


def _options(request: Request, names: list[str], detector: yolo.Recognised | None) -> list[str]:
    if detector:
        return [f"options: {detector.options}"]
    if request.activation:
        return [f"options: {{activation: {request.activation}}}"]
    if all(label in names for group in ALARMS.values() for label in group):
        return [f"options: {{groups: {json.dumps(ALARMS)}}}  # without this line: all {len(names)} labels"]
    return []


def _manifest(text: str, file: Path) -> Manifest:
    document = yamlfile.parse(text.encode(), file)
    try:
        return Manifest.model_validate(document.data)
    except ValidationError as error:
        raise PackageError("; ".join(section.explain(document, error, Manifest))) from error


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    asked = Request(*json.loads(sys.argv[2]))
    try:
        print(json.dumps(make_manifest(Path(sys.argv[1]), asked)._asdict()))
    except (EngineError, PackageError, MemoryError) as error:
        text = f"{error}" or "it needs too much memory"
        sys.exit(text if text.startswith(sys.argv[1]) else f"{sys.argv[1]}: {text}")
