"""A .tflite file at work, with the interpreter that ships; needs no TensorFlow."""

from __future__ import annotations

import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from agent.data import Array


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

    def raws(self, samples: Array) -> Array:
        """One after the other as in use: values of the input's own dtype [n, ...] to values of the output's [n, ...]."""
        return np.stack([self.raw(sample) for sample in samples])

    def quantised(self, samples: Array) -> Array:
        scale, zero = self.input["quantization"]
        if not scale:
            return samples.astype(np.float32)
        return np.asarray(np.clip(np.rint(samples / scale) + zero, -128, 127).astype(np.int8))

    def __call__(self, samples: Array) -> Array:
        """float32 [n, ...] to float32 [n, ...], one after the other as in use."""
        scale, zero = self.output["quantization"]
        rows = self.raws(self.quantised(samples)).astype(np.float32)
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
