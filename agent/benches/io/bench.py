"""`reflexd bench io`: how long `apply` of each industrial driver takes, against a real counterpart on this machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from agent.benches.io import rtsp
from agent.box import realtime
from agent.box.machine import machine
from agent.data import Array
from drivers import base as drivers
from drivers.base import Actuator

MODULES = {"modbus_tcp": "modbus", "opcua": "opcua", "mqtt": "mqtt", "http": "http", "can": "can", "gpio": "gpio"}
SHORT_TIMES, WARM_UP = 200, 20
RTSP = "rtsp_first_picture_s"
OPENINGS, SHORT_OPENINGS = 10, 3


def measure(times: int, short: bool = False) -> dict[str, Any]:
    """For each protocol p50 and p99 of a command in ms, or null, with the reason in `reasons`.

    CAN and GPIO also have `ratio`: their p99 to that of the bare system call, in turns with it. rtsp_first_picture_s:
    p50 and max of some openings of camera.rtsp, in seconds.
    """
    times = min(times, SHORT_TIMES) if short else times
    result: dict[str, Any] = {"machine": machine(), "short": short, "times": times}
    reasons: dict[str, str] = {}
    for key in MODULES:
        result[key], reasons[key] = measure_one(key, times)
    result[RTSP], reasons[RTSP] = _first_pictures(SHORT_OPENINGS if short else OPENINGS)
    return {**result, "reasons": {key: reason for key, reason in reasons.items() if reason}}


def measure_one(key: str, times: int) -> tuple[dict[str, float] | None, str]:
    """(figures of one protocol, ""), or (None, the reason). Raises OSError, DeviceError where its counterpart fails."""
    name = MODULES[key]
    counterpart = import_module(f"agent.benches.io.{name}")
    if reason := counterpart.reason():
        return None, reason
    # As in the host: every call of a driver comes from one real-time thread.
    with ThreadPoolExecutor(1, initializer=_set_thread) as thread:
        return thread.submit(_measured, counterpart, f"actuator.{name}", times).result(), ""


def _first_pictures(openings: int) -> tuple[dict[str, float] | None, str]:
    """As `measure_one`."""
    if reason := rtsp.reason():
        return None, reason
    seconds = rtsp.first_picture_s(openings)
    return {"p50": round(float(np.median(seconds)), 3), "max": round(max(seconds), 3), "openings": openings}, ""


def _set_thread() -> None:
    realtime.set_thread([], realtime.fifo_setting().on, realtime.ACTUATOR_PRIORITY)


def _measured(counterpart: ModuleType, name: str, times: int) -> dict[str, float]:
    with counterpart.server() as options, _opened(name, options) as actuator:
        if not hasattr(counterpart, "bare"):
            (ms,) = _times(times, [actuator])
            return _figures(ms)
        with counterpart.bare(options) as call:
            ms, bare = _times(times, [actuator, call])
            figures = {**_figures(ms), **{f"bare_{name}": ms for name, ms in _figures(bare).items()}}
            return {**figures, "ratio": round(figures["p99"] / figures["bare_p99"], 2)}


@contextmanager
def _opened(name: str, options: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """A call that switches on and off in turn."""
    module = drivers.load(name)
    given = {key: value for key, value in options.items() if key != "driver"}
    actuator: Actuator = module.Driver(module.Options.model_validate(given), "bench")
    actuator.open()
    verbs = itertools.cycle(("on", "off"))
    try:
        yield lambda: actuator.apply(next(verbs), {})
    finally:
        actuator.close()


def _times(times: int, calls: Sequence[Callable[[], None]]) -> list[Array]:
    """Milliseconds of each call, which take turns; the first ones do not count."""
    ms = np.empty((WARM_UP + times, len(calls)))
    for row in ms:
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            row[index] = (time.perf_counter() - start) * 1e3
    return list(ms[WARM_UP:].T)


def _figures(ms: Array) -> dict[str, float]:
    return {"p50": round(float(np.percentile(ms, 50)), 3), "p99": _p99(ms)}


def _p99(ms: Array) -> float:
    return round(float(np.percentile(ms, 99)), 3)


def text(result: dict[str, Any]) -> str:
    """One line for each protocol."""
    lines = []
    for key in MODULES:
        row = result[key]
        if row is None:
            lines.append(f"{key:<11} not run: {result['reasons'][key]}")
            continue
        ratio = f", {row['ratio']:.2f} x the bare call" if "ratio" in row else ""
        lines.append(f"{key:<11} p50 {row['p50']:.3f} ms, p99 {row['p99']:.3f} ms{ratio}")
    lines.append(_rtsp_line(result))
    return "\n".join([*lines, f"{result['times']} commands of each, on {result['machine']}"])


def _rtsp_line(result: dict[str, Any]) -> str:
    row = result[RTSP]
    if row is None:
        return f"rtsp        not run: {result['reasons'][RTSP]}"
    return f"rtsp        first picture p50 {row['p50']:.2f} s, max {row['max']:.2f} s, of {row['openings']} openings"
