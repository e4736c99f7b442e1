"""A model that a server of the Open Inference Protocol (KServe v2) runs: Triton, MLServer, OpenVINO, another reflexd.

The model file is YAML, the fields of `Parameters`: agent/offload/README.md. It states input and outputs as a local
model's file does, so that a box starts while its server is away; the server's metadata must be the same.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from agent.backends import base
from agent.backends.base import AS_IT_IS, INSTALL, EngineError, Tensor, TensorSpec
from agent.data import Array
from agent.open_inference import server as servers
from agent.open_inference.client import Client, connect
from agent.open_inference.release import NOBODY, NotReleased, OwnInputs, Release
from agent.open_inference.server import Away, Refusal, Server
from agent.open_inference.tensors import DTYPES, MAX_AXES, NAMES, Described, MessageError
from agent.section import Section
from agent.yamlfile import NAME

OWN_INPUTS = OwnInputs()


class Stated(Section):
    """A tensor, as the server's metadata names it."""

    name: str = Field(min_length=1, max_length=256)
    datatype: str = Field(description="of the protocol: FP32, INT8, ...")
    shape: list[int] = Field(max_length=MAX_AXES, description="with a batch of 1 where the server's is open (-1)")
    scale: float = Field(0.0, ge=0, description="real value = (stored - zero_point) * scale; 0: not quantised")
    zero_point: int = 0

    @field_validator("datatype")
    @classmethod
    def _known(cls, datatype: str) -> str:
        if datatype not in DTYPES:
            raise ValueError(f"expected one of {', '.join(DTYPES)}")
        return datatype

    @field_validator("shape")
    @classmethod
    def _sized(cls, shape: list[int]) -> list[int]:
        if any(size < 1 for size in shape):
            raise ValueError("expected sizes of at least 1")
        return shape

    @property
    def tensor(self) -> Tensor:
        return Tensor(self.name, tuple(self.shape), DTYPES[self.datatype], self.scale, self.zero_point)


class Parameters(Section):
    """Which server, which of its models, and for how long a sample waits."""

    server: str = Field(pattern=NAME, description="its name, which the lane's `release` must have")
    url: str = Field(description="http://, https://, grpc:// or grpcs://, then HOST:PORT")
    model: str = Field(min_length=1, max_length=256, description="its name there")
    version: str = Field("", max_length=64, description="of the model there; default: the server's choice")
    input: Stated
    outputs: list[Stated] = Field(min_length=1, max_length=64)
    ca: Path | None = Field(None, description="certificates that are trusted, beside this file; default: the system's")
    token_file: Path | None = Field(None, description="with a token for the server, beside this file")
    timeout_ms: float = Field(1000.0, ge=1, le=60_000, description="of one inference, connecting included")


