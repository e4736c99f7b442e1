"""Messages of the Open Inference Protocol (KServe v2) over HTTP, both ends, with its binary tensor extension.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol: a JSON object; with the extension
the tensors' bytes follow it, little-endian, in the order of the tensors, and a header says where they begin.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from agent.open_inference.tensors import (
    MAX_NAME,
    MAX_TENSORS,
    NAMES,
    MessageError,
    ModelInfo,
    described,
    json_object,
    mapping,
    name_of,
    values_of,
)

HEADER = "Inference-Header-Content-Length"
BINARY = "binary_tensor_data"  # the extension's name in a server's metadata
MAX_JSON = 1 << 20  # bytes before binary tensors
MAX_TIMEOUT_US = 60_000_000


class Message(NamedTuple):
    """header: bytes of JSON before binary tensors; None: there are none."""

    body: bytes
    header: int | None


class Request(NamedTuple):
    """outputs: name -> as binary; empty: all, as `binary` says. timeout_us: 0: the caller states none."""

    inputs: dict[str, Array]
    outputs: dict[str, bool]
    binary: bool
    id: str
    timeout_us: int


def write_request(
    inputs: Mapping[str, Array], outputs: Sequence[str], binary: bool, timeout_us: int = 0, id: str = ""
) -> Message:
    """binary: as the server's metadata allows."""
    wanted = [{"name": name, **({"parameters": {"binary_data": True}} if binary else {})} for name in outputs]
    head: dict[str, Any] = {"id": id} if id else {}
    if timeout_us:
        head["parameters"] = {"timeout": timeout_us}  # microseconds, as Triton's servers read it
    return _written({**head, "outputs": wanted}, "inputs", [(name, array, binary) for name, array in inputs.items()])


def timeout_us(deadline: int) -> int:
    """What is left, as a request states it: the clocks of two boxes differ. deadline: CLOCK_MONOTONIC ns."""
    return min(max((deadline - time.monotonic_ns()) // 1000, 1), MAX_TIMEOUT_US)


def write_answer(model: str, version: str, id: str, outputs: Sequence[tuple[str, Array, bool]]) -> Message:
    """outputs: name, values, as binary."""
    head = {"model_name": model, "model_version": version, **({"id": id} if id else {})}
    return _written(head, "outputs", outputs)


def _written(head: dict[str, Any], key: str, tensors: Sequence[tuple[str, Array, bool]]) -> Message:
    parts, entries = [], []
    for name, array, binary in tensors:
        dtype = array.dtype.newbyteorder("<")
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": NAMES[dtype]}
        if binary:
            parts.append(np.ascontiguousarray(array, dtype).tobytes())
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = array.ravel().tolist()
        entries.append(entry)
    text = json.dumps({**head, key: entries}).encode()
    return Message(b"".join([text, *parts]), len(text) if parts else None)


def read_request(body: bytes, header: str | None) -> Request:
    """header: of HTTP, where it has one. Raises MessageError."""
    content, inputs = _read(body, header, "inputs")
    parameters = mapping(content, "parameters")
    binary = parameters.get("binary_data_output") is True
    outputs = {
        name_of(entry): mapping(entry, "parameters").get("binary_data", binary) is True
        for entry in _entries(content, "outputs", required=False)
    }
    timeout_us = parameters.get("timeout", 0)
    if type(timeout_us) is not int or not 0 <= timeout_us <= MAX_TIMEOUT_US:
        raise MessageError(f"'timeout' is not 0 to {MAX_TIMEOUT_US} microseconds")
    identity = content.get("id", "")
    return Request(inputs, outputs, binary, identity[:MAX_NAME] if isinstance(identity, str) else "", timeout_us)


def read_answer(body: bytes, header: str | None) -> dict[str, Array]:
    """Outputs by their names. Raises MessageError."""
    return _read(body, header, "outputs")[1]


def read_model(body: bytes) -> ModelInfo:
    """A model's metadata. Raises MessageError."""
    content = json_object(body)
    return ModelInfo(*([described(entry) for entry in _entries(content, key)] for key in ("inputs", "outputs")))


def has_binary(body: bytes) -> bool:
    """In a server's metadata. Raises MessageError."""
    extensions = json_object(body).get("extensions")
    return isinstance(extensions, list) and BINARY in extensions


def error_text(body: bytes) -> str:
    """What a server says in an answer that is none; empty where it says nothing that can be shown."""
    try:
        text = json_object(body[:MAX_JSON]).get("error", "")
    except MessageError:
        return ""
    return "".join(letter for letter in str(text)[:160] if letter.isprintable())


def _read(body: bytes, header: str | None, key: str) -> tuple[dict[str, Any], dict[str, Array]]:
    length = len(body)
    if header is not None:
        if not header.isascii() or not header.isdecimal() or len(header) > 9 or int(header) > min(length, MAX_JSON):
            raise MessageError(f"{HEADER} is not the length of the JSON part, at most {MAX_JSON} bytes")
        length = int(header)
    content = json_object(body[:length])
    entries = _entries(content, key)
    tensors: dict[str, Array] = {}
    for entry, data in _parts(entries, memoryview(body)[length:]):
        tensor = described(entry)
        if tensor.name in tensors:
            raise MessageError(f"tensor '{tensor.name}' is there twice")
        tensors[tensor.name] = values_of(tensor, entry, data)
    return content, tensors


def _parts(entries: Sequence[dict[str, Any]], binary: memoryview) -> Iterator[tuple[dict[str, Any], memoryview | None]]:
    """Each tensor with its binary data; None: its data is in the JSON part."""
    start = 0
    for entry in entries:
        size = mapping(entry, "parameters").get("binary_data_size")
        if size is None:
            yield entry, None
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise MessageError("'binary_data_size' is not within the message")
        yield entry, binary[start : start + size]
        start += size
    if start != len(binary):
        raise MessageError(f"{len(binary) - start} bytes behind the tensors")


def _entries(content: Mapping[str, Any], key: str, required: bool = True) -> list[dict[str, Any]]:
    entries = content.get(key, ... if required else [])
    if not isinstance(entries, list) or len(entries) > MAX_TENSORS or required and not entries:
        raise MessageError(f"'{key}' is no list of 1 to {MAX_TENSORS} tensors")
    if not all(isinstance(entry, dict) for entry in entries):
        raise MessageError(f"'{key}' has an entry that is no tensor")
    return entries
