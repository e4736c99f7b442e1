"""Which other files an ONNX model reads its weights from, found without loading it (onnx.proto3)."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

VARINT, FIXED64, BYTES, START, END, FIXED32 = range(6)  # how a field is stored
MAX_DEPTH = 120  # of messages in each other; protobuf, which reads the file for the engine, allows 100
MAX_FIELDS = 2_000_000  # two seconds; a model has some thousands

# Message: number of a field to the message in it, on the way to TensorProto.external_data
FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
KEY, VALUE = 1, 2  # fields of an entry


class BadModel(ValueError):
    """The bytes are no ONNX model: protobuf refuses them, too."""


class TooLarge(Exception):
    """More fields than a model for a lane has."""


def locations(path: Path) -> list[str]:
    """Paths beside the model, as the file has them, each once. Raises BadModel, TooLarge, OSError."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        left = iter(range(MAX_FIELDS))
        return list(dict.fromkeys(_locations(content, 0, len(content), "model", left, 0)))


def _locations(content: mmap.mmap, at: int, end: int, kind: str, left: Iterator[int], depth: int) -> Iterator[str]:
    """left: has an item for each field that may still be read."""
    if depth > MAX_DEPTH:
        raise BadModel(f"more than {MAX_DEPTH} levels")
    texts: dict[int, str] = {}
    for number, start, stop in _parts(content, at, end, left):
        if kind == "entry" and stop - start < 5000:
            texts[number] = content[start:stop].decode("utf-8", "surrogateescape")
        elif inner := FIELDS[kind].get(number):
            yield from _locations(content, start, stop, inner, left, depth + 1)
    if texts.get(KEY) == "location":
        yield texts.get(VALUE, "")


def _parts(content: mmap.mmap, at: int, end: int, left: Iterator[int]) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field that has a length; the others are skipped.

    What is inside an unknown group is found, too: no harm, since it only adds files that must have their sha256.
    """
    while at < end:
        if next(left, None) is None:
            raise TooLarge(f"more than {MAX_FIELDS:,} fields")
        tag, at = _varint(content, at, end)
        kind = tag & 7
        if kind == BYTES:
            length, at = _varint(content, at, end)
            if at + length > end:
                raise BadModel("a field reaches beyond its end")
            yield tag >> 3, at, at + length
            at += length
        elif kind == VARINT:
            _, at = _varint(content, at, end)
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        elif kind not in (START, END):
            raise BadModel(f"a field of kind {kind}")


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise BadModel("a number breaks off")
