"""The contract of a decoder: output tensors in, findings out. One file per output format."""

from __future__ import annotations

import importlib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import ValidationError

from agent.backends.base import Tensor
from agent.data import Array, Box
from agent.section import Section

MAX_PROBABILITY = 1.05  # quantised outputs go a little beyond 1; logits do not stop there
# What computing with shapes of any model may raise
UNFIT = (LookupError, ValueError, TypeError, ArithmeticError, MemoryError)


class Finding(NamedTuple):
    """Evidence before the lane adds its name and the time. score: 0..1; mark: as in Evidence.

    keypoints: of this person, float32 [17, 3]: y, x, score; in shares, as the box.
    """

    label: str
    score: float
    box: Box | None = None
    mark: str = ""
    keypoints: Array | None = None


class DecoderOptions(Section):
    """The `options` of a manifest; a decoder adds its own."""


class DecoderError(Exception):
    """The model's outputs are not what the decoder needs."""


class Decoder(ABC):
    """Made once per lane; called once per inference with float32 outputs in the model's order."""

    Options: ClassVar[type[DecoderOptions]] = DecoderOptions
    NEEDS: ClassVar[str] = ""  # the outputs that it reads, for messages
    # float32 [17, 3] of the newest inference: y, x, score; for a second model. None where a network has none.
    # [n, 17, 3] where it finds several persons: of each finding, which has them too.
    keypoints: Array | None = None
    # Which axis of each output may have another size in each inference, where the model does not fix it: of detections
    varying_axis: ClassVar[int | None] = None
    # It gets the outputs as the model stores them, in place of real values: where most of many values do not matter.
    reads_stored: ClassVar[bool] = False
    # How the model stores its outputs; empty where they are real values.
    tensors: Sequence[Tensor] = ()
    # Of a backbone: it finds nothing, its outputs are for the heads of the lane.
    is_backbone: ClassVar[bool] = False
    # It gets what `compare` makes of the input and the outputs, in place of these (packages/comparison.py).
    reads_input: ClassVar[bool] = False

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        """shapes: of the outputs. Raises DecoderError when they do not fit this decoder."""
        self.labels = list(labels)
        self.options = options
        self.shapes = list(shapes)

    @abstractmethod
    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        """Findings of one inference, of any numbers, NaN included. Raises DecoderError where they contradict each other
        or the format: a score that is no probability.
        """

    @classmethod
    def finds_keypoints(cls, options: Mapping[str, Any]) -> bool:
        """With these options of a manifest it has `keypoints`."""
        return False

    def compare(self, given: Array, outputs: Sequence[Array]) -> Array:
        """Of a decoder that reads_input: what it gets, and what is recorded; float32, always of the same shape.

        given, outputs: the input and the outputs as real values. Raises DecoderError where their shapes do not fit.
        """
        raise NotImplementedError

    def scores(self, outputs: Sequence[Array]) -> Array | None:
        """The values that must be probabilities, of any shape; None where there are none."""
        return None

    def mistake(self, outputs: Sequence[Array]) -> str:
        """Why these outputs cannot be of this format; empty where they can. For `model verify`, not for a lane."""
        scores = self.scores(outputs)
        return not_probabilities(scores) if scores is not None else ""


def probability(score: float) -> float:
    """The score, at most 1. Raises DecoderError where it is no probability."""
    if score > MAX_PROBABILITY:
        raise DecoderError(f"a score of {score:g} is no probability")
    return min(score, 1.0)


def not_probabilities(scores: Array) -> str:
    """The range of the scores where they are none; empty where all may be."""
    if not scores.size or (scores.min() >= 1 - MAX_PROBABILITY and scores.max() <= MAX_PROBABILITY):
        return ""
    return f"its scores are from {scores.min():.4g} to {scores.max():.4g}, which are no probabilities"


def members(group: str, names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """The numbers of a group's labels. Raises DecoderError."""
    if not names:
        raise DecoderError(f"options.groups.{group}: name at least one label of the model")
    for name in names:
        if name not in labels:
            close = get_close_matches(name, labels, 1, 0.5)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise DecoderError(f"options.groups.{group}: the model has no label '{name}'{hint}")
    return [labels.index(name) for name in names]


def softmax(values: Array) -> Array:
    """Of the last axis. NaN where undefined."""
    with np.errstate(invalid="ignore"):  # infinity less infinity
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(values: Array) -> Array:
    with np.errstate(over="ignore"):
        result: Array = 1.0 / (1.0 + np.exp(-values))
    return result


def require_window(shape: tuple[int, ...], rows: float, width: int, need: str) -> None:
    """Raises DecoderError unless `shape` is that of a window [1, rows or more, width]; need: starts the message."""
    if len(shape) != 3 or shape[1] < rows or shape[2] != width:
        raise DecoderError(f"{need}, [1, {rows:g} or more, {width}]; it gets {list(shape)}")


def make(name: str, labels: Sequence[str], options: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> Decoder:
    """The decoder of agent/decoders/<name>.py. Raises DecoderError, pydantic.ValidationError."""
    decoder: type[Decoder] = load(name).Decoder
    try:
        return decoder(labels, decoder.Options.model_validate(options), shapes)
    except ValidationError:
        raise
    except UNFIT as error:
        raise DecoderError(f"{name} needs {decoder.NEEDS}; the model gives {list(shapes)}") from error


def load(name: str) -> ModuleType:
    """The module agent/decoders/<name>.py, or anybody's by its dotted path. Raises DecoderError."""
    module = _module(name)
    if module is None:
        raise DecoderError(f"no decoder '{name}'; there is {', '.join(names())}, or the dotted path of one's own")
    return module


def _module(name: str) -> ModuleType | None:
    path = name if "." in name.lstrip(".") else f"agent.decoders.{name}"
    try:
        module = importlib.import_module(path)
    except (ModuleNotFoundError, ValueError, TypeError) as error:  # a name that cannot be one of a file
        missing = getattr(error, "name", None) or path
        if not path.startswith(missing):
            raise DecoderError(f"decoder '{name}' needs the Python package '{missing}'") from error
        return None
    except (ImportError, SyntaxError) as error:
        raise DecoderError(f"decoder '{name}' cannot be loaded: {error}") from error
    kind = getattr(module, "Decoder", Decoder)
    return module if isinstance(kind, type) and issubclass(kind, Decoder) and not inspect.isabstract(kind) else None


def names() -> list[str]:
    """Of all decoders."""
    files = (path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return sorted(name for name in files if _module(name))


def nearest(shapes: Sequence[tuple[int, ...]], count: int = 3) -> str:
    """The decoders whose outputs resemble these most, and what they read, for messages."""
    needs = {name: load(name).Decoder.NEEDS for name in names()}
    of_networks = [name for name in needs if "backend signal" not in needs[name]]
    chosen = sorted(of_networks, key=lambda name: _distance(needs[name], shapes))[:count]
    return "; ".join(f"{name}: {needs[name]}" for name in chosen)


def _distance(need: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """How many outputs, dimensions and sizes differ, the first weighing most. need: as NEEDS."""
    wanted = [text.split(", ") for text in re.findall(r"\[([^\]]*)\]", need)]
    dimensions = sum(abs(len(want) - len(shape)) for want, shape in zip(wanted, shapes))
    sizes = sum(
        (1 if int(size) != real else -1) if size.isdigit() else 0
        for want, shape in zip(wanted, shapes)
        for size, real in zip(reversed(want), reversed(shape))
    )
    return 100 * abs(len(wanted) - len(shapes)) + 10 * dimensions + sizes
