"""TensorFlow: reproducible training, and conversion of a Keras model to a float or INT8 file."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from agent.data import Array

KerasModel = Any  # TensorFlow ships no types
Converter = Any
CALIBRATION = 500  # samples that show the converter the range of every tensor


def make_reproducible(seed: int) -> None:
    """Same seed, same weights. Uses one thread, because the order of a sum changes its last bits.

    Restarts the numbers in the names of layers, which are stored in the file.
    """
    tf.keras.backend.clear_session()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def to_float(model: KerasModel) -> bytes:
    return _convert(_converter(model))


def to_int8(model: KerasModel, samples: Array) -> bytes:
    """Weights, activations, input and output in INT8. samples: float32 [n, ...], as diverse as in operation."""
    picked = np.random.default_rng(0).choice(len(samples), min(CALIBRATION, len(samples)), replace=False)
    quantiser = _converter(model)
    quantiser.optimizations = [tf.lite.Optimize.DEFAULT]
    quantiser.representative_dataset = lambda: ([samples[i : i + 1].astype(np.float32)] for i in picked)
    quantiser.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantiser.inference_input_type = quantiser.inference_output_type = tf.int8
    return _convert(quantiser)


def _convert(converter: Converter) -> bytes:
    """Convert without the list of endpoints that Keras prints to stdout, where the figures go."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")  # the ranges come from the samples
        return bytes(converter.convert())


def _converter(model: KerasModel) -> Converter:
    """A converter for batch size 1: a free one adds shape arithmetic to the graph that costs more than the network."""
    single = tf.keras.Input(batch_shape=(1, *model.input_shape[1:]))
    return tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(single, model(single)))
