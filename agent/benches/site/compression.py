"""Bytes and error of the activations of three bundled networks, packed for another box; time of one tensor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent import compression
from agent.data import Array
from agent.packages import package
from agent.packages.inputs import samples

KEYS = ("compression",)
MODELS = ("movenet", "objects", "person-coarse")
GOALS = {"4x": 0.021, "6x": 0.035}  # times smaller than float32: at this relative error
LEVELS = (1, 3, 6, 9)
LEAST = 4096  # values: what is smaller costs a packet either way
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")
TIMED = (14, 14, 192)  # half-way through a MobileNet
TIMED_MS = 0.5


class Activation(NamedTuple):
    """values: float32, real values."""

    name: str
    values: Array


def measure(short: bool) -> dict[str, Any]:
    """Ratios are to float32, errors are rms to rms, times are processor time in ms."""
    rows, timed = {}, np.zeros(0, np.float32)
    for model in MODELS:
        tensors = list(_activations(model, 1 if short else 3))
        rows[model] = {"tensors": len(tensors), **{goal: _row(tensors, error) for goal, error in GOALS.items()}}
        if model == MODELS[0]:
            timed = _hardest(tensors)
    times = {str(level): _times(timed, level, 20 if short else 200) for level in LEVELS}
    return {"compression": {"models": rows, "levels": times, "level": compression.LEVEL}}


def _hardest(tensors: Sequence[Activation]) -> Array:
    """Values of those that shrink least, as one tensor of the size that is timed."""
    ordered = sorted(tensors, key=lambda each: _packed(each.values, GOALS["6x"])[0])
    return np.concatenate([each.values.ravel() for each in ordered])[: np.prod(TIMED)].reshape(TIMED)


def _row(tensors: Sequence[Activation], target: float) -> dict[str, Any]:
    ratios, errors = zip(*(_packed(each.values, target) for each in tensors))
    worst = int(np.argmin(ratios))
    return {
        "target": target,
        "ratio_min": round(min(ratios), 2),
        "ratio_median": round(float(np.median(ratios)), 2),
        "worst": tensors[worst].name,
        "error_max": round(max(errors), 5),
    }


def _packed(values: Array, target: float) -> tuple[float, float]:
    """(times smaller, relative error) after the way there and back."""
    data = compression.pack(values, target)
    rest = compression.unpack(data).astype(np.float64) - values
    scale = float(np.sqrt(np.mean(values.astype(np.float64) ** 2))) or 1.0
    return values.size * 4 / len(data), float(np.sqrt(np.mean(rest**2))) / scale


def _times(values: Array, level: int, repeats: int) -> dict[str, float]:
    """Of one thread, so that other programs do not count. Both goals' steps in turn; the slower one."""
    ms = {}
    for target in GOALS.values():
        taken = []
        for _ in range(repeats):
            start = time.thread_time_ns()
            data = compression.pack(values, target, level)
            taken.append((time.thread_time_ns() - start) / 1e6)
        ms[float(np.median(taken))] = values.size * 4 / len(data)
    slowest = max(ms)
    return {"ms": round(slowest, 3), "ratio": round(ms[slowest], 2)}


def _activations(model: str, inputs: int) -> Iterator[Activation]:
    """What each layer of the network computes from its golden inputs: any of them may be where a network is cut."""
    opened = package.open_package(package.find(model), backend="litert")
    interpreter = _interpreter(opened.folder / opened.manifest.file)
    rows, _ = samples(opened)
    entry = interpreter.get_input_details()[0]["index"]
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    for row in rows[:inputs]:
        interpreter.set_tensor(entry, np.asarray(row).reshape(details[entry]["shape"]))
        interpreter.invoke()
        for index in _computed(interpreter):
            if index in details and np.prod(details[index]["shape"]) >= LEAST:
                yield Activation(details[index]["name"], _real(interpreter.get_tensor(index), details[index]))


def _interpreter(path: Path) -> Any:
    """Without the delegate, in which there are no tensors to read."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(str(path), experimental_op_resolver_type=plain, experimental_preserve_all_tensors=True)
    made.allocate_tensors()
    return made


def _computed(interpreter: Any) -> list[int]:
    """Tensors that a layer writes, each once; not the weights, which are tensors, too."""
    layers = [each for each in interpreter._get_ops_details() if each["op_name"] in LAYERS]
    return list(dict.fromkeys(int(index) for each in layers for index in each["outputs"]))


def _real(stored: Array, detail: dict[str, Any]) -> Array:
    scale, zero_point = detail["quantization"]
    values: Array = stored.astype(np.float32)
    return (values - np.float32(zero_point)) * np.float32(scale) if scale else values


def text(result: dict[str, Any]) -> str:
    figures = result["compression"]
    lines = [f"{'activations of':<16}{'tensors':>8}{'goal':>6}{'least':>8}{'median':>8}{'most error':>12}"]
    for model, row in figures["models"].items():
        for goal in GOALS:
            each = row[goal]
            label, count = (model, row["tensors"]) if goal == "4x" else ("", "")
            ratios = f"{each['ratio_min']:>7.2f}x{each['ratio_median']:>7.2f}x"
            lines.append(f"{label:<16}{count:>8}{goal:>6}{ratios}{100 * each['error_max']:>10.2f} %")
    shape = "x".join(map(str, TIMED))
    for level, row in figures["levels"].items():
        chosen = " (used)" if int(level) == figures["level"] else ""
        lines.append(f"{shape} at zstd {level}: {row['ms']:.3f} ms of processor time, {row['ratio']:.2f}x{chosen}")
    return "\n".join(lines)
