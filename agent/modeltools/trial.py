"""Runs a package on varied inputs: does its answer depend on them, and is it what its decoder reads?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.packages import golden
from agent.packages.manifest import Manifest
from agent.packages.outputs import ModelFault
from agent.packages.package import Package
from agent.prepare.quantise import stored

RUNS, MAX_RUNS = 10, 40  # inputs besides golden ones; as many where all answers are the same so far
MIN_LEVELS = 32  # of a pixel's 256 that the model must tell apart
READINGS = 3.0  # standard deviations from the mean


def trial(opened: Package) -> int:
    """Number of inputs tried. Raises PackageError with what is wrong."""
    _check_pixels(opened)
    first: list[Array] = []
    depends, count = opened.engine.has_memory, 0
    for values in _inputs(opened):
        if depends and count >= RUNS:
            break
        answer = _answer(opened, values)
        first = first or answer
        depends |= any(not np.array_equal(*pair) for pair in zip(first, answer))
        count += 1
    if not depends:
        raise PackageError(
            f"{opened.folder}: the answer is the same for {count} different inputs: the model does not read its input,"
            " or is damaged, or its input section does not fit; if it answers real samples, add them as 'golden'"
        )
    return count


def _answer(opened: Package, values: Array) -> list[Array]:
    """The outputs, or only the scores where there are some. Raises PackageError."""
    engine, outputs, decoder = opened.engine, opened.outputs, opened.decoder
    engine.input(0)[...] = values
    try:
        with opened.network.own_inputs():
            outputs.invoke(engine)
        real = [values.copy() for values in outputs.read(engine)]
        if reason := decoder.mistake(real):
            raise PackageError(f"{opened.folder}: decoder {opened.manifest.decoder}: {reason}")
        decoder(real)
        scores = decoder.scores(real)
    except DecoderError as error:
        raise PackageError(f"{opened.folder}: decoder {opened.manifest.decoder}: {error}") from error
    except ModelFault as error:
        raise PackageError(f"{opened.folder}: on varied inputs: {error}") from error
    return real if scores is None else [scores]


def _inputs(opened: Package) -> Iterator[Array]:
    tensor = opened.engine.inputs[0]
    if opened.manifest.golden:
        path = opened.folder / opened.manifest.golden
        rows: Array = golden.load(path, opened.engine)["input_0"]
        yield from rows[:RUNS]
    low, high = real_range(tensor, opened.manifest)
    for shares in _patterns(tensor.shape):
        yield stored(low + shares * (high - low), tensor)


def _patterns(shape: tuple[int, ...]) -> Iterator[Array]:
    """Shares 0..1: even ones, a slope, coarse blocks, noise."""
    random = np.random.default_rng(0)
    yield np.zeros(shape)
    yield np.ones(shape)
    yield np.linspace(0.0, 1.0, int(np.prod(shape))).reshape(shape)
    for number in range(MAX_RUNS - 3):
        yield _blocks(shape, (2, 4, 8, 16, 1_000_000)[number % 5], random)


def _blocks(shape: tuple[int, ...], most: int, random: np.random.Generator) -> Array:
    """At most so many blocks along each axis, each of one random share."""
    coarse = random.random([min(size, most) for size in shape])
    for axis, size in enumerate(shape):
        coarse = np.take(coarse, np.arange(size) * coarse.shape[axis] // size, axis=axis)
    return coarse


def real_range(tensor: Tensor, manifest: Manifest) -> tuple[Array, Array]:
    """Least and greatest real value that a lane gives the model."""
    if manifest.picture:
        mean, std = np.atleast_1d(manifest.picture.mean), np.atleast_1d(manifest.picture.std)
        low, high = ((np.array(pixel) - mean) / std for pixel in (0.0, 255.0))
        return (low[:, None, None], high[:, None, None]) if tensor.planar else (low, high)
    if manifest.backbone and tensor.scale:
        limits = np.iinfo(np.dtype(tensor.dtype))
        low, high = ((np.array(end) - tensor.zero_point) * tensor.scale for end in (limits.min, limits.max))
        return low, high
    most = manifest.sound.full_scale if manifest.sound else READINGS
    return np.array(-most), np.array(most)


def _check_pixels(opened: Package) -> None:
    """Raises PackageError where the normalisation leaves few levels of the pixels."""
    tensor, manifest = opened.engine.inputs[0], opened.manifest
    if not manifest.picture:
        return
    low, high = real_range(tensor, manifest)
    ramp = np.linspace(0.0, 1.0, 256)
    levels = min(len(np.unique(stored(a + ramp * (b - a), tensor))) for a, b in zip(low.ravel(), high.ravel()))
    if levels < MIN_LEVELS:
        limits = np.iinfo(np.dtype(tensor.dtype))
        scale = tensor.scale or 1.0
        ends = [(end - tensor.zero_point) * scale for end in (limits.min, limits.max)]
        raise PackageError(
            f"{opened.folder}/manifest.yaml: with this picture.mean and std the model tells only {levels} of a pixel's"
            f" 256 values apart; it takes real values from {ends[0]:.4g} to {ends[1]:.4g}"
        )
