"""The network: the lower layers of a public one that classifies pictures with a person, and a grid on top of them."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from agent.data import Array
from models.train.data import DataError
from models.train.engine import KerasModel
from models.train.person_coarse.clips import INPUT

# Visual Wake Words reference of MLPerf Tiny: MobileNet-v1 x 0.25, 96 x 96 pixels 0..1, batch normalisations folded in.
WAKE_WORDS = "vww_96_int8.tflite"
STEM = 8
# channels, stride; without its last three
BLOCKS = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 4)
SKIP_BLOCK = 4  # the last block at an eighth of the input's size
# channels of the new layers: at a sixteenth, and at an eighth; with more the file is larger than 200 KB
COARSE_CHANNELS, FINE_CHANNELS = 112, 48

Weights = dict[str, list[Array]]


def network(pretrained: Weights) -> KerasModel:
    """float32 [n, INPUT, INPUT, 3], 0..1, to [n, INPUT / 8, INPUT / 8, 1]."""
    layers = tf.keras.layers
    picture = layers.Input((INPUT, INPUT, 3))
    x = layers.Conv2D(STEM, 3, strides=2, padding="same", activation="relu", name="stem")(picture)
    skip = x
    for number, (channels, stride) in enumerate(BLOCKS):
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", activation="relu", name=f"depth_{number}")(x)
        x = layers.Conv2D(channels, 1, activation="relu", name=f"point_{number}")(x)
        skip = x if number == SKIP_BLOCK else skip
    x = _normalised(layers.Conv2D(FINE_CHANNELS, 1, use_bias=False)(_separable(x, COARSE_CHANNELS)))
    x = layers.Concatenate()([layers.UpSampling2D(2)(x), skip])
    x = _separable(_normalised(layers.Conv2D(FINE_CHANNELS, 1, use_bias=False)(x)), FINE_CHANNELS)
    x = layers.Dropout(0.2)(x)
    model = tf.keras.Model(picture, layers.Conv2D(1, 1, activation="sigmoid")(x), name="net")
    for name, weights in pretrained.items():
        model.get_layer(name).set_weights(weights)
    return model


def _separable(x: tf.Tensor, channels: int) -> tf.Tensor:
    layers = tf.keras.layers
    x = _normalised(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    return _normalised(layers.Conv2D(channels, 1, use_bias=False)(x))


def _normalised(x: tf.Tensor) -> tf.Tensor:
    """Batch normalisation and ReLU6: INT8 needs values that are bounded."""
    layers = tf.keras.layers
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def wake_words(models: Path) -> Weights:
    """Real weights and biases of the file's layers, by the names that `network` gives its own. Raises DataError."""
    path = models / WAKE_WORDS
    if not path.is_file():
        raise DataError(f"{models}: no network to start from, {WAKE_WORDS}")
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    kernels: dict[str, Array] = {}
    biases: dict[int, Array] = {}
    for detail in interpreter.get_tensor_details():
        scales = detail["quantization_parameters"]["scales"]
        name, shape = detail["name"], detail["shape"]
        if "Relu" not in name and "depthwise_conv2d" in name and len(shape) == 4:
            kernel = interpreter.get_tensor(detail["index"]) * scales
            kernels[f"depth_{_layer_number(name, 'depthwise_conv2d')}"] = kernel.transpose(1, 2, 3, 0)
        elif name.endswith("Conv2D") and len(shape) == 4:
            kernel = interpreter.get_tensor(detail["index"]) * scales[:, None, None, None]
            number = _layer_number(name, "conv2d")
            kernels[f"point_{number - 1}" if number else "stem"] = kernel.transpose(1, 2, 3, 0)
        elif "Relu" in name and len(shape) == 1:
            biases[_layer_number(name, "activation")] = interpreter.get_tensor(detail["index"]) * scales
    order = ["stem", *(f"{kind}_{number}" for number in range(len(BLOCKS)) for kind in ("depth", "point"))]
    return {name: [kernels[name], biases[number]] for number, name in enumerate(order)}


def _layer_number(name: str, layer: str) -> int:
    """Keras numbers the layers of a type: conv2d, conv2d_1 ..."""
    return int(name.split(layer)[1].split("/")[0].lstrip("_") or 0)
