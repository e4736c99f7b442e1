"""`reflexd bench heads`: two heads on one backbone against two whole models, and what loading a head costs the lanes.

Blocks in which a head is loaded and freed ten times a second alternate with equally long ones in which none is.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import numpy as np
import psutil

from agent import ledger
from agent.benches.programs import Milliseconds
from agent.box import realtime
from agent.box.machine import machine
from agent.decoders import base as decoders
from agent.isolated import python
from agent.packages import package
from agent.packages.answers import keep_answers
from agent.packages.on_demand import OnDemandEngine, make_on_demand
from agent.vision.config import HeadConfig
from agent.vision.heads import Heads

BACKBONE, HEAD, SECOND, WHOLE, SENSOR = "person-trunk", "person-head", "view-head", "person-coarse", "arm-deviation"
SENSOR_S, CAMERA_S = 0.001, 0.02  # from one sample to the next
LOADS, SHORT_LOADS, BLOCK, EVERY = 200, 40, 20, 5  # loads; in a block; samples of the camera from one to the next
RUNS, SHORT_RUNS = 1000, 300
REFINING, ANSWERS = "movenet", 30
ALWAYS = HeadConfig.model_validate({})
NO_LABEL = "no label"  # nothing finds it: the bench itself asks for the head
ARRANGEMENTS = {"two heads": (BACKBONE, HEAD, SECOND), "one head": (BACKBONE, HEAD), "two whole": (WHOLE, WHOLE)}


def measure(short: bool) -> dict[str, Any]:
    """ms; memory in MB."""
    realtime.set_process()
    click.echo("two minutes at most", err=True)
    return {
        "machine": machine(),
        "short": short,
        "fifo": realtime.fifo_setting().on,
        **_stalls(SHORT_LOADS if short else LOADS),
        "sample_cpu_ms": _sample_cpu_ms(SHORT_RUNS if short else RUNS),
        "answer_cpu_ms": _answer_cpu_ms(),
        "memory_mb": {name: _memory(packages) for name, packages in ARRANGEMENTS.items()},
    }


class _Camera:
    """The work of a camera lane with both heads, the second of them on demand."""

    def __init__(self) -> None:
        self.trunk, first, second = (package.open_package(package.find(name)) for name in (BACKBONE, HEAD, SECOND))
        make_on_demand(second, 1, realtime.fifo_setting().on)
        assert isinstance(second.network, OnDemandEngine)
        self.engine = second.network
        self.heads = Heads(
            self.trunk, [(first, ALWAYS), (second, HeadConfig.model_validate({"when": NO_LABEL, "idle_s": 0}))]
        )
        self.loading = False
        self.load_ms: list[float] = []
        self._number = 0

    def __call__(self) -> None:
        self.trunk.infer()
        if self.engine.engine is not None:
            self.load_ms.append(self.engine.load_ms)
        self.heads(self._number, False)  # which frees the second, as it is not needed
        self._number += 1
        if self.loading and self._number % EVERY == 0:
            self.engine.request()


class _Lane(threading.Thread):
    """Works at each beat. beats: when each was due, s, and how much later its work was done, ms."""

    def __init__(self, work: Callable[[], object], beat_s: float) -> None:
        super().__init__(daemon=True)
        self._work, self._beat_s = work, beat_s
        self.beats: list[tuple[float, float]] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        realtime.set_thread([], realtime.fifo_setting().on)
        due = time.monotonic()
        while not self.stopping.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            self._work()
            now = time.monotonic()
            self.beats.append((due, (now - due) * 1e3))
            due = max(due + self._beat_s, now)

    def between(self, start: float, end: float) -> Milliseconds:
        return np.array([ms for due, ms in self.beats if start <= due < end])


class _Block(NamedTuple):
    """ms of the beats of both lanes."""

    sensor: Milliseconds
    camera: Milliseconds


def _stalls(loads: int) -> dict[str, Any]:
    """worst_stall_ms: a lane's worst beat while a head is loaded now and then, less its worst without."""
    camera, sensor = _Camera(), package.open_package(package.find(SENSOR))
    lanes = _Lane(sensor.infer, SENSOR_S), _Lane(camera, CAMERA_S)
    for lane in lanes:
        lane.start()
    pairs = [(_block(lanes, camera, True), _block(lanes, camera, False)) for _ in range(loads // BLOCK)]
    for lane in lanes:
        lane.stopping.set()
        lane.join()
    return {
        "loads": camera.engine.loads,
        "load_ms": _figures(np.array(camera.load_ms)),
        "sensor": _compared([(one.sensor, two.sensor) for one, two in pairs]),
        "camera": _compared([(one.camera, two.camera) for one, two in pairs]),
    }


def _block(lanes: Sequence[_Lane], camera: _Camera, loading: bool) -> _Block:
    camera.loading = loading
    start = time.monotonic()
    time.sleep(BLOCK * EVERY * CAMERA_S)
    return _Block(*(lane.between(start, time.monotonic()) for lane in lanes))


def _compared(pairs: Sequence[tuple[Milliseconds, Milliseconds]]) -> dict[str, Any]:
    loading, control = (np.concatenate(each) for each in zip(*pairs))
    stall = round(float(loading.max() - control.max()), 3)
    return {"loading_ms": _figures(loading), "control_ms": _figures(control), "worst_stall_ms": stall}


def _figures(ms: Milliseconds) -> dict[str, float]:
    return {name: round(value, 3) for name, value in ledger.quantiles(ms).items()}


def _sample_cpu_ms(runs: int) -> dict[str, float]:
    """Processor time of a sample, median, in turns: the backbone with both heads, and two whole models."""
    trunk, first, second, whole, other = (
        package.open_package(package.find(name)) for name in (BACKBONE, HEAD, SECOND, WHOLE, WHOLE)
    )
    heads = Heads(trunk, [(first, ALWAYS), (second, ALWAYS)])
    works: dict[str, Callable[[], object]] = {
        "two heads": lambda: (trunk.infer(), heads(0, False)),
        "two whole": lambda: (whole.infer(), other.infer()),
        "backbone": trunk.infer,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            start = time.thread_time_ns()
            work()
            times[name].append((time.thread_time_ns() - start) / 1e6)
    return {name: round(median(each), 4) for name, each in times.items()}


def _answer_cpu_ms() -> dict[str, float]:
    """Processor time of a refining model's answer, median: computed, computed and kept, and taken from the cache."""
    plain, kept = (package.open_package(package.find(REFINING)) for _ in range(2))
    keep_answers(kept)
    times: dict[str, list[float]] = {"computed": [], "kept": [], "from cache": []}
    for number in range(ANSWERS):
        for name, opened in zip(times, (plain, kept, kept)):
            opened.engine.input(0)[...] = number
            start = time.thread_time_ns()
            opened.engine.invoke()
            times[name].append((time.thread_time_ns() - start) / 1e6)
    return {name: round(median(each), 4) for name, each in times.items()}


def _memory(packages: Sequence[str]) -> dict[str, float]:
    """In a process of its own: memory that was freed before would be used again."""
    run = subprocess.run(python("agent.benches.heads", *packages), check=True, capture_output=True, text=True)
    added: dict[str, float] = json.loads(run.stdout)
    return added


def main(packages: Sequence[str]) -> None:
    """Print what these packages add to a process once they run, and at the most while they load, MB."""
    package.open_package(package.find(SENSOR))  # the engine's own libraries, and the decoders'
    for name in packages:
        decoders.load(package.read(package.find(name)).decoder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
    before = psutil.Process().memory_info().rss
    opened = [package.open_package(package.find(name)) for name in packages]
    for each in opened:
        each.infer()
    after, most = psutil.Process().memory_info().rss, _peak_bytes()
    click.echo(json.dumps({"added": round((after - before) / 1e6, 2), "peak": round((most - before) / 1e6, 2)}))


def _peak_bytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def text(result: dict[str, Any]) -> str:
    """The same in words."""
    head = f"{result['machine']}{'' if result['fifo'] else '; without SCHED_FIFO: other programs are in the figures'}"
    lines = [head, f"{result['loads']} loads of {SECOND}, {result['load_ms'].get('p50', 0)} ms each (p50)"]
    for lane in ("sensor", "camera"):
        rows = result[lane]
        worst = f"worst {rows['loading_ms']['max']} ms while it loads, {rows['control_ms']['max']} ms without"
        lines.append(f"  {lane} lane: {worst}: {rows['worst_stall_ms']} ms later")
    times = ", ".join(f"{name} {ms} ms" for name, ms in result["sample_cpu_ms"].items())
    answers = ", ".join(f"{name} {ms} ms" for name, ms in result["answer_cpu_ms"].items())
    sizes = [f"{name} {each['added']} (peak {each['peak']})" for name, each in result["memory_mb"].items()]
    lines += [f"processor time of a sample (p50): {times}", f"of an answer of {REFINING}: {answers}"]
    return "\n".join([*lines, f"memory, MB: {', '.join(sizes)}"])


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
