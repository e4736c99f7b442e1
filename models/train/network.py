"""Runs a .tflite file with the interpreter that ships; needs no TensorFlow."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from agent.data import Array


class NetworkFiles(NamedTuple):
    """One network as three .tflite files: as trained; pruned and trained again; pruned in INT8."""

    full: bytes
    pruned: bytes
    int8: bytes


class Network:
    """A loaded .tflite file: float32 in and out, whatever it computes with."""

    def __init__(self, content: bytes) -> None:
        self.interpreter = Interpreter(model_content=content, num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]

    def run(self, sample: Array) -> Array:
        """One sample in the dtype of the input [...] to values in the dtype of the output [...]."""
        self.interpreter.set_tensor(self.input["index"], sample[None])
        self.interpreter.invoke()
        return np.asarray(self.interpreter.get_tensor(self.output["index"])[0])

    def run_all(self, samples: Array) -> Array:
        """Samples in the dtype of the input [n, ...], one after the other as in operation, to outputs [n, ...]."""
        return np.stack([self.run(sample) for sample in samples])

    def quantised(self, samples: Array) -> Array:
        scale, zero = self.input["quantization"]
        if not scale:
            return samples.astype(np.float32)
        return np.asarray(np.clip(np.rint(samples / scale) + zero, -128, 127).astype(np.int8))

    def __call__(self, samples: Array) -> Array:
        """float32 [n, ...] to float32 [n, ...], one after the other as in operation."""
        scale, zero = self.output["quantization"]
        rows = self.run_all(self.quantised(samples)).astype(np.float32)
        return (rows - zero) * scale if scale else rows

    def median_ms(self, samples: Array, times: int = 2000) -> float:
        """Median time of one invoke, without copying data in and out."""
        seconds = []
        for sample in self.quantised(samples[np.arange(times) % len(samples)]):
            self.interpreter.set_tensor(self.input["index"], sample[None])
            start = time.perf_counter()
            self.interpreter.invoke()
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds)) * 1e3
