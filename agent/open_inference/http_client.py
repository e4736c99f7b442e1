"""The Open Inference Protocol over HTTP or HTTPS: a client without a library of its own.

The one of tritonclient runs on gevent, and its time-outs bound single reads; here all of a call ends by its deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from agent.data import Array
from agent.open_inference import messages
from agent.open_inference.connection import Answer, Connection
from agent.open_inference.messages import HEADER
from agent.open_inference.release import Released, opened
from agent.open_inference.server import Refusal, Server
from agent.open_inference.tensors import MAX_TENSOR_BYTES, ModelInfo

MAX_METADATA = 1 << 20


class Client:
    """Of one server."""

    def __init__(self, server: Server) -> None:
        """Raises OSError, ssl.SSLError."""
        self._server = server
        self._connection = Connection(server)
        self._binary: bool | None = None  # whether it has the binary extension; None: not asked yet

    def model(self, name: str, version: str, deadline: int) -> ModelInfo:
        """A model's metadata. deadline: CLOCK_MONOTONIC ns. Raises Away, Refusal, MessageError."""
        self._binary = messages.has_binary(self._get("/v2", deadline))
        return messages.read_model(self._get(_path(name, version), deadline))

    def infer(
        self, name: str, version: str, tensor: str, released: Released, outputs: Sequence[str], deadline: int
    ) -> dict[str, Array]:
        """tensor: the input's name. Raises Away, Refusal, MessageError; TypeError for what is not released to it."""
        array = opened(released, self._server.recipient)
        if self._binary is None:
            self._binary = messages.has_binary(self._get("/v2", deadline))
        message = messages.write_request({tensor: array}, outputs, self._binary, messages.timeout_us(deadline))
        headers: dict[str, object] = {"Content-Type": "application/json"}
        if message.header is not None:
            headers.update({"Content-Type": "application/octet-stream", HEADER: message.header})
        path = f"{_path(name, version)}/infer"
        answer = self._checked(
            self._connection.exchange("POST", path, headers, message.body, deadline, MAX_TENSOR_BYTES)
        )
        return messages.read_answer(answer.body, answer.headers.get(HEADER))

    def get(self, path: str, deadline: int) -> bytes:
        """A page beside the protocol's. Raises Away, Refusal."""
        return self._get(path, deadline)

    def close(self) -> None:
        self._connection.close()

    def _get(self, path: str, deadline: int) -> bytes:
        return self._checked(self._connection.exchange("GET", path, {}, b"", deadline, MAX_METADATA)).body

    def _checked(self, answer: Answer) -> Answer:
        """Raises Refusal. A redirection is none that is followed: it would lead the input elsewhere."""
        if answer.status != 200:
            text = messages.error_text(answer.body).replace(self._server.token or "\0", "***")
            raise Refusal(f"answers with status {answer.status}{f': {text}' if text else ''}")
        return answer


def _path(name: str, version: str) -> str:
    return f"/v2/models/{quote(name, '')}" + (f"/versions/{quote(version, '')}" if version else "")
