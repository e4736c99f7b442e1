"""Writes a model package: model file, manifest, and golden outputs to compare with at load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.packages.manifest import AUTO

GOLDEN = 8  # pairs of input and output in golden.npz


def pack(
    place: Path, content: bytes, facts: Mapping[str, Any], inputs: Array, *outputs: Array, backend: str = AUTO
) -> None:
    """facts: manifest keys besides file names and checksum. inputs, outputs: raw values of GOLDEN samples."""
    _write(place, f"{place.name}.tflite", backend, content, facts, inputs, outputs)


def pack_window(place: Path, shape: tuple[int, ...], facts: Mapping[str, Any], examples: Array) -> None:
    """A package without a network: its file holds the shape of the window, which the decoder gets as it is."""
    content = yaml({"input": shape}).encode()
    _write(place, "window.yaml", "signal", content, facts, examples, [examples])


def _write(
    place: Path,
    file: str,
    backend: str,
    content: bytes,
    facts: Mapping[str, Any],
    inputs: Array,
    outputs: Sequence[Array],
) -> None:
    place.mkdir(exist_ok=True)
    (place / file).write_bytes(content)
    named: dict[str, Any] = {f"output_{number}": values for number, values in enumerate(outputs)}
    np.savez_compressed(place / "golden.npz", input_0=inputs, **named)
    licence = facts.get("licence", "Apache-2.0")
    first = {
        "version": facts["version"],
        "licence": licence,
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    golden = {"golden.npz": hashlib.sha256((place / "golden.npz").read_bytes()).hexdigest()}
    rest = {key: value for key, value in facts.items() if key not in first}
    (place / "manifest.yaml").write_text(
        yaml({**first, "backend": backend, **rest, "golden": "golden.npz", "files": golden})
    )


def yaml(facts: Mapping[str, Any], indent: str = "") -> str:
    """One line for each key; a mapping is indented below its key. Strings and lists are JSON, which YAML includes."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:\n{yaml(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}\n")
    return "".join(lines)
