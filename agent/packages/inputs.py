"""Inputs on which a model is tried and timed: the golden ones of its package, or noise."""

from __future__ import annotations

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.packages import golden
from agent.packages.checksums import file_inside
from agent.packages.manifest import Manifest
from agent.packages.package import Package

ROWS = 8  # that take turns


def samples(opened: Package) -> tuple[Array, str]:
    """[n, ...], which take turns, and their origin: golden or noise. Raises PackageError."""
    if opened.manifest.golden:
        path = file_inside(opened.folder, opened.manifest.golden)
        return golden.load(path, opened.engine)["input_0"], "golden"
    return noise(opened.engine.inputs[0], opened.manifest, np.random.default_rng(0)), "noise"


def noise(tensor: Tensor, manifest: Manifest, random: np.random.Generator) -> Array:
    """[ROWS, ...]: of integers uniform over all stored values; of floats pixels, or readings around their mean."""
    row = tensor.shape[1:] or tensor.shape
    shape, kind = (ROWS, *row), np.dtype(tensor.dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return random.integers(limits.min, limits.max, shape, kind, endpoint=True)
    if manifest.picture and np.ndim(manifest.picture.std) == 0:
        return ((random.uniform(0, 255, shape) - manifest.picture.mean) / manifest.picture.std).astype(kind)
    return random.normal(0.0, 1.0, shape).astype(kind)
