"""Small LiteRT models for tests, built with the schema that comes with LiteRT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from agent.data import Array

flatbuffers: Any = pytest.importorskip("flatbuffers")
schema: Any = pytest.importorskip("ai_edge_litert.schema_py_generated")
BRIGHT = 0.25  # mean of the input, from which `failing` fails


class Builder:
    """One graph, made tensor by tensor."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.operatorCodes, self.model.subgraphs = 3, [], [self.graph]
        self.model.buffers = [schema.BufferT()]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        values: Array | None = None,
        *,
        integer: bool = False,
        signature: Sequence[int] | None = None,
    ) -> int:
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.shapeSignature = name, list(shape), signature and list(signature)
        tensor.type = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
        if values is not None:
            buffer.data = np.frombuffer(values.astype(np.int32 if integer else np.float32).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: Sequence[int], output: int, options: str = "") -> None:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.model.operatorCodes.append(code)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), [output]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
        self.graph.operators.append(operator)

    def content(self, inputs: Sequence[int], outputs: Sequence[int], names: Sequence[str] = ()) -> bytes:
        """names: of the outputs in the file's signature; none: it has no signature."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        if names:
            signature = schema.SignatureDefT()
            signature.signatureKey, signature.subgraphIndex = "serving_default", 0
            signature.inputs = [self._entry(f"in{number}", index) for number, index in enumerate(inputs)]
            signature.outputs = [self._entry(name, index) for name, index in zip(names, outputs)]
            self.model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _entry(self, name: str, index: int) -> Any:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        return entry


def scorer(
    shape: Sequence[int] = (1, 32, 32, 3),
    signature: Sequence[int] | None = None,
    *,
    name: str = "x",
    inputs: int = 1,
    last: str = "LOGISTIC",
) -> bytes:
    """Four scores that depend on the mean of the input. signature: its sizes with -1 where they are open."""
    build = Builder()
    x = build.tensor(name, shape, signature=signature)
    others = [build.tensor(f"other{number}", [1, 2]) for number in range(inputs - 1)]
    axes = build.tensor("axes", [len(shape) - 1], np.arange(1, len(shape)), integer=True)
    gain = build.tensor("gain", [1, 4], np.array([[9, 4, -1, -6]]))
    mean, column = build.tensor("mean", [1]), build.tensor("column", [1, 1])
    sizes = build.tensor("sizes", [2], np.array([1, 1]), integer=True)
    values, y = build.tensor("values", [1, 4]), build.tensor("y", [1, 4])
    build.operator("MEAN", [x, axes], mean, "ReducerOptions")
    build.operator("RESHAPE", [mean, sizes], column)
    build.operator("MUL", [column, gain], values, "MulOptions")
    build.operator(last, [values], y)
    return build.content([x, *others], [y])


def failing() -> bytes:
    """One score, of a picture that is dark; with a bright one its operator GATHER fails."""
    build = Builder()
    x = build.tensor("x", [1, 16, 16, 3])
    axes = build.tensor("axes", [3], np.array([1, 2, 3]), integer=True)
    table = build.tensor("table", [2], np.array([0.7, 0.6]))
    gain = build.tensor("gain", [1], np.array([2 / BRIGHT]))
    sizes = build.tensor("sizes", [2], np.array([1, 1]), integer=True)
    mean, place, score, y = (build.tensor(*item) for item in (("mean", [1]), ("place", [1]), ("s", [1]), ("y", [1, 1])))
    index = build.tensor("index", [1], integer=True)
    build.operator("MEAN", [x, axes], mean, "ReducerOptions")
    build.operator("MUL", [mean, gain], place, "MulOptions")
    build.operator("CAST", [place], index, "CastOptions")
    build.operator("GATHER", [table, index], score, "GatherOptions")
    build.operator("RESHAPE", [score, sizes], y)
    return build.content([x], [y])


def detections(order: str, names: Sequence[str] = ()) -> bytes:
    """Boxes, classes, scores, number as four outputs. order: their letters b, c, s, n. names: in the signature."""
    build = Builder()
    x = build.tensor("x", [1, 32, 32, 3])
    axes = build.tensor("axes", [3], np.array([1, 2, 3]), integer=True)
    mean = build.tensor("mean", [1])
    build.operator("MEAN", [x, axes], mean, "ReducerOptions")
    constants = {
        "b": np.tile(np.array([0.1, 0.2, 0.4, 0.5]), (1, 10, 1)),
        "c": np.tile(np.array([2.0, 1.0]), (1, 5)),
        "s": np.tile(np.array([0.7, 0.04]), (1, 5)),
        "n": np.array([10.0]),
    }
    outputs = {}
    for letter, values in constants.items():
        whole = letter in "cn"
        constant = build.tensor(f"all_{letter}", values.shape, values * (0 if whole else 1))
        rest = build.tensor(f"rest_{letter}", values.shape, values * (1 if whole else 0))
        part = build.tensor(f"part_{letter}", values.shape)
        outputs[letter] = build.tensor(f"Call:{order.index(letter)}", values.shape)
        build.operator("MUL", [constant, mean], part, "MulOptions")
        build.operator("ADD", [part, rest], outputs[letter], "AddOptions")
    return build.content([x], [outputs[letter] for letter in order], names)
