"""YOLOX's ONNX file as a Keras model that computes the same from [1, height, width, 3] on, with two outputs in place of
one: a single INT8 scale cannot serve logarithms of sizes (-3..5) and scores (0..1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import numpy_helper

from agent.data import Array
from models.train.engine import KerasModel

KerasTensor = Any  # TensorFlow ships no types
COORDINATES = 4  # rows of an output before objectness and labels
layers = tf.keras.layers


Rounding = Callable[[str, KerasTensor], KerasTensor]  # of the values of the layer of this name


def exact(name: str, values: KerasTensor) -> KerasTensor:
    return values


def load(
    path: Path, width: int, height: int, batch: int | None = 1, rounding: Rounding = exact, convolution: Any = layers
) -> KerasModel:
    """Outputs: boxes [1, places, 4], as layout yolox has them, and objectness and labels [1, places, 1 + labels]."""
    return _Reader(onnx.load(path), rounding, convolution).model(width, height, batch)


class _Reader:
    """Translates the nodes in the file's order."""

    def __init__(self, file: onnx.ModelProto, rounding: Rounding, convolution: Any) -> None:
        self.rounding, self.convolution = rounding, convolution
        self.labels = file.graph.output[0].type.tensor_type.shape.dim[2].dim_value - COORDINATES - 1
        self.nodes = file.graph.node
        self.weights = {each.name: numpy_helper.to_array(each) for each in file.graph.initializer}
        self.tensors: dict[str, KerasTensor] = {}
        self.levels: list[list[KerasTensor]] = []

    def model(self, width: int, height: int, batch: int | None) -> KerasModel:
        picture = tf.keras.Input(batch_shape=(batch, height, width, 3), name="picture")
        self.focus = layers.Lambda(lambda pixels: tf.nn.space_to_depth(pixels, 2), name="focus")(picture)
        for node in self.nodes:
            translate: Callable[..., KerasTensor] = getattr(self, f"_{node.op_type.lower()}")
            inputs = [self.tensors.get(name) for name in node.input]
            values = translate(node, inputs, dict(_attributes(node)))
            self.tensors[node.output[0]] = (
                values if values is None or values is inputs[0] else self.rounding(node.name, values)
            )
        boxes, logits = (
            layers.Concatenate(1, name=name)([_places(level[part]) for level in self.levels])
            for part, name in enumerate(("boxes", "logits"))
        )
        return tf.keras.Model(picture, [boxes, layers.Activation("sigmoid", name="scores")(logits)])

    def _slice(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        """Every other pixel of every other line, four times: `focus`."""
        return None

    def _concat(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        if inputs[0] is None:
            return self.focus if not self.levels else None  # of the levels: see `model`
        if inputs[0].shape[-1] != COORDINATES:
            return layers.Concatenate(name=node.name)(inputs)
        self.levels.append([inputs[0], layers.Concatenate(name=node.name)(inputs[1:])])
        return None

    def _conv(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        values = inputs[0]
        kernel, bias = (self.weights[name] for name in node.input[1:3])
        stride, padding = given["strides"][0], given["pads"][0]
        if values is self.focus:
            kernel = _as_space_to_depth(kernel)
        if padding and stride > 1:  # TensorFlow's "same" pads only right and below here
            values = layers.ZeroPadding2D(padding)(values)
        same = "same" if padding and stride == 1 else "valid"
        if given["group"] == 1:
            layer = self.convolution.Conv2D(len(kernel), kernel.shape[2:], stride, same, name=node.name)
            values, weights = layer(values), kernel.transpose(2, 3, 1, 0)
        else:
            layer = self.convolution.DepthwiseConv2D(kernel.shape[2:], stride, same, name=node.name)
            values, weights = layer(values), kernel.transpose(2, 3, 0, 1)
        layer.set_weights([weights, bias])
        return values

    def _sigmoid(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        """That of objectness and labels is taken once, of all levels: see `model`."""
        if inputs[0].shape[-1] in (1, self.labels):
            return inputs[0]
        return layers.Activation("sigmoid", name=node.name)(inputs[0])

    def _mul(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        return layers.Multiply(name=node.name)(inputs)

    def _add(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        return layers.Add(name=node.name)(inputs)

    def _maxpool(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        return layers.MaxPooling2D(given["kernel_shape"], 1, "same", name=node.name)(inputs[0])

    def _resize(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        twice = [2 * side for side in inputs[0].shape[1:3]]  # UpSampling2D would become six operators
        return layers.Lambda(lambda values: tf.image.resize(values, twice, "nearest"), name=node.name)(inputs[0])

    def _reshape(self, node: Any, inputs: Sequence[KerasTensor], given: dict[str, Any]) -> KerasTensor:
        return None

    _transpose = _reshape


def _attributes(node: Any) -> Iterator[tuple[str, Any]]:
    for attribute in node.attribute:
        yield attribute.name, onnx.helper.get_attribute_value(attribute)


def _as_space_to_depth(kernel: Array) -> Array:
    """Channels of YOLOX: left column first, of each the upper line, of each three colours; here: upper line first."""
    parts = kernel.reshape(len(kernel), 2, 2, 3, *kernel.shape[2:])
    return np.asarray(parts.transpose(0, 2, 1, 3, 4, 5).reshape(kernel.shape))


def _places(level: KerasTensor) -> KerasTensor:
    return layers.Reshape((-1, level.shape[-1]))(level)
