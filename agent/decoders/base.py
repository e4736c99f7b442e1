"""The contract of a decoder: output tensors in, findings out. One file per output format."""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

from agent.data import Array, Box
from agent.section import Section


class Finding(NamedTuple):
    """Evidence before the lane adds its name and the time. score: 0..1; mark: as in Evidence."""

    label: str
    score: float
    box: Box | None = None
    mark: str = ""


class DecoderOptions(Section):
    """The `options` of a manifest; a decoder adds its own."""


class DecoderError(Exception):
    """The model's outputs are not what the decoder needs."""


class Decoder(ABC):
    """Made once per lane; called once per inference with float32 outputs in the model's order."""

    Options: ClassVar[type[DecoderOptions]] = DecoderOptions
    # float32 [17, 3] of the newest inference: y, x, score; for a second model. None where a network has none.
    keypoints: Array | None = None
    # Which axis of each output may have another size in each inference, where the model does not fix it: of detections
    varying_axis: ClassVar[int | None] = None

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        """shapes: of the outputs. Raises DecoderError when they do not fit this decoder."""
        self.labels = list(labels)
        self.options = options
        self.shapes = list(shapes)

    @abstractmethod
    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        """Findings of one inference. Must accept any numbers, NaN included. Raises DecoderError for outputs that
        contradict each other.
        """


def require_window(shape: tuple[int, ...], rows: float, width: int, need: str) -> None:
    """Raises DecoderError unless `shape` is that of a window [1, rows or more, width]; need: starts the message."""
    if len(shape) != 3 or shape[1] < rows or shape[2] != width:
        raise DecoderError(f"{need}, [1, {rows:g} or more, {width}]; it gets {list(shape)}")


def make(name: str, labels: Sequence[str], options: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> Decoder:
    """The decoder of agent/decoders/<name>.py. Raises DecoderError, pydantic.ValidationError."""
    decoder: type[Decoder] = load(name).Decoder
    return decoder(labels, decoder.Options.model_validate(options), shapes)


def load(name: str) -> ModuleType:
    """The module agent/decoders/<name>.py. Raises DecoderError."""
    try:
        module = importlib.import_module(f"agent.decoders.{name}")
    except ModuleNotFoundError as error:
        raise DecoderError(f"no decoder '{name}'") from error
    if inspect.isabstract(getattr(module, "Decoder", Decoder)):
        raise DecoderError(f"no decoder '{name}'")
    return module
