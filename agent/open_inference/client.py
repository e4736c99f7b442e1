"""A client of the Open Inference Protocol, by the scheme of the server's address."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from agent.data import Array
from agent.open_inference.release import Released
from agent.open_inference.server import Server
from agent.open_inference.tensors import ModelInfo


class Client(Protocol):
    """deadline: CLOCK_MONOTONIC ns; no call outlives it. Both raise Away, Refusal, MessageError."""

    def model(self, name: str, version: str, deadline: int) -> ModelInfo: ...

    def infer(
        self, name: str, version: str, tensor: str, released: Released, outputs: Sequence[str], deadline: int
    ) -> dict[str, Array]: ...

    def close(self) -> None: ...


def connect(server: Server) -> Client:
    """Raises OSError, ssl.SSLError for certificates; ModuleNotFoundError where gRPC's library is not installed."""
    kind = "grpc" if server.scheme.startswith("grpc") else "http"
    module: Any = importlib.import_module(f"agent.open_inference.{kind}_client")
    client: Client = module.Client(server)
    return client
