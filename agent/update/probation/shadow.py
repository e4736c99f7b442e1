"""Two versions of a model on the same live inputs: one decides in its lane, the other computes beside it, off the lane.

The lane's thread only copies what the engine has read and computed, a few times a second (`Shadow.offer`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agent.backends.base import Engine, real_values
from agent.box import realtime
from agent.data import NEVER, Array
from agent.decoders.base import DecoderError, Finding
from agent.packages.outputs import ModelFault, Outputs
from agent.packages.package import Package, labels, new_decoder
from agent.packages.recorded import RecordedEngine
from agent.packages.shared import SharedEngine
from agent.prepare.quantise import stored
from agent.update.probation.agreement import agree

log = logging.getLogger("reflexd.update")
EVERY_NS = 50_000_000  # at most this often: the lane copies, and the other version takes a core
POLL_S = 0.005
NEWEST = 500  # inputs whose agreement counts: a model that goes wrong after a day is noticed as soon as another
MAX_TIMES = 4096  # of inferences, for their p99


class Copy(NamedTuple):
    """Of one inference of the lane: the input and the outputs, as the engine stores them."""

    given: Array
    outputs: list[Array]


class Shadow:
    """live: the version in the lane. other: the one beside it, used by nobody else."""

    def __init__(self, live: Package, other: Package, asked: Mapping[str, float], realtime: bool) -> None:
        """asked: as of `agreement.asked_scores`. realtime: the lanes are on SCHED_FIFO. Raises PackageError."""
        self._realtime = realtime
        self.live, self.other = live, other
        known = {label for each in (live, other) for label in labels(each.folder, each.manifest)}
        self.asked = {label: score for label, score in asked.items() if label in known}
        self.comparable = not live.engine.has_memory and not other.engine.has_memory
        self.compared = 0
        self.newest: deque[bool] = deque(maxlen=NEWEST)  # whether they agreed
        self.fault = ""  # why the other version cannot go on
        self.times_ms: list[float] = []  # processor time of the other version's inferences
        self._waiting: Copy | None = None
        self._t_offered = 0
        self._stop = threading.Event()
        self._copied = RecordedEngine(live.engine)
        # Decoders remember; the lane's own belongs to its thread.
        self._decoder = new_decoder(live)
        self._outputs = Outputs(live.name, self._copied, self._decoder.reads_stored)
        if isinstance(other.network, SharedEngine):
            other.network.deadline = NEVER  # after every lane
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The thread ends after the inference that it is in."""
        self._stop.set()

    @property
    def agreement(self) -> float:
        """Share of the newest inputs on which both say the same; 1 before the first."""
        newest = list(self.newest)
        return newest.count(True) / len(newest) if newest else 1.0

    def offer(self, t_capture: int) -> None:
        """On the lane's thread, after an inference and before the next."""
        if self._waiting is not None or not self.comparable or 0 <= t_capture - self._t_offered < EVERY_NS:
            return
        self._t_offered = t_capture
        engine = self.live.engine
        outputs = [engine.output(number).copy() for number in range(len(engine.outputs))]
        self._waiting = Copy(engine.input(0).copy(), outputs)

    def _run(self) -> None:
        realtime.set_thread([], self._realtime, realtime.CONTROL_PRIORITY)
        with realtime.quick_switching():
            while not self._stop.wait(POLL_S):
                copy = self._waiting
                if copy is None:
                    continue
                try:
                    self._compare(copy)
                except Exception as error:  # of any engine or decoder: this version does not stand beside the other
                    self.fault = str(error) or type(error).__name__
                    return
                self._waiting = None

    def _compare(self, copy: Copy) -> None:
        """Raises ModelFault."""
        other = self.other
        other.engine.input(0)[...] = _converted(copy.given, self.live.engine, other.engine)
        start = time.thread_time_ns()
        findings = other.infer()
        self.times_ms = [*self.times_ms[1 - MAX_TIMES :], (time.thread_time_ns() - start) / 1e6]
        same = agree(
            (self._live_findings(copy), findings), (self._decoder.keypoints, other.decoder.keypoints), self.asked
        )
        self.newest.append(same)
        self.compared += 1

    def _live_findings(self, copy: Copy) -> Sequence[Finding]:
        """Raises ModelFault; the lane would have had it."""
        self._copied.recorded = copy.outputs
        try:
            return self._decoder(self._outputs.read(self._copied))
        except DecoderError as error:
            raise ModelFault(f"model {self.live.name}: {error}") from error

    @property
    def p99_ms(self) -> float:
        """Of processor time; 0 before the first."""
        times = list(self.times_ms)
        return float(np.percentile(times, 99)) if times else 0.0


def _converted(given: Array, live: Engine, other: Engine) -> Array:
    """An input of one as that of the other, which may be quantised differently."""
    source, target = live.inputs[0], other.inputs[0]
    if (source.scale, source.zero_point, np.dtype(source.dtype)) == (
        target.scale,
        target.zero_point,
        np.dtype(target.dtype),
    ):
        return given
    return stored(real_values(given, source), target)
