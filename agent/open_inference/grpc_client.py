"""The Open Inference Protocol over gRPC, by tritonclient (extra `remote`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from agent.data import Array
from agent.open_inference import messages
from agent.open_inference.release import Released, opened
from agent.open_inference.server import Away, Refusal, Server
from agent.open_inference.tensors import MAX_TENSOR_BYTES, NAMES, MessageError, ModelInfo, described

CHANNEL = [
    ("grpc.max_send_message_length", MAX_TENSOR_BYTES + 65_536),
    ("grpc.max_receive_message_length", MAX_TENSOR_BYTES + 65_536),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment would see the input
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
]
AWAY = {
    "StatusCode.DEADLINE_EXCEEDED": "does not answer in time",
    "StatusCode.UNAVAILABLE": "cannot be reached, or its certificate is not trusted",
    "StatusCode.CANCELLED": "ended the call",
}


class Client:
    """Of one server."""

    def __init__(self, server: Server) -> None:
        """Raises OSError."""
        self._server = server
        self._client = triton.InferenceServerClient(
            server.authority,
            ssl=server.encrypted,
            root_certificates=str(server.ca) if server.ca else None,
            private_key=str(server.key) if server.key else None,
            certificate_chain=str(server.certificate) if server.certificate else None,
            channel_args=CHANNEL,
        )
        self._headers = {"authorization": f"Bearer {server.token}"} if server.token else {}

    def model(self, name: str, version: str, deadline: int) -> ModelInfo:
        """A model's metadata. deadline: CLOCK_MONOTONIC ns. Raises Away, Refusal, MessageError."""
        with self._errors():
            raw = self._client.get_model_metadata(
                name, version, headers=self._headers, client_timeout=_left_s(deadline)
            )
        return ModelInfo(*([described(_plain(each)) for each in tensors] for tensors in (raw.inputs, raw.outputs)))

    def infer(
        self, name: str, version: str, tensor: str, released: Released, outputs: Sequence[str], deadline: int
    ) -> dict[str, Array]:
        """tensor: the input's name. Raises Away, Refusal, MessageError; TypeError for what is not released to it."""
        array = opened(released, self._server.recipient)
        given = triton.InferInput(tensor, list(array.shape), NAMES[array.dtype.newbyteorder("<")])
        given.set_data_from_numpy(np.ascontiguousarray(array))
        with self._errors():
            result = self._client.infer(
                name,
                [given],
                model_version=version,
                outputs=[triton.InferRequestedOutput(output) for output in outputs],
                headers=self._headers,
                timeout=messages.timeout_us(deadline),
                client_timeout=_left_s(deadline),
            )
        return {output: _values(result, output) for output in outputs}

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except InferenceServerException as error:
            status = str(error.status())
            if status in AWAY:
                raise Away(AWAY[status]) from error
            text = "".join(letter for letter in str(error.message())[:160] if letter.isprintable())
            raise Refusal(f"answers with {status}: {text.replace(self._server.token or chr(0), '***')}") from error


def _plain(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [int(size) for size in tensor.shape]}


def _values(result: Any, output: str) -> Array:
    try:
        values = result.as_numpy(output)
    except Exception as error:  # what NumPy raises for bytes that do not fit the shape
        raise MessageError(f"output '{output}' has other bytes than its shape") from error
    if not isinstance(values, np.ndarray):
        raise MessageError(f"output '{output}' is missing")
    return values


def _left_s(deadline: int) -> float:
    """Raises Away."""
    left = deadline - time.monotonic_ns()
    if left <= 0:
        raise Away("does not answer in time")
    return left / 1e9
