"""Packages with decoder reconstruction, and recordings of sound for them."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from agent.data import Array
from agent.packages.checksums import digest
from tests import onnx_models
from tests.shared import PUBLIC

# As ad01_int8.tflite of MLPerf Tiny was trained: the baseline of DCASE 2020 task 2
FEATURES: dict[str, Any] = {
    "frame": 1024,
    "step": 512,
    "bands": 128,
    "mel": "slaney",
    "power": 2,
    "log": "db",
    "low_hz": 0,
    "high_hz": 8000,
    "floor": 2.220446049250313e-16,
}
SOUND = {"rate_hz": 16_000, "length": 3072, "hop": 512, "features": FEATURES}
READINGS = {"channels": ["x", "y"], "length": 8, "mean": [0.0, 0.0], "std": [1.0, 1.0]}
KEPT = 0.9  # share of its input that the repeating network gives back


def written(folder: Path, model: Path, options: dict[str, Any], **section: Any) -> Path:
    """The folder of a package with this model and input section."""
    folder.mkdir(exist_ok=True)
    (folder / model.name).write_bytes(model.read_bytes())
    backend = {".onnx": "onnx", ".tflite": "litert"}[model.suffix]
    manifest = {"version": "1", "licence": "Apache-2.0", "backend": backend, "file": model.name}
    manifest["sha256"] = digest(model)
    YAML(typ="safe").dump(
        {**manifest, "decoder": "reconstruction", "options": options, **section}, folder / "manifest.yaml"
    )
    return folder


def machine_sounds(folder: Path, **options: Any) -> Path:
    """The public autoencoder of machine sounds."""
    return written(folder, PUBLIC / "ad01_int8.tflite", options, sound=SOUND)


def repeating(folder: Path, shape: tuple[int, ...], options: dict[str, Any], **section: Any) -> Path:
    """A network whose output is its input times KEPT: the error is 0.01 times the input's mean square."""
    nodes: list[onnx_models.Node] = [("Mul", ["x", "gain"], "y", {})]
    constants: list[onnx_models.Value] = [("gain", [KEPT], [1], onnx_models.FLOAT)]
    model = folder.parent / f"{folder.name}.onnx"
    model.write_bytes(onnx_models.model(nodes, constants, shape, {"y": shape}))
    return written(folder, model, options, **section)


def listening(folder: Path, **options: Any) -> Path:
    """A network that repeats log-mel bands."""
    return repeating(folder, (1, 640), options, sound=SOUND)


def hum(seconds: float = 30.0, seed: int = 0, loud: float = 0.1) -> Array:
    """float32 at 16 kHz: a motor with its harmonics, and noise."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    tones = sum(np.sin(2 * np.pi * 50 * number * time) / number for number in (1, 2, 3, 6))
    noise = np.random.default_rng(seed).normal(0, 0.3, len(time))
    return np.asarray(loud * (tones + noise), np.float32)


def wav(path: Path, sound: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())
    return path
