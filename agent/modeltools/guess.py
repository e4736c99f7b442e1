"""What a foreign model reads and how its outputs are read, from names, shapes and values; never a guess in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from agent.backends.base import Engine, EngineError, Tensor
from agent.data import Array
from agent.decoders import base as decoders
from agent.errors import PackageError
from agent.packages.input_check import MIN_SIDE

SOUND_HZ, MIN_SOUND = 16_000, 4_000  # the usual rate of sound models; a shorter input is no sound
FEATURES = re.compile(r"mfcc|fbank|spec(tr|$|_)|mel(_|$|spec)|(^|_)(audio|wav|sound|speech)|fingerprint", re.IGNORECASE)
# Real values of pixels: 0..1, -1..1, by mean and standard deviation of ImageNet; or 0..255
NORMALISED, PLAIN = 8.0, (200.0, 300.0)
COCO_CLASSES = 91  # with the numbers that have no object
SPECTRA = "write a manifest with sound: features: see models/README.md"
MAX_LABELS = 10_000
MAX_UNNAMED = 1_100  # ImageNet has 1,000 or 1,001 classes
TRIALS = 12  # random inputs that tell class numbers from scores
CLASS, SCORE = re.compile("class|label|categor", re.IGNORECASE), re.compile("score|conf|prob", re.IGNORECASE)


def input_section(tensor: Tensor, is_picture: bool) -> tuple[str, str]:
    """The manifest's line for what fills the input, and the same in words. Raises EngineError.

    is_picture: the user says so.
    """
    shape = tensor.shape
    name = f"{tensor.name} {tensor.signature}"
    if len(shape) in (1, 2) and max(shape) == np.prod(shape) >= MIN_SOUND:
        seconds = f"{max(shape) / SOUND_HZ:g} s of sound at {SOUND_HZ} Hz"
        return f"sound: {{rate_hz: {SOUND_HZ}, length: {max(shape)}, hop: {SOUND_HZ // 10}}}", seconds
    if len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3)):
        return _picture(tensor, is_picture)
    if len(shape) == 3 and not is_picture and not FEATURES.search(name):
        return _window(shape), f"windows of {shape[1]} readings of {shape[2]} channels"
    raise EngineError(
        f"the input {tensor} is neither a picture [1, height, width, 1 or 3], nor a window of readings [1, length,"
        f" channels], nor sound [1, {MIN_SOUND} or more]; spectra of sound: {SPECTRA}"
    )


def _picture(tensor: Tensor, is_picture: bool) -> tuple[str, str]:
    channels = tensor.shape[1 if tensor.planar else 3]
    height, width = tensor.sides
    doubt = _picture_doubt(tensor, height, width, channels)
    if min(height, width) < MIN_SIDE or (doubt and not is_picture):
        raise EngineError(
            f"the input {tensor} looks like features of sound or readings, which the file does not describe"
            f" ({doubt or f'below {MIN_SIDE} pixels'}); if it is a picture of {MIN_SIDE} pixels or more, add --picture;"
            f" if spectra, {SPECTRA}"
        )
    colour = "grey" if channels == 1 else "rgb"
    mean, std = pixel_scale(tensor)
    line = f"picture: {{colour: {colour}, mean: {mean:g}, std: {std:g}, fit: stretch}}"
    return line, f"pictures of {width} x {height} pixels, {colour}"


def _picture_doubt(tensor: Tensor, height: int, width: int, channels: int) -> str:
    low, high = _real_limits(tensor)
    span = high - low
    if FEATURES.search(f"{tensor.name} {tensor.signature}"):
        return "its name"
    if channels == 1 and height != width:
        return f"one channel of {height} x {width}"
    if tensor.scale and not (span <= NORMALISED or PLAIN[0] <= span <= PLAIN[1]):
        return f"real values from {low:.4g} to {high:.4g}"
    return ""


def _real_limits(tensor: Tensor) -> tuple[float, float]:
    kind = np.dtype(tensor.dtype)
    if not tensor.scale or kind.kind not in "iu":
        return 0.0, 1.0
    limits = np.iinfo(kind)
    return (limits.min - tensor.zero_point) * tensor.scale, (limits.max - tensor.zero_point) * tensor.scale


def _window(shape: Sequence[int]) -> str:
    count = shape[2]
    names = ", ".join(f"c{number}" for number in range(count))
    means, stds = ", ".join(["0.0"] * count), ", ".join(["1.0"] * count)
    return f"window: {{channels: [{names}], length: {shape[1]}, hop: 1, mean: [{means}], std: [{stds}]}}"


def pixel_scale(tensor: Tensor) -> tuple[float, float]:
    """Mean and std that store a pixel 0..255 as the full range of the type."""
    kind = np.dtype(tensor.dtype)
    if kind == np.uint8 and tensor.scale:
        return float(tensor.zero_point), 1.0 / tensor.scale
    if kind == np.int8 and tensor.scale:
        return float(tensor.zero_point + 128), 1.0 / tensor.scale
    return (0.0, 255.0) if kind.kind == "f" else (0.0, 1.0)


def decoder_of(engine: Engine, asked: str) -> tuple[str, list[str]]:
    """The decoder's name, and the outputs in its order where the file has another. Raises PackageError, EngineError."""
    outputs = engine.outputs
    shapes = [tensor.shape for tensor in outputs]
    parts = _detection_parts(outputs)
    if parts and asked in ("", "ssd"):
        order = _detection_order(engine, parts)
        return "ssd", [] if order == [0, 1, 2, 3] else [outputs[index].name for index in order]
    if asked:
        return asked, []
    if len(shapes) == 1 and shapes[0][-2:] == (17, 3) and prod(shapes[0]) == 51:
        return "movenet", []
    if len(shapes) == 6 and all(len(shape) == 3 for shape in shapes) and shapes[0][1] == shapes[3][1]:
        return "nanodet", []
    if len(shapes) == 1 and prod(shapes[0]) in shapes[0]:
        return ("sequence" if len(engine.inputs[0].shape) == 3 else "classify"), []
    raise PackageError(
        f"no decoder fits its outputs ({', '.join(map(str, outputs))}). Nearest: {decoders.nearest(shapes)}."
        " Choose with --outputs NAME,... and --decoder NAME, or export the model with one of these"
    )


