"""TensorFlow's part: a reproducible start, float to INT8, and running either with the interpreter that ships."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from agent.data import Array

CALIBRATION = 500  # samples that show the converter the range of every tensor


def steady(seed: int) -> None:
    """Same seed, same weights: needs one thread, too, as the order of a sum changes its last bits."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def to_float(model: tf.keras.Model) -> bytes:
    return bytes(converter(model).convert())


def to_int8(model: tf.keras.Model, samples: Array) -> bytes:
    """Weights, activations, input and output in INT8. samples: float32 [n, ...], as diverse as in use."""
    picked = np.random.default_rng(0).choice(len(samples), min(CALIBRATION, len(samples)), replace=False)
    quantiser = converter(model)
    quantiser.optimizations = [tf.lite.Optimize.DEFAULT]
    quantiser.representative_dataset = lambda: ([samples[i : i + 1].astype(np.float32)] for i in picked)
    quantiser.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantiser.inference_input_type = quantiser.inference_output_type = tf.int8
    return bytes(quantiser.convert())


def converter(model: tf.keras.Model) -> tf.lite.TFLiteConverter:
    """The batch is pinned to 1: a free one leaves shape arithmetic in the graph that costs more than the network."""
    single = tf.keras.Input(batch_shape=(1, *model.input_shape[1:]))
    return tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(single, model(single)))


class Network:
    """A .tflite file at work: float32 in and out whatever it computes in."""

    def __init__(self, content: bytes) -> None:
        self.interpreter = Interpreter(model_content=content, num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]

    def raw(self, sample: Array) -> Array:
        """Values of the input's own dtype [...] to values of the output's [...]."""
        self.interpreter.set_tensor(self.input["index"], sample[None])
        self.interpreter.invoke()
        return np.asarray(self.interpreter.get_tensor(self.output["index"])[0])

    def quantised(self, samples: Array) -> Array:
        scale, zero = self.input["quantization"]
        if not scale:
            return samples.astype(np.float32)
        return np.asarray(np.clip(np.rint(samples / scale) + zero, -128, 127).astype(np.int8))

    def __call__(self, samples: Array) -> Array:
        """float32 [n, ...] to float32 [n, ...], one after the other as in use."""
        scale, zero = self.output["quantization"]
        rows = np.stack([self.raw(sample) for sample in self.quantised(samples)]).astype(np.float32)
        return (rows - zero) * scale if scale else rows

    def median_ms(self, samples: Array, times: int = 2000) -> float:
        """How long one invoke takes, without getting data in and out."""
        taken = []
        for sample in self.quantised(samples[np.arange(times) % len(samples)]):
            self.interpreter.set_tensor(self.input["index"], sample[None])
            start = time.perf_counter()
            self.interpreter.invoke()
            taken.append(time.perf_counter() - start)
        return float(np.median(taken)) * 1e3
