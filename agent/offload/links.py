"""To a peer and back: one inference of one model, by whatever link leads there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple, Protocol

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.open_inference.release import Recipient, Released, opened
from agent.open_inference.server import Server
from agent.open_inference.tensors import MessageError


class Model(NamedTuple):
    """What both boxes have. checksum: of the model's files."""

    checksum: str
    input: Tensor
    outputs: Sequence[Tensor]


class Link(Protocol):
    """Raises Away, Refusal, MessageError; no call outlives its deadline (CLOCK_MONOTONIC ns)."""

    recipient: Recipient

    def infer(self, model: Model, released: Released, deadline: int) -> list[Array]: ...


class HttpLink:
    """The Open Inference Protocol, to a box whose `offload.serve` is on."""

    def __init__(self, server: Server) -> None:
        """Raises OSError, ssl.SSLError."""
        from agent.open_inference.http_client import Client  # HTTP and TLS, which a box without peers is spared

        self.recipient = server.recipient
        self._client = Client(server)

    def infer(self, model: Model, released: Released, deadline: int) -> list[Array]:
        names = wire_names(model.outputs, "output")
        (given,) = wire_names([model.input], "input")
        answer = self._client.infer(model.checksum, "", given, released, names, deadline)
        return [_checked(answer.get(name), tensor) for name, tensor in zip(names, model.outputs)]


# checksum, bytes of the input, its shape, its type in NumPy's words, deadline -> bytes of all outputs in their order
Infer = Callable[[str, bytes, Sequence[int], str, int], bytes]


class BytesLink:
    """For a link that carries bytes, such as the site's; the other end is `served.Served.infer`."""

    def __init__(self, recipient: Recipient, infer: Infer) -> None:
        self.recipient = recipient
        self._infer = infer

    def infer(self, model: Model, released: Released, deadline: int) -> list[Array]:
        array = opened(released, self.recipient)
        return split(
            self._infer(model.checksum, array.tobytes(), array.shape, array.dtype.str, deadline), model.outputs
        )


def wire_names(tensors: Sequence[Tensor], kind: str) -> list[str]:
    """A name of its own for each: not every file has one. Of the same file they are the same everywhere."""
    names = [tensor.name if tensor.name.isprintable() else "" for tensor in tensors]
    return [
        name if name and names.count(name) == 1 and len(name) <= 256 else f"{kind}_{index}"
        for index, name in enumerate(names)
    ]


def join(outputs: Sequence[Array]) -> bytes:
    return b"".join(np.ascontiguousarray(output).tobytes() for output in outputs)


def split(data: bytes, tensors: Sequence[Tensor]) -> list[Array]:
    """The other way round. Raises MessageError."""
    sizes = [prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in tensors]
    if sum(sizes) != len(data):
        raise MessageError(f"{len(data)} bytes of outputs, not {sum(sizes)}")
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return [
        np.frombuffer(data, tensor.dtype, prod(tensor.shape), start).reshape(tensor.shape)
        for tensor, start in zip(tensors, starts)
    ]


def _checked(values: Array | None, tensor: Tensor) -> Array:
    if values is None or values.dtype != np.dtype(tensor.dtype) or values.shape != tensor.shape:
        raise MessageError(f"output {tensor} is missing, or is another one")
    return values