def _detection_parts(outputs: Sequence[Tensor]) -> tuple[int, list[int], int] | None:
    """Indices of boxes, of classes and scores in any order, and of the count; None for other outputs."""
    shapes = [tensor.shape for tensor in outputs]
    boxes = [n for n, shape in enumerate(shapes) if len(shape) == 3 and shape[2] == 4]
    rows = [n for n, shape in enumerate(shapes) if boxes and len(shape) == 2 and shape[1] == shapes[boxes[0]][1]]
    count = [n for n, shape in enumerate(shapes) if prod(shape) == 1 and n not in rows]
    return (boxes[0], rows, count[0]) if (len(boxes), len(rows), len(count), len(shapes)) == (1, 2, 1, 4) else None


def _detection_order(engine: Engine, parts: tuple[int, list[int], int]) -> list[int]:
    """Indices of boxes, classes, scores, count. Raises EngineError where neither values nor names decide."""
    boxes, rows, count = parts
    classes = _by_values(engine, rows)
    if classes is None:
        classes = _by_names(engine.outputs, rows)
    if classes is None:
        first, second = (f"'{engine.outputs[row].name}'" for row in rows)
        raise EngineError(
            f"{first} or {second} may be the classes, the other one the scores: name all four as --outputs"
            " BOXES,CLASSES,SCORES,COUNT"
        )
    return [boxes, classes, next(row for row in rows if row != classes), count]


def _by_values(engine: Engine, rows: Sequence[int]) -> int | None:
    """The one of two outputs whose values are whole numbers, where those of the other are not, and are shares."""
    whole, shares = dict.fromkeys(rows, True), dict.fromkeys(rows, True)
    for values in random_inputs(engine.inputs[0]):
        engine.input(0)[...] = values
        engine.invoke()
        for row in rows:
            real = engine.real(row)
            whole[row] &= bool((real == np.rint(real)).all())
            shares[row] &= bool(((real >= 0) & (real <= 1)).all())
    only = [row for row in rows if whole[row]]
    others = [row for row in rows if not whole[row] and shares[row]]
    return only[0] if len(only) == len(others) == 1 else None


def _by_names(outputs: Sequence[Tensor], rows: Sequence[int]) -> int | None:
    names = {row: f"{outputs[row].name} {outputs[row].signature}" for row in rows}
    classes = [row for row in rows if CLASS.search(names[row]) and not SCORE.search(names[row])]
    scores = [row for row in rows if SCORE.search(names[row]) and not CLASS.search(names[row])]
    if all("TFLite_Detection_PostProcess" in name for name in names.values()):
        return rows[0]  # its operator has them in this order
    return classes[0] if len(classes) == len(scores) == 1 else None


def random_inputs(tensor: Tensor) -> Iterator[Array]:
    random, kind = np.random.default_rng(0), np.dtype(tensor.dtype)
    limits = np.iinfo(kind) if kind.itemsize == 1 else None
    for _ in range(TRIALS):
        level = random.random() * random.random(tensor.shape)
        yield (limits.min + level * (limits.max - limits.min) if limits else level).astype(kind)


def check_unnamed(engine: Engine, decoder: str, labels: list[str]) -> None:
    """Raises PackageError where a decoder that nobody chose would take a picture's boxes or features for classes."""
    count = prod(engine.outputs[0].shape)
    if decoder in ("classify", "sequence") and count > MAX_UNNAMED and len(labels) != count:
        raise PackageError(
            f"its output {engine.outputs[0]} has {count:,} values without labels: boxes or features, or scores of"
            f" classes? Of scores, add --labels FILE, with a line for each, or --decoder {decoder};"
            " of boxes, name the decoder that reads them with --decoder"
        )


def labels_of(decoder: str, outputs: Sequence[Tensor], labels: list[str]) -> list[str]:
    """Those of the file where their number fits, else class-0, class-1 ..."""
    shape = outputs[0].shape if outputs else ()
    if decoder == "ssd":
        count = len(labels) or COCO_CLASSES
    elif decoder in ("classify", "sequence"):
        count = prod(shape)
    else:
        count = shape[-1] if decoder in ("nanodet", "grid") and shape else len(labels)
    return labels if len(labels) == count else numbered(count)


def numbered(count: int) -> list[str]:
    """class-0, class-1 ..."""
    return [f"class-{number}" for number in range(min(count, MAX_LABELS))]