class Engine(base.Engine):
    """As a local one: its outputs are checked, and a server that is away is a fault of the model, tried again."""

    sends_input = True

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        if provider:
            raise EngineError(f"backend remote has no provider '{provider}': the server chooses where it runs")
        p = self.parameters = base.load_parameters(path, Parameters)
        self.server = server_of(p, path.parent)
        self.inputs = [base.check_bytes(p.input.tensor)]
        names = base.choose([[output.name] for output in p.outputs], spec.outputs)
        self.outputs = [base.check_bytes(p.outputs[index].tensor) for index in names]
        self._array = np.zeros(self.inputs[0].shape, self.inputs[0].dtype)
        self._results = [np.zeros(tensor.shape, tensor.dtype) for tensor in self.outputs]
        self._release: Release = NOBODY
        self._checked = False
        self._client = _connected(self.server)
        self._look()

    def _look(self) -> None:
        """At the server's metadata; one that is away is asked before the next inference. Raises EngineError."""
        try:
            with self._errors():
                self._check(self._deadline())
        except base.EngineAway as error:
            self.away = str(error)

    def permit(self, release: Release) -> None:
        self._release = release

    @contextmanager
    def own_inputs(self) -> Iterator[None]:
        before, self._release = self._release, OWN_INPUTS
        try:
            yield
        finally:
            self._release = before

    def input(self, index: int) -> Array:
        return self._array

    def output(self, index: int) -> Array:
        return self._results[index]

    def invoke(self) -> None:
        deadline, p = self._deadline(), self.parameters
        with self._errors():
            released = self._release.give(self._array, self.server.recipient)
            if not self._checked:
                self._check(deadline)
            names = [tensor.name for tensor in self.outputs]
            answer = self._client.infer(p.model, p.version, p.input.name, released, names, deadline)
            self._results = [_fitting(answer, tensor) for tensor in self.outputs]

    def _deadline(self) -> int:
        return time.monotonic_ns() + int(self.parameters.timeout_ms * 1e6)

    def _check(self, deadline: int) -> None:
        """The server's model takes and gives what the file states. Raises Away, Refusal, MessageError."""
        p = self.parameters
        info = self._client.model(p.model, p.version, deadline)
        if len(info.inputs) != 1:
            raise Refusal(f"has a model '{p.model}' with {len(info.inputs)} inputs, a lane fills one")
        for kind, stated, there in (("input", [p.input], info.inputs), ("output", p.outputs, info.outputs)):
            for each in stated:
                _check_same(kind, each, there)
        self._checked, self.away = True, ""

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """As those of an engine, with the server's name."""
        try:
            yield
        except Away as error:
            self._checked = False  # another version may come back
            raise base.EngineAway(f"server {self.server} {error}") from error
        except (Refusal, MessageError) as error:
            self._checked = False
            verb = "sends no valid answer: " if isinstance(error, MessageError) else ""
            raise EngineError(f"server {self.server} {verb}{error}") from error
        except NotReleased as error:
            raise EngineError(str(error)) from error


def server_of(parameters: Parameters, folder: Path) -> Server:
    """folder: of the package. Raises EngineError."""
    p = parameters
    try:
        token = servers.read_token(folder / p.token_file) if p.token_file else ""
        return servers.parse(p.server, p.url, folder / p.ca if p.ca else None, token)
    except ValueError as error:
        raise EngineError(f"server '{p.server}': {error}") from error
    except OSError as error:
        raise EngineError(f"server '{p.server}': token_file {error.filename}: {error.strerror}") from error


def _connected(server: Server) -> Client:
    """Raises EngineError."""
    try:
        return connect(server)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"{server.scheme}:// needs the Python package '{error.name}': {INSTALL['tritonclient']}"
        ) from error
    except ssl.SSLError as error:
        raise EngineError(
            f"server {server}: {server.ca or server.certificate}: no certificate: {error.reason}"
        ) from error
    except OSError as error:
        raise EngineError(f"server {server}: {server.ca or server.certificate}: {error.strerror}") from error


def _check_same(kind: str, stated: Stated, there: Sequence[Described]) -> None:
    """Raises Refusal."""
    known = ", ".join(map(str, there)) or "none"
    tensor = next((each for each in there if each.name == stated.name), None)
    if tensor is None:
        raise Refusal(f"has a model without {kind} '{stated.name}': {known}")
    sizes_fit = len(tensor.shape) == len(stated.shape) and all(
        size < 1 or size == expected for size, expected in zip(tensor.shape, stated.shape)
    )
    if tensor.dtype != DTYPES[stated.datatype] or not sizes_fit:
        raise Refusal(f"has a model with {kind} {tensor}, not {stated.datatype} {stated.shape}")


def _fitting(answer: dict[str, Array], tensor: Tensor) -> Array:
    """Its values; their shape is checked as that of every engine's outputs. Raises MessageError."""
    values = answer.get(tensor.name)
    if values is None:
        raise MessageError(f"output '{tensor.name}' is missing")
    if values.dtype != np.dtype(tensor.dtype):
        raise MessageError(f"output '{tensor.name}' is {NAMES.get(values.dtype, values.dtype)}")
    return values
