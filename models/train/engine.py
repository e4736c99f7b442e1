"""TensorFlow's part: a reproducible start, and float to INT8."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import tensorflow as tf

from agent.data import Array

CALIBRATION = 500  # samples that show the converter the range of every tensor


def steady(seed: int) -> None:
    """Same seed, same weights: needs one thread, too, as the order of a sum changes its last bits.

    Layers are numbered from one again, as their names get into the file.
    """
    tf.keras.backend.clear_session()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def to_float(model: tf.keras.Model) -> bytes:
    return _convert(converter(model))


def to_int8(model: tf.keras.Model, samples: Array) -> bytes:
    """Weights, activations, input and output in INT8. samples: float32 [n, ...], as diverse as in use."""
    picked = np.random.default_rng(0).choice(len(samples), min(CALIBRATION, len(samples)), replace=False)
    quantiser = converter(model)
    quantiser.optimizations = [tf.lite.Optimize.DEFAULT]
    quantiser.representative_dataset = lambda: ([samples[i : i + 1].astype(np.float32)] for i in picked)
    quantiser.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantiser.inference_input_type = quantiser.inference_output_type = tf.int8
    return _convert(quantiser)


def _convert(converter: tf.lite.TFLiteConverter) -> bytes:
    """Without the list of endpoints that Keras prints where the figures go."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")  # they come from the samples
        return bytes(converter.convert())


def converter(model: tf.keras.Model) -> tf.lite.TFLiteConverter:
    """The batch is pinned to 1: a free one leaves shape arithmetic in the graph that costs more than the network."""
    single = tf.keras.Input(batch_shape=(1, *model.input_shape[1:]))
    return tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(single, model(single)))
