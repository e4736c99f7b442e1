"""Does the manifest's input section fit the model's input?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.backends.base import Engine
from agent.errors import PackageError
from agent.packages.manifest import Manifest, Picture

MIN_SIDE = 12  # pixels: a smaller input holds features of sound or readings


def check_input(folder: Path, manifest: Manifest, engine: Engine) -> None:
    """Raises PackageError unless the manifest's input section fits the model's input."""
    shape, dtype = engine.inputs[0].shape, np.dtype(engine.inputs[0].dtype)
    if dtype.kind not in "fiu":
        raise PackageError(f"{folder}: the model's input {engine.inputs[0]} holds no numbers that a lane has")
    mismatch = ""
    if manifest.window and manifest.window.shape != shape:
        mismatch = f"window makes an input {manifest.window.shape}"
    elif manifest.poses and manifest.poses.shape != shape:
        mismatch = f"poses makes an input {manifest.poses.shape}"
    elif manifest.sound:
        if shape not in manifest.sound.shapes:
            mismatch = f"sound makes an input {manifest.sound.shapes[0]}"
    elif manifest.evidence and (len(shape) != 2 or dtype != np.uint8):
        mismatch = "evidence needs an input [1, bytes] of uint8"
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
    sides = shape[1:3] if shape[3] == channels else shape[2:]
    if min(sides) < MIN_SIDE:
        return f"a picture has at least {MIN_SIDE} x {MIN_SIDE} pixels"
    return "" if channels == picture.channels else f"picture.colour is {picture.colour}"
