"""Chooses the range of every tensor, and quantises: in place of the least and greatest value that calibration saw.

Those waste the 256 steps. Before SiLU, -20 and -6 both become 0. And channels of one tensor differ: the first layer has
one that reaches 100 and others below 0.5, which the depthwise layer after it multiplies to the same size. So a range is
chosen by the error that it makes in the layers that read it, channel by channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.tools import flatbuffer_utils

from agent.data import Array
from agent.decoders.base import sigmoid
from agent.decoders.yolo_output import COORDINATES

SAMPLES, PLACES = 3000, 24  # values of a tensor in each picture; at least so many places
TRIED = 150_000  # values on which ranges are compared
HIGH = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05)  # shares of the greatest
LOW, LOW_OF_SILU = (1.0, 0.9, 0.8), (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # of the least
SILU_IS_ZERO = (-3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -10.0)
# Steps of 0.02: boxes of 0.13 to 22 strides within 1 %, offsets within a sixth of a pixel at stride 8
BOXES = (-2.0, 3.1)
LOGITS = (-8.0, 7.94)
PIXELS = (0.0, 255.0)
LAYER = re.compile(r"((?:Conv|Mul|Add|Concat|MaxPool|Resize)_\d+)(?:_\d+)?/")  # in a tensor's name
SAME_SCALE = {"CONCATENATION", "MAX_POOL_2D", "RESHAPE", "PAD", "SPACE_TO_DEPTH", "RESIZE_NEAREST_NEIGHBOR"}
PASSED_ON = {"ADD", "MUL", *SAME_SCALE} - {"CONCATENATION"}
KINDS = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}


class Seen(NamedTuple):
    """Of one tensor in all pictures: least and greatest value; values at random places [n, channels]."""

    low: float
    high: float
    values: Array


class Group(NamedTuple):
    """Tensors of one scale, by their numbers in the file, and its range. fixed: not found by measurement."""

    tensors: list[int]
    low: float
    high: float
    fixed: bool


def choose(content: bytes, pictures: Iterable[Array]) -> list[Group]:
    """content: the float .tflite file. pictures: float32 [height, width, 3]."""
    graph = _Graph(content, observe(content, pictures))
    return [graph.choose(tensors) for tensors in graph.groups()]


def quantised(content: bytes, groups: Sequence[Group]) -> bytes:
    """content: as in `choose`, or of the same network with other weights."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for group in groups:
        for number in group.tensors:
            quantisation = schema.QuantizationParametersT()
            quantisation.min, quantisation.max = [group.low], [group.high]
            model.subgraphs[0].tensors[number].quantization = quantisation
    file = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return bytes(mlir_quantize(file, fully_quantize=True, input_data_type=tf.int8, output_data_type=tf.int8))


def of_layers(content: bytes, groups: Sequence[Group]) -> dict[str, int]:
    """The group, by its number in the list, of each layer of the Keras model."""
    (graph,) = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs
    return {
        layer: number
        for number, group in enumerate(groups)
        for tensor in group.tensors
        for layer in LAYER.findall(graph.tensors[tensor].name.decode())
    }


