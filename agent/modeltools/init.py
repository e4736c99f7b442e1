"""`reflexd model init`: write a package's manifest for a public model file."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import numpy as np

from agent import package, yamlfile
from agent.backends import base as backends
from agent.backends.base import Engine, EngineError, Tensor
from agent.errors import PackageError

SUFFIXES = {".tflite": "litert", ".onnx": "onnx"}
MAX_LABEL_BYTES = 1_000_000
SOUND_HZ, MIN_SOUND = 16_000, 4_000  # the usual rate of sound models; a shorter input is no sound
# Of a model with AudioSet's classes (YAMNet), those that mean somebody needs help
ALARMS = {
    "scream": ["Screaming"],
    "groan": ["Groan", "Grunt", "Wail, moan", "Whimper"],
    "glass": ["Glass", "Shatter"],
    "speech": ["Speech", "Conversation"],
}


def init(file: Path, into: Path | None, decoder: str | None, as_json: bool) -> int:
    """Write manifest.yaml for FILE, which a child process loads once: a foreign file may crash the engine."""
    if file.suffix not in SUFFIXES:
        raise PackageError(f"{file}: expected a .tflite or .onnx file")
    if not file.is_file():
        raise PackageError(f"{file}: no such file")
    folder = into or file.with_suffix("")
    if (folder / "manifest.yaml").exists():
        raise PackageError(f"{folder}/manifest.yaml exists already: remove it first")
    text = _text_from_child(file, folder, decoder)
    yamlfile.parse(text.encode(), folder / "manifest.yaml")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / file.name).exists():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "manifest.yaml").write_text(text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"ok": True, "manifest": str(folder / "manifest.yaml")}))
    else:
        advice = "check decoder, colour, mean and std against the model's page, then run:"
        click.echo(f"wrote {folder}/manifest.yaml; {advice}")
        click.echo(f"reflexd model verify {folder}")
    return 0


def _text_from_child(file: Path, folder: Path, decoder: str | None) -> str:
    command = [sys.executable, "-m", "agent.modeltools.init", str(file), str(folder), decoder or ""]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if child.returncode < 0:
        crash = f"the inference engine crashed on it (signal {-child.returncode})"
        raise PackageError(f"{file}: {crash}: the file is damaged or hostile")
    if child.returncode:
        raise PackageError((child.stderr.strip().splitlines() or ["unknown error"])[-1])
    return child.stdout


def manifest_text(file: Path, decoder: str) -> str:
    """The manifest as YAML, from the tensors and labels inside the file."""
    backend = SUFFIXES[file.suffix]
    engine = backends.load(backend, file)
    labels = _labels_inside(file)
    decoder = decoder or _guess_decoder(engine)
    lines = ["version: 1.0.0", "licence: unknown  # state it before you ship this", f"file: {file.name}"]
    lines += [f"sha256: {package.digest(file)}", f"backend: {backend}", f"decoder: {decoder}"]
    lines += _input_section(engine.inputs[0])
    if decoder in ("classify", "nanodet", "sequence") and not labels:
        labels = [f"class-{number}" for number in range(engine.outputs[0].shape[-1])]
    if all(label in labels for group in ALARMS.values() for label in group):
        lines.append(f"options: {{groups: {json.dumps(ALARMS)}}}  # without this line: all {len(labels)} labels")
    lines.append(f"labels: {json.dumps(labels)}")
    return "\n".join([*lines, "budget_ms: 10", 'data: ""', ""])


def _input_section(tensor: Tensor) -> list[str]:
    """What fills the input. Quantisation gives the normalisation of pixels: real = (stored - zero_point) * scale."""
    shape = tensor.shape
    if len(shape) in (1, 2) and max(shape) == np.prod(shape) >= MIN_SOUND:
        return [f"sound: {{rate_hz: {SOUND_HZ}, length: {max(shape)}, hop: {SOUND_HZ // 10}}}"]
    if len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3)):
        colour = "grey" if 1 in (shape[3], shape[1]) else "rgb"
        mean, std = _pixel_scale(tensor)
        return [f"picture: {{colour: {colour}, mean: {mean:g}, std: {std:g}, fit: stretch}}"]
    if len(shape) == 3:
        count = shape[2]
        names = ", ".join(f"c{number}" for number in range(count))
        means, stds = ", ".join(["0.0"] * count), ", ".join(["1.0"] * count)
        return [f"window: {{channels: [{names}], length: {shape[1]}, hop: 1, mean: [{means}], std: [{stds}]}}"]
    raise EngineError(f"an input of shape {list(shape)} is neither a picture nor a window of readings nor sound")


def _pixel_scale(tensor: Tensor) -> tuple[float, float]:
    """Mean and std that store a pixel 0..255 as the full range of the type."""
    kind = np.dtype(tensor.dtype)
    if kind == np.uint8 and tensor.scale:
        return float(tensor.zero_point), 1.0 / tensor.scale
    if kind == np.int8 and tensor.scale:
        return float(tensor.zero_point + 128), 1.0 / tensor.scale
    return (0.0, 255.0) if kind.kind == "f" else (0.0, 1.0)


def _guess_decoder(engine: Engine) -> str:
    shapes = [tensor.shape for tensor in engine.outputs]
    if len(shapes) == 4 and shapes[0][-1] == 4:
        return "ssd"
    if shapes[0][-2:] == (17, 3):
        return "movenet"
    if len(shapes) == 6 and all(len(shape) == 3 for shape in shapes) and shapes[0][1] == shapes[3][1]:
        return "nanodet"
    return "sequence" if len(engine.inputs[0].shape) == 3 else "classify"


def _labels_inside(file: Path) -> list[str]:
    """A .tflite with metadata has its label file in a zip at its end."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".txt")]
            small = [entry for entry in entries if entry.file_size < MAX_LABEL_BYTES]
            return archive.read(small[0]).decode().rstrip("\n").split("\n") if small else []
    except (zipfile.BadZipFile, UnicodeDecodeError):
        return []


if __name__ == "__main__":
    try:
        print(manifest_text(Path(sys.argv[1]), sys.argv[3]))
    except (EngineError, PackageError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
