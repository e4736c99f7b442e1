"""A package of somebody else's model file: the manifest of `reflexd model init`, with golden outputs added."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agent.backends import litert
from agent.data import Array
from agent.modeltools.init import Request, make_manifest
from agent.packages.checksums import digest
from models.train.data import SHARED, DataError
from models.train.pack import yaml

PUBLIC = SHARED / "models-public"


def public_file(name: str) -> Path:
    """Raises DataError."""
    path = PUBLIC / name
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return path


def pack(place: Path, source: Path, decoder: str, facts: Mapping[str, Any], inputs: Array) -> None:
    """facts: keys of the manifest in place of those that `model init` guesses. inputs: of the golden outputs."""
    place.mkdir(exist_ok=True)
    model = place / f"{place.name}.tflite"
    shutil.copyfile(source, model)
    guessed = make_manifest(model, Request(decoder)).text.splitlines()
    np.savez_compressed(place / "golden.npz", input_0=inputs, output_0=_outputs(model, inputs))
    facts = {**facts, "golden": "golden.npz", "files": {"golden.npz": digest(place / "golden.npz")}}
    kept = [line for line in guessed if line.partition(":")[0] not in facts]
    (place / "manifest.yaml").write_text("\n".join(kept) + "\n" + yaml(facts))


def _outputs(model: Path, inputs: Array) -> Array:
    engine = litert.Engine(model, 1)
    rows = []
    for row in inputs:
        engine.fill(row)
        engine.invoke()
        rows.append(engine.output(0)[0].copy())
    return np.stack(rows)