def observe(content: bytes, pictures: Iterable[Array]) -> dict[int, Seen]:
    """What each activation of the float network is, by its number in the file."""
    random = np.random.default_rng(0)
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    (picture_input,) = interpreter.get_input_details()
    numbers = [each["index"] for each in interpreter.get_tensor_details() if _is_activation(each)]
    rows: dict[int, list[Array]] = {number: [] for number in numbers}
    lows, highs = dict.fromkeys(numbers, 0.0), dict.fromkeys(numbers, 0.0)
    for picture in pictures:
        interpreter.set_tensor(picture_input["index"], picture[np.newaxis])
        interpreter.invoke()
        for number in numbers:
            values = interpreter.get_tensor(number)
            places = values.reshape(-1, values.shape[-1])
            lows[number], highs[number] = min(lows[number], values.min()), max(highs[number], values.max())
            rows[number].append(places[random.integers(0, len(places), max(PLACES, SAMPLES // places.shape[1]))])
    return {number: Seen(lows[number], highs[number], np.concatenate(rows[number])) for number in numbers}


def _is_activation(detail: dict[str, Any]) -> bool:
    return (
        detail["dtype"] == np.float32 and len(detail["shape"]) >= 3 and detail["shape"][0] == 1 and detail["name"] != ""
    )


class _Graph:
    """Operators and tensors of a file, by their numbers."""

    def __init__(self, content: bytes, seen: dict[int, Seen]) -> None:
        self.model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        (graph,) = self.model.subgraphs
        self.tensors, self.operators, self.ends = (
            graph.tensors,
            graph.operators,
            (list(graph.inputs), list(graph.outputs)),
        )
        made = {operator.outputs[0] for operator in self.operators} | set(graph.inputs)
        self.seen = {number: each for number, each in seen.items() if number in made}
        self.users: dict[int, list[Any]] = {}
        for operator in self.operators:
            for number in operator.inputs:
                self.users.setdefault(number, []).append(operator)
        self.known: dict[int, Array] = {}

    def kind(self, operator: Any) -> str:
        code = self.model.operatorCodes[operator.opcodeIndex]
        return str(KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)])

    def groups(self) -> list[list[int]]:
        """Tensors that must have the same scale, because an operator only copies from one to the other."""
        parents = {number: number for number in self.seen}

        def root(number: int) -> int:
            while parents[number] != number:
                number = parents[number]
            return number

        for operator in self.operators:
            if self.kind(operator) in SAME_SCALE:
                for number in operator.inputs:
                    if number in parents:
                        parents[root(number)] = root(operator.outputs[0])
        members: dict[int, list[int]] = {}
        for number in parents:
            members.setdefault(root(number), []).append(number)
        return list(members.values())

    def choose(self, tensors: list[int]) -> Group:
        inputs, outputs = self.ends
        readers = {self.kind(operator) for number in tensors for operator in self.users.get(number, [])}
        if inputs[0] in tensors:
            return Group(tensors, *PIXELS, True)
        if any(number in outputs and self.tensors[number].shape[-1] == COORDINATES for number in tensors):
            return Group(tensors, *BOXES, True)
        if "LOGISTIC" in readers and "MUL" not in readers:
            return Group(tensors, *LOGITS, True)
        silu = "LOGISTIC" in readers
        weights = [self._of_product(number) if silu else self.importance(number) for number in tensors]
        return Group(tensors, *_best([self.seen[number] for number in tensors], weights, silu), False)

    def _of_product(self, number: int) -> Array:
        (product_,) = (each for each in self.users[number] if self.kind(each) == "MUL")
        return self.importance(product_.outputs[0])

    def importance(self, number: int) -> Array:
        """How much the square of an error in each channel adds to the readers' outputs, relative to their variance."""
        if number not in self.known:
            total = np.zeros(self.tensors[number].shape[-1])
            for operator in self.users.get(number, []):
                total += self._in_reader(number, operator)
            self.known[number] = total
        return self.known[number]

    def _in_reader(self, number: int, operator: Any) -> Array | float:
        kind, output = self.kind(operator), operator.outputs[0]
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            squares = self._constant(operator.inputs[1]) ** 2
            values = self.seen[output].values
            share = 1.0 / (values.var(axis=0) + 1e-3 * values.var() + 1e-6)
            summed = squares.sum(axis=(1, 2)).T @ share if kind == "CONV_2D" else squares[0].sum(axis=(0, 1)) * share
            return np.asarray(summed)
        if kind == "CONCATENATION" and self.tensors[output].shape[-1] != self.tensors[number].shape[-1]:
            before = list(operator.inputs).index(number)
            start = sum(self.tensors[each].shape[-1] for each in operator.inputs[:before])
            return self.importance(output)[start : start + self.tensors[number].shape[-1]]
        return self.importance(output) if kind in PASSED_ON else 0.0

    def _constant(self, number: int) -> Array:
        tensor = self.tensors[number]
        values = np.frombuffer(bytes(self.model.buffers[tensor.buffer].data), np.float32)
        return np.asarray(values.reshape(tensor.shape).astype(np.float64))


def _best(seen: Sequence[Seen], weights: Sequence[Array], silu: bool) -> tuple[float, float]:
    """The range with the least weighted square error, after SiLU where that is what reads the tensor."""
    values = np.concatenate([each.values.reshape(-1) for each in seen])
    weight = np.concatenate([np.broadcast_to(w, each.values.shape).reshape(-1) for w, each in zip(weights, seen)])
    if len(values) > TRIED:
        picked = np.random.default_rng(0).permutation(len(values))[:TRIED]
        values, weight = values[picked], weight[picked]
    then: Callable[[Array], Array] = _silu if silu else np.asarray
    low, high = min(0.0, *(each.low for each in seen)), max(0.0, *(each.high for each in seen))
    lows = [low * share for share in (LOW_OF_SILU if silu else LOW)]
    lows += [each for each in SILU_IS_ZERO if silu and each > low]
    exact = then(values)
    tried = [(least, high * share) for least, share in product(lows, HIGH)]
    errors = [float((weight * (then(_rounded(values, *each)) - exact) ** 2).mean()) for each in tried]
    return tried[int(np.argmin(errors))]


def _silu(values: Array) -> Array:
    return values * sigmoid(values)


def _rounded(values: Array, low: float, high: float) -> Array:
    """To one of 256 steps, of which one is 0."""
    scale = max(high - low, 1e-6) / 255.0
    zero = np.rint(-low / scale)
    rounded: Array = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return rounded
