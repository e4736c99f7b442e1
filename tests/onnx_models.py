"""Small ONNX models for tests, written byte by byte (onnx.proto3): the `onnx` package is no dependency."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from agent.package import digest

FLOAT, INT64, BOOL = 1, 7, 9
IR_VERSION, OPSET = 8, 13
PICTURE = (1, 3, 32, 32)
# What a model does with a bright input; it gives a score of 0.5 or more for a dark one.
FAULTS = ("nan", "inf", "shape", "exception")
BRIGHT = 0.25  # mean of the input

Node = tuple[str, Sequence[str], str, dict[str, int]]  # operator, inputs, output, attributes
Value = tuple[str, Sequence[float], Sequence[int], int]  # name, values, shape, type


def faulty(folder: Path, kind: str, shape: tuple[int, ...] = PICTURE, section: str = "") -> Path:
    """The folder of a package with one label, `person`. kind: of FAULTS."""
    constants: list[Value] = [
        ("limit", [BRIGHT], [1], FLOAT),
        ("eight", [8.0], [1], FLOAT),
        ("flat", [1, 1], [2], INT64),
    ]
    constants += [("scores", [0.7, 0.7], [1, 2], FLOAT), ("score", [0.7], [1], FLOAT), ("always", [1.0], [1], FLOAT)]
    room: Node = ("Sub", ["limit", "mean"], "room", {})
    last: dict[str, list[Node]] = {
        "nan": [room, ("Sqrt", ["room"], "value", {}), ("Reshape", ["value", "flat"], "y", {})],
        "inf": [
            *(room, ("Relu", ["room"], "above", {}), ("Div", ["limit", "above"], "value", {})),
            ("Reshape", ["value", "flat"], "y", {}),
        ],
        "shape": [
            ("Greater", ["mean", "limit"], "bright", {}),
            ("Cast", ["always"], "true", {"to": BOOL}),
            ("Concat", ["true", "bright"], "which", {"axis": 0}),
            ("Compress", ["scores", "which"], "y", {"axis": 1}),
        ],
        "exception": [
            *(("Mul", ["mean", "eight"], "place", {}), ("Cast", ["place"], "index", {"to": INT64})),
            *(("Gather", ["score", "index"], "value", {}), ("Reshape", ["value", "flat"], "y", {})),
        ],
    }
    mean: Node = ("ReduceMean", ["x"], "mean", {"keepdims": 0})
    sizes = [1, "n"] if kind == "shape" else [1, 1]
    content = model([mean, *last[kind]], constants, shape, {"y": sizes})
    return package(folder, content, "classify", section or "picture: {colour: rgb, mean: 0, std: 255, fit: stretch}")


def detector(folder: Path) -> Path:
    """A package that finds more persons the brighter the picture: one in the dark, ten at most."""
    nodes: list[Node] = [
        ("ReduceMean", ["x"], "mean", {"keepdims": 0}),
        ("LessOrEqual", ["ranks", "mean"], "which", {}),
        *((("Compress", [f"all_{name}", "which"], name, {"axis": 1})) for name in ("boxes", "classes", "scores")),
        ("Identity", ["most"], "count", {}),
    ]
    constants: list[Value] = [
        ("ranks", [rank / 10 for rank in range(10)], [10], FLOAT),
        ("all_boxes", [0.1, 0.2, 0.6, 0.7] * 10, [1, 10, 4], FLOAT),
        ("all_classes", [0.0] * 10, [1, 10], FLOAT),
        ("all_scores", [0.6] * 10, [1, 10], FLOAT),
        ("most", [10.0], [1], FLOAT),
    ]
    outputs: dict[str, Sequence[int | str]] = {"boxes": [1, "n", 4], "classes": [1, "n"], "scores": [1, "n"]}
    content = model(nodes, constants, PICTURE, outputs | {"count": [1]})
    return package(folder, content, "ssd", "picture: {colour: rgb, mean: 0, std: 255, fit: stretch}")


def package(folder: Path, content: bytes, decoder: str, section: str) -> Path:
    folder.mkdir()
    path = folder / "model.onnx"
    path.write_bytes(content)
    lines = ["version: 1.0.0", "licence: Apache-2.0", "file: model.onnx", f"sha256: {digest(path)}", "backend: onnx"]
    lines += [f"decoder: {decoder}", section, "labels: [person]", "budget_ms: 50", 'data: ""']
    (folder / "manifest.yaml").write_text("\n".join([*lines, ""]))
    return folder


def model(
    nodes: Sequence[Node], constants: Sequence[Value], shape: Sequence[int], outputs: dict[str, Sequence[int | str]]
) -> bytes:
    """ModelProto with one input `x`. A size of an output that is a name is unknown."""
    graph = b"".join(_part(1, _node(*node)) for node in nodes) + _part(2, b"test")
    graph += b"".join(_part(5, _tensor(*value)) for value in constants)
    graph += _part(11, _value_info("x", shape))
    graph += b"".join(_part(12, _value_info(name, sizes)) for name, sizes in outputs.items())
    return _number(1, IR_VERSION) + _part(7, graph) + _part(8, _part(1, b"") + _number(2, OPSET))


def _node(operator: str, inputs: Sequence[str], output: str, attributes: dict[str, int]) -> bytes:
    parts = b"".join(_part(1, name.encode()) for name in inputs) + _part(2, output.encode())
    parts += _part(4, operator.encode())
    integer = 2  # AttributeProto.INT
    for name, value in attributes.items():
        parts += _part(5, _part(1, name.encode()) + _number(3, value) + _number(20, integer))
    return parts


def _tensor(name: str, values: Sequence[float], shape: Sequence[int], kind: int) -> bytes:
    raw = struct.pack(f"<{len(values)}{'f' if kind == FLOAT else 'q'}", *values)
    return b"".join(_number(1, size) for size in shape) + _number(2, kind) + _part(8, name.encode()) + _part(9, raw)


def _value_info(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = (_part(2, size.encode()) if isinstance(size, str) else _number(1, size) for size in shape)
    tensor = _number(1, FLOAT) + _part(2, b"".join(_part(1, size) for size in sizes))
    return _part(1, name.encode()) + _part(2, _part(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
