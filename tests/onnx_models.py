"""Small ONNX models for tests, written byte by byte (onnx.proto3): the `onnx` package is no dependency."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agent.packages.checksums import digest

FLOAT, UINT8, INT64, BOOL = 1, 2, 7, 9
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
        ("Cast", ["which"], "kept", {"to": FLOAT}),
        ("ReduceSum", ["kept"], "count", {"keepdims": 1}),
    ]
    constants: list[Value] = [
        ("ranks", [rank / 10 for rank in range(10)], [10], FLOAT),
        ("all_boxes", [0.1, 0.2, 0.6, 0.7] * 10, [1, 10, 4], FLOAT),
        ("all_classes", [0.0] * 10, [1, 10], FLOAT),
        ("all_scores", [0.6] * 10, [1, 10], FLOAT),
    ]
    outputs: dict[str, Sequence[int | str]] = {"boxes": [1, "n", 4], "classes": [1, "n"], "scores": [1, "n"]}
    content = model(nodes, constants, PICTURE, outputs | {"count": [1]})
    return package(folder, content, "ssd", "picture: {colour: rgb, mean: 0, std: 255, fit: stretch}")


def poser(folder: Path) -> Path:
    """A package with decoder movenet: one person, all of whose keypoints are the more certain the brighter it is."""
    points = [value for number in range(17) for value in (0.1 + 0.05 * number, 0.3 + 0.02 * number, 0.6)]
    constants: list[Value] = [("base", points, [1, 1, 17, 3], FLOAT), ("gain", [0, 0, 0.3], [3], FLOAT)]
    nodes: list[Node] = [
        ("ReduceMean", ["x"], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "gain"], "more", {}),
        ("Add", ["base", "more"], "y", {}),
    ]
    content = model(nodes, constants, PICTURE, {"y": [1, 1, 17, 3]})
    return package(folder, content, "movenet", "picture: {colour: rgb, mean: 0, std: 255, fit: stretch}")


def package(folder: Path, content: bytes, decoder: str, section: str) -> Path:
    folder.mkdir()
    path = folder / "model.onnx"
    path.write_bytes(content)
    lines = ["version: 1.0.0", "licence: Apache-2.0", "file: model.onnx", f"sha256: {digest(path)}", "backend: onnx"]
    lines += [f"decoder: {decoder}", section, "labels: [person]", "budget_ms: 50", 'data: ""']
    (folder / "manifest.yaml").write_text("\n".join([*lines, ""]))
    return folder


def scorer(
    shape: Sequence[int | str] = PICTURE,
    *,
    name: str = "x",
    last: str = "Sigmoid",
    weights: str = "",
    others: dict[str, Sequence[int | str]] | None = None,
    output: Sequence[int] = (1, 4),
) -> bytes:
    """Scores that depend on the mean of the input. last: the operator that makes them. weights: the file that has them.

    others: more inputs, which nothing reads.
    """
    count = int(np.prod(output))
    nodes: list[Node] = [
        ("ReduceMean", [name], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "gain"], "values", {}),
        (last, ["values"], "flat", {}),
        ("Reshape", ["flat", "sizes"], "y", {}),
    ]
    gain = [9.0 - 5.0 * number for number in range(count)]
    constants: list[Value] = [("gain", gain, [count], FLOAT), ("sizes", list(output), [len(output)], INT64)]
    content = model(nodes, constants, shape, {"y": output}, name=name, others=others, external={"gain": weights})
    return content


def detections(order: str, moving: bool = True) -> bytes:
    """Boxes, classes, scores and the number as four outputs. order: their letters b, c, s, n, which are the names."""
    nodes: list[Node] = [("ReduceMean", ["x"], "mean", {"keepdims": 0}), ("Mul", ["mean", "moving"], "change", {})]
    nodes += [("Mul", [f"all_{letter}", "change"], f"part_{letter}", {}) for letter in "bs"]
    nodes += [("Add", [f"part_{letter}", f"all_{letter}"], letter, {}) for letter in "bs"]
    nodes += [("Identity", [f"all_{letter}"], letter, {}) for letter in "cn"]
    constants: list[Value] = [
        ("moving", [0.3 * moving], [1], FLOAT),
        ("all_b", [0.1, 0.2, 0.4, 0.5] * 10, [1, 10, 4], FLOAT),
        ("all_c", [2.0, 1.0] * 5, [1, 10], FLOAT),
        ("all_s", [0.7, 0.04] * 5, [1, 10], FLOAT),
        ("all_n", [10.0], [1], FLOAT),
    ]
    shapes: dict[str, Sequence[int]] = {"b": [1, 10, 4], "c": [1, 10], "s": [1, 10], "n": [1]}
    return model(nodes, constants, PICTURE, {letter: shapes[letter] for letter in order})


def model(
    nodes: Sequence[Node],
    constants: Sequence[Value],
    shape: Sequence[int | str],
    outputs: Mapping[str, Sequence[int | str]],
    *,
    name: str = "x",
    others: Mapping[str, Sequence[int | str]] | None = None,
    external: Mapping[str, str] | None = None,
) -> bytes:
    """ModelProto. A size that is a name is open. external: of a constant, the file beside the model that has it."""
    graph = b"".join(_part(1, _node(*node)) for node in nodes) + _part(2, b"test")
    graph += b"".join(_part(5, _tensor(*value, file=(external or {}).get(value[0], ""))) for value in constants)
    graph += b"".join(_part(11, _value_info(*item)) for item in {name: shape, **(others or {})}.items())
    graph += b"".join(_part(12, _value_info(name, sizes)) for name, sizes in outputs.items())
    return _number(1, IR_VERSION) + _part(7, graph) + _part(8, _part(1, b"") + _number(2, OPSET))


def external_tensor(name: str, file: str) -> bytes:
    return _tensor(name, [], [1], FLOAT, file)


def group(number: int) -> bytes:
    """An unknown field, in the form that protobuf has given up and still skips."""
    return _varint(number << 3 | 3) + _number(1, 5) + _varint(number << 3 | 4)


def nested(tensor: bytes, depth: int) -> bytes:
    """A graph of the model with a tensor in a subgraph of a subgraph, and so on."""
    graph = _part(5, tensor)
    for _ in range(depth):
        graph = _part(1, _part(4, b"If") + _part(5, _part(6, graph)))
    return _part(7, graph)


def _node(operator: str, inputs: Sequence[str], output: str, attributes: dict[str, int]) -> bytes:
    parts = b"".join(_part(1, name.encode()) for name in inputs) + _part(2, output.encode())
    parts += _part(4, operator.encode())
    integer = 2  # AttributeProto.INT
    for name, value in attributes.items():
        parts += _part(5, _part(1, name.encode()) + _number(3, value) + _number(20, integer))
    return parts


def raw_values(values: Sequence[float], kind: int = FLOAT) -> bytes:
    return struct.pack(f"<{len(values)}{'f' if kind == FLOAT else 'q'}", *values)


def _tensor(name: str, values: Sequence[float], shape: Sequence[int], kind: int, file: str = "") -> bytes:
    head = b"".join(_number(1, size) for size in shape) + _number(2, kind) + _part(8, name.encode())
    if not file:
        return head + _part(9, raw_values(values, kind))
    entry = _part(13, _part(1, b"location") + _part(2, file.encode()))
    return head + entry + _number(14, 1)  # TensorProto.EXTERNAL


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
