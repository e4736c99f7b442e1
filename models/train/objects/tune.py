"""Fine-tunes weights and ranges for INT8: a copy that rounds as INT8 does learns to answer as the float network does.

No labels: the float network is the teacher (Hinton et al. 2015), its pictures are views of the calibration frames. The
gradient passes through the rounding (Bengio et al. 2013). The frames show few of the 80 labels. Asked only for right
scores, the network forgets the others: so the layers before the last ones are compared, too, and those of labels stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from models.train.engine import KerasModel
from models.train.objects import graph
from models.train.objects.ranges import Group
from models.train.objects.views import Views

BATCH, WARM_UP = 2, 20
RATE = 1e-3  # of a step, in deviations of the weights of a layer: biases and kernels differ by factors of thousands
RATE_OF_RANGES = 0.02  # the same, in shares of the range
FIRST, SECOND = 0.9, 0.99  # Adam: decay of the two moments
# Of the three levels: input of the head; the last but one layer of labels; the same of boxes and objectness
FEATURES = ("Mul_301", "Mul_334", "Mul_367", "Mul_313", "Mul_346", "Mul_379", "Mul_326", "Mul_359", "Mul_392")
OF_LABELS = ("Conv_314", "Conv_347", "Conv_380")
LOGITS = (-5.0, 8.0)  # outside no difference matters
OF_FEATURES, OF_SQUARES = 10.0, 0.3  # weights of the error of features, of differences between logits of labels
quantization = tf.quantization


class Tuned(NamedTuple):
    """The same network, float, with other weights; the groups with other ranges."""

    network: KerasModel
    groups: list[Group]


class Conv2D(tf.keras.layers.Conv2D):  # type: ignore[misc]  # TensorFlow has no types
    """With weights that are rounded as INT8 has them, channel by channel."""

    def convolution_op(self, values: Any, kernel: Any) -> Any:
        limit = tf.reduce_max(tf.abs(tf.stop_gradient(kernel)), axis=[0, 1, 2]) + 1e-9
        rounded = quantization.fake_quant_with_min_max_vars_per_channel(kernel, -limit, limit, 8, narrow_range=True)
        return super().convolution_op(values, rounded)


class DepthwiseConv2D(tf.keras.layers.DepthwiseConv2D):  # type: ignore[misc]  # TensorFlow has no types
    """The same."""

    def call(self, values: Any) -> Any:
        kernel = self.kernel[..., 0]
        limit = tf.reduce_max(tf.abs(tf.stop_gradient(kernel)), axis=[0, 1]) + 1e-9
        rounded = quantization.fake_quant_with_min_max_vars_per_channel(kernel, -limit, limit, 8, narrow_range=True)
        strides = [1, *self.strides, 1]
        return tf.nn.depthwise_conv2d(values, rounded[..., None], strides, self.padding.upper()) + self.bias


class _Convolutions:
    Conv2D, DepthwiseConv2D = Conv2D, DepthwiseConv2D


class _Rounded(tf.keras.layers.Layer):  # type: ignore[misc]  # TensorFlow has no types
    """Values rounded to 256 steps from low to high."""

    def __init__(self, low: Any, high: Any, **options: Any) -> None:
        super().__init__(**options)
        self.limits = (low, high)

    def call(self, values: Any) -> Any:
        return quantization.fake_quant_with_min_max_vars(values, *self.limits)


class _Tuning:
    def __init__(self, path: Path, side: int, groups: Sequence[Group], of_layers: dict[str, int]) -> None:
        self.limits = [[tf.Variable(group.low), tf.Variable(group.high)] for group in groups]
        self.of_layers = of_layers
        self.teacher = _with_features(graph.load(path, side, side, BATCH))
        self.student = graph.load(path, side, side, BATCH, self._rounding, _Convolutions)
        self.outputs = _with_features(self.student)
        for name in OF_LABELS:
            self.student.get_layer(name).trainable = False
        weights = self.student.trainable_variables
        ranges = [limit for group, pair in zip(groups, self.limits) for limit in pair if not group.fixed]
        widths = [RATE_OF_RANGES * (group.high - group.low) for group in groups if not group.fixed for _ in range(2)]
        self.variables = [*weights, *ranges]
        self.scales = [float(np.std(each.numpy())) + 1e-4 for each in weights] + widths
        self.moments = [[tf.Variable(tf.zeros_like(each)) for _ in range(2)] for each in self.variables]

    def _rounding(self, name: str, values: Any) -> Any:
        if name.startswith("Sigmoid"):
            return _Rounded(0.0, 255 / 256)(values)
        return _Rounded(*self.limits[self.of_layers[name]])(values) if name in self.of_layers else values

    @tf.function  # type: ignore[untyped-decorator]
    def step(self, pictures: Any, number: Any, rate: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(self.variables)
            loss = _loss(self.teacher(pictures, training=False), self.outputs(pictures, training=False))
        gradients = tape.gradient(loss, self.variables)
        for variable, gradient, (first, second), scale in zip(self.variables, gradients, self.moments, self.scales):
            if gradient is not None:
                first.assign(FIRST * first + (1 - FIRST) * gradient)
                second.assign(SECOND * second + (1 - SECOND) * gradient**2)
                size = tf.sqrt(second / (1 - SECOND**number)) + 1e-12
                variable.assign_sub(rate * scale * (first / (1 - FIRST**number)) / size)
        return loss


def tuned(
    path: Path, side: int, groups: Sequence[Group], of_layers: dict[str, int], frames: Sequence[Array], steps: int
) -> Tuned:
    """path: the float ONNX file. of_layers: number of the group of each layer. frames: uint8, of any size."""
    tuning, views = _Tuning(path, side, groups, of_layers), Views(frames, side)
    for number in tqdm(range(steps), "tune"):
        rate = RATE * min(1.0, (number + 1) / WARM_UP) * (1 + np.cos(np.pi * number / steps)) / 2
        pictures = np.stack([views.draw() for _ in range(BATCH)])
        tuning.step(pictures, tf.constant(number + 1.0), tf.constant(rate, tf.float32))
    network = graph.load(path, side, side)
    for layer in tuning.student.layers:
        if isinstance(layer, (Conv2D, DepthwiseConv2D)):
            network.get_layer(layer.name).set_weights(layer.get_weights())
    limits = [[float(limit.numpy()) for limit in pair] for pair in tuning.limits]
    return Tuned(network, [group._replace(low=low, high=high) for group, (low, high) in zip(groups, limits)])


def _with_features(network: KerasModel) -> KerasModel:
    """Boxes, logits, features."""
    outputs = [network.get_layer(name).output for name in ("boxes", "logits", *FEATURES)]
    return tf.keras.Model(network.inputs, outputs)


def _loss(teacher: Sequence[Any], student: Sequence[Any]) -> Any:
    """Sums over places, where the teacher's score decides how much a place matters; a mean over the batch."""
    scores = tf.sigmoid(teacher[1])
    objectness = scores[:, :, 0]
    best = tf.reduce_max(scores[:, :, :1] * scores[:, :, 1:], axis=-1)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(scores, student[1])
    entropy -= tf.nn.sigmoid_cross_entropy_with_logits(scores, teacher[1])
    first, second = (tf.clip_by_value(each[1], *LOGITS) for each in (teacher, student))
    squares = OF_SQUARES * (first - second) ** 2
    labels = tf.reduce_sum((entropy + squares)[:, :, 1:], axis=-1) * (objectness + 0.005)
    boxes = tf.reduce_sum(tf.abs(student[0] - teacher[0]), axis=-1) * (best + 0.02 * objectness)
    features = tf.add_n(
        [tf.reduce_mean((a - b) ** 2) / tf.math.reduce_variance(a) for a, b in zip(teacher[2:], student[2:])]
    )
    return tf.reduce_sum(entropy[:, :, 0] + labels + boxes) / BATCH + OF_FEATURES * features
