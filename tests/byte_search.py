"""Search any bytes, and what is packed in them, for pictures, sound and tensors."""

from __future__ import annotations

import base64
import binascii
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.recorder import recording

RUN, STEP = 16, 8  # bytes that are compared, and how far apart in the input: no run of 24 bytes of it goes unnoticed
MIXED, UPPER = np.uint64(0x9E3779B97F4A7C15), np.uint64(38)


def marks(data: bytes, step: int) -> Array:
    """uint64: one for each run of bytes that begins at a multiple of step."""
    count = len(data) - RUN + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    first, second = (np.ndarray((count,), "<u8", data, at, (1,))[::step] for at in (0, RUN // 2))
    mixed: Array = (first * MIXED ^ second) * MIXED
    return mixed


class Inputs:
    """What must not leave: marks of pixels, sound and tensors, each by its kind."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Array]] = {}

    def add(self, kind: str, values: Array) -> None:
        """Runs of few different bytes are left out: a wall of one colour is in any file of zeros."""
        data = np.ascontiguousarray(values).tobytes()
        runs = np.ndarray((max(0, (len(data) - RUN) // STEP + 1), RUN), np.uint8, data, 0, (STEP, 1))
        varied = (np.diff(np.sort(runs, axis=1), axis=1) != 0).sum(axis=1) >= 6
        self.parts.setdefault(kind, []).append(marks(data, STEP)[varied])

    def marks(self) -> dict[str, Array]:
        joined = {kind: np.unique(np.concatenate(parts)) for kind, parts in self.parts.items()}
        assert all(len(values) > 1000 for values in joined.values()), "too little to be recognised by"
        return joined


def search(inputs: dict[str, Array], outputs: dict[str, bytes]) -> dict[str, set[str]]:
    """Kinds of input, each with the names of the outputs that contain some of it."""
    places: dict[str, set[str]] = {}
    likely = np.zeros(1 << 26, bool)  # by the upper bits, so that hardly any mark needs the binary search
    for wanted in inputs.values():
        likely[wanted >> UPPER] = True
    for name, data in outputs.items():
        present = marks(data, 1)
        present = np.unique(present[likely[present >> UPPER]])
        for kind, wanted in inputs.items():
            at = np.minimum(np.searchsorted(wanted, present), len(wanted) - 1)
            if np.any(wanted[at] == present):
                places.setdefault(kind, set()).add(name)
    return places


def opened(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and the content packed in it: archives, recordings, JSON, base64, numbers written out."""
    yield name, data
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member)
                yield from opened(f"{name}/{member.name}", file.read() if file else b"")
    if name.endswith(".mcap"):
        contents = recording.read(Path(name), io.BytesIO(data))
        for number, entry in enumerate([contents.header, *(message for _, message in contents.messages)]):
            yield f"{name}#{number}", b"\n".join([json.dumps(entry).encode(), *unwrapped(entry)])
    if name.endswith(".json"):
        yield f"{name}#", b"\n".join(unwrapped(json.loads(data)))


def unwrapped(entry: Any) -> Iterator[bytes]:
    """Texts decoded from base64, and lists of numbers as bytes, as float32 and as 16 bit."""
    if isinstance(entry, str) and len(entry) >= RUN:
        with suppress(binascii.Error, ValueError):
            yield base64.b64decode(entry, validate=True)
    elif isinstance(entry, dict):
        for value in entry.values():
            yield from unwrapped(value)
    elif isinstance(entry, list) and entry and all(type(value) in (int, float) for value in entry):
        values = np.array(entry, np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            yield from (values.astype(kind).tobytes() for kind in ("<f4", "u1", "i1", "<i2"))
    elif isinstance(entry, list):
        for value in entry:
            yield from unwrapped(value)
