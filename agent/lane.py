"""The straight line from a sample to its command: read, prepare, infer, decide, send. Read this first.

A lane runs to completion on one dedicated thread. Between a sample and its command there is no queue, no hand-over
and no second thread; the blocking C calls (read, OpenCV, the interpreter, ZeroMQ) release the GIL.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from agent import ledger
from agent.arrival import Arrivals
from agent.commands.outbox import Outbox
from agent.data import NEVER, Decision, Evidence, Sample
from agent.ledger import Ledger
from agent.packages.outputs import ModelFault
from agent.perception import Perception
from agent.rules.scene import Scene
from agent.tapes.tapes import Tapes
from drivers.base import DeviceError, DeviceTimeout, Stream

log = logging.getLogger("reflexd.lane")

FIRST_RETRY_S, LAST_RETRY_S, HELLO_S = 0.1, 5.0, 0.05
COARSE = "coarse"  # mark of evidence that the refining model had no time for


class Limits(NamedTuple):
    """timeout_ns: a sample older than this is stale, and so is the source. stop_after: samples to take, 0 = no end."""

    timeout_ns: int
    budget_ms: float
    critical: bool = True
    drop_late: frozenset[str] = frozenset()
    stop_after: int = 0


class Lane:
    """One source, one model, one thread."""

    def __init__(
        self,
        name: str,
        source: Stream,
        perception: Perception,
        limits: Limits,
        own_ledger: Ledger,
        tapes: Tapes | None = None,
    ) -> None:
        """tapes: None: nobody records or watches the lane."""
        self.name = name
        self.source = source
        self.perception = perception
        self.limits = limits
        self.ledger = own_ledger
        self.tapes = tapes
        self.evidence: list[Evidence] | None = None  # of the newest sample; None where no inference was due
        self.dropped: list[Decision] = []
        self.decided: deque[Decision] = deque(maxlen=64)  # for the log, which the control plane writes
        self.t_capture = 0  # capture time of the newest sample that was decided on
        self.healthy = True
        self.reason = ""  # of the newest fault
        self.retry_s = FIRST_RETRY_S
        self.stamps = [0, 0]  # prepared, inferred: for the ledger only
        self.stopping = threading.Event()
        # Called between two samples with the one before, while a version is on trial (update/probation/visitor.py).
        self.between: Callable[[Sample | None], None] | None = None
        self.arrivals = Arrivals(source, perception, limits.timeout_ns, own_ledger)
        self.recorded_time = self.arrivals.recorded_time
        self.ttl = limits.timeout_ns // 1000
        self.budget_ns = int(limits.budget_ms * 1e6)

    def step(self, sample: Sample, scene: Scene) -> list[Decision] | None:
        """What changes for the actuators because of this sample; None while no inference is due.

        Time comes with the sample: the clock read here goes to the ledger and decides nothing.
        """
        stamps, clock = self.stamps, time.monotonic_ns
        if not self.perception.prepare(sample):
            stamps[0] = stamps[1] = clock()
            self.evidence = None
            return None
        stamps[0] = clock()
        evidence = self.evidence = self.infer(sample)
        stamps[1] = clock()
        return scene.decide(self.name, sample.t_capture, evidence)

    def infer(self, sample: Sample) -> list[Evidence]:
        """The models' findings with the lane's name and the capture time on them."""
        findings = self.perception.infer(sample, NEVER if self.recorded_time else sample.t_capture + self.budget_ns)
        if reuse := self.perception.reuse:
            self.ledger.record_reuse(reuse)
        if findings:
            self.ledger.record_evidence(findings[0].label, findings[0].score, sample.t_capture)
        coarse = COARSE if self.perception.refine_skipped else ""
        return [
            Evidence(lane=self.name, label=label, score=score, t_capture=sample.t_capture, box=box, mark=coarse or mark)
            for label, score, box, mark, _ in findings
        ]

    def play(self, scene: Scene) -> Iterator[tuple[Sample, list[Decision]]]:
        """A recording that carries its own time, as fast as it goes: each sample with what changes because of it."""
        self.open()
        for sample in self.source.remaining_samples():
            yield sample, self.step(sample, scene) or []

    def process_samples(self, scene: Scene, outbox: Outbox) -> None:
        """Sample after sample until asked to stop. Raises DeviceError, EOFError."""
        read, accept, clock, cells = self.source.read, self.arrivals.accept, time.monotonic_ns, self.ledger.cells
        outbox.hello(HELLO_S)
        sample: Sample | None = None
        while not self.stopping.is_set():
            if self.between is not None:
                self.between(sample)
            asked = cells[ledger.PROGRESS] = clock()
            sample = read(outbox.wait_s)
            now = clock()
            outbox.collect_other_clocks(now)
            if sample is not None and accept(sample, now):
                decisions = self.step(sample, scene)
                decided = clock()
                if not self.healthy:
                    self.healthy = True
                    log.warning("lane %s: %s is back", self.name, self.source.name)
                if decisions is not None:
                    sent = self.send(sample, decisions, scene, outbox)
                    self.ledger.count[ledger.INFERENCES] += 1
                    times = sample.t_capture, asked, now, *self.stamps, decided, sent
                    self.ledger.write(sample.sequence, *times)
                elif self.perception.thinned:
                    self.ledger.count[ledger.THINNED] += 1
                elif self.perception.shed:
                    self.ledger.count[ledger.SHED] += 1
                elif self.perception.gated:
                    self.ledger.count[ledger.GATED] += 1
                    self.t_capture = self._command_time(sample)  # the gate checked it: what is in force is still true
                if self.tapes:
                    self._record(self.tapes, sample, scene, decisions or (), (now, decided))
            elif now - max(self.arrivals.t_accepted, self.source.t_next) > self.limits.timeout_ns:
                silence_ms, reason = self.limits.timeout_ns / 1e6, self.arrivals.reason
                raise DeviceTimeout(f"no new picture, sound or reading for {silence_ms:.0f} ms: {reason}")
            outbox.heartbeat(clock(), self.t_capture, self.ttl, scene.current)
            outbox.collect(clock())
            if self.limits.stop_after and self.ledger.count[ledger.SAMPLES] >= self.limits.stop_after:
                raise EOFError

    def send(self, sample: Sample, decisions: list[Decision], scene: Scene, outbox: Outbox) -> int:
        """Send what was decided; the time when it had left, 0 if there was nothing to send."""
        t_capture = self.t_capture = self._command_time(sample)
        self.dropped.clear()
        if not decisions:
            return 0
        count, row = self.ledger.count, self.ledger.next_row()
        for decision in decisions:
            count[ledger.DECISIONS] += 1
            if late := 0 < decision.deadline < time.monotonic_ns() and not self.recorded_time:
                count[ledger.LATE] += 1
                if decision.rule in self.limits.drop_late:
                    scene.withdraw(decision)
                    self.dropped.append(decision)
                    continue
            self.decided.append(decision)
            count[ledger.SENT] += outbox.send(decision, t_capture, self.ttl, row, late)
        return time.monotonic_ns()

    def _command_time(self, sample: Sample) -> int:
        """As of when commands hold: the capture, or now where the recording's time is not the clock's."""
        return time.monotonic_ns() if self.recorded_time else sample.t_capture

    def _record(
        self, tapes: Tapes, sample: Sample, scene: Scene, decisions: Sequence[Decision], times: tuple[int, int]
    ) -> None:
        """times: read, decided."""
        if tapes.tape:
            order, flags_and_region = scene.order.get(self.name, 0), self.perception.replay_flags
            discontinuity, self.arrivals.discontinuity = self.arrivals.discontinuity, False
            tapes.tape.write(sample, order, discontinuity, self.evidence, decisions, self.dropped, *flags_and_region)
        if tapes.evidence and self.evidence is not None:
            tapes.evidence.write(sample.t_capture, self.evidence)
        if tapes.live and tapes.live.watched(times[0]):
            stamps = times[0], *self.stamps, times[1]
            tapes.live.write(sample, stamps, self.evidence, self.perception.points)

    def run(self, scene: Scene, outbox: Outbox) -> None:
        """Open, process samples; when the device fails: close, wait, open again. Returns when stopped or at its end."""
        outbox.wait_connected(0.5)
        while not self.stopping.is_set():
            try:
                self.open()
                self._process_past_model_faults(scene, outbox)
            except EOFError:
                self.ledger.state = ledger.ENDED
                log.info("lane %s: end of the recording", self.name)
                break
            except DeviceError as error:
                self._count_fault(error, outbox)
            finally:
                self.ledger.start_call(self.source.open_limit_s)
                self.source.close()
                self.ledger.end_call()
            self._pause(outbox)
        else:
            self.ledger.state = ledger.CLOSED  # in good order; what is killed leaves another state behind
        outbox.close()
        if self.tapes:
            self.tapes.remove()

    def open(self) -> None:
        """Open the source and make the preparation for what it delivers."""
        self.ledger.state = ledger.OPENING
        self.ledger.start_call(self.source.open_limit_s)
        self.source.open()
        self.arrivals.restart(self.healthy)
        self._start_models()
        if self.tapes:
            self.tapes.open(self.perception.recorded_engines, self.source)
        self.ledger.end_call()

    def _start_models(self) -> None:
        self.t_capture = 0
        self.perception.start(self.source)
        self.ledger.state = ledger.RUNNING

    def _count_fault(self, error: DeviceError, outbox: Outbox) -> None:
        """Counted; logged where the lane was healthy. Without this lane's heartbeats its actuators go safe."""
        self.ledger.count[ledger.FAULTS] += 1
        self.ledger.state = ledger.GONE
        self.reason = str(error)
        self.retry_s = FIRST_RETRY_S if self.healthy else min(2 * self.retry_s, LAST_RETRY_S)
        if self.healthy:
            log.warning("lane %s: %s; trying again until it is back", self.name, error)
        self.healthy = False
        if not self.limits.critical:
            outbox.goodbye()

    def _pause(self, outbox: Outbox) -> None:
        """Wait before the source is opened again."""
        end = time.monotonic() + self.retry_s
        while time.monotonic() < end and not self.stopping.wait(0.02):
            now = self.ledger.cells[ledger.PROGRESS] = time.monotonic_ns()
            outbox.collect(now)

    def _process_past_model_faults(self, scene: Scene, outbox: Outbox) -> None:
        """The source stays open while a model is at fault. Raises DeviceError of the source, EOFError."""
        while not self.stopping.is_set():
            try:
                self.process_samples(scene, outbox)
            except ModelFault as fault:
                self._count_fault(fault, outbox)
                self._skip_samples(outbox)
                self._start_models()

    def _skip_samples(self, outbox: Outbox) -> None:
        """Wait before the model runs again, and read on meanwhile: no queue of the device overflows."""
        end = 0.0 if self.recorded_time else time.monotonic() + self.retry_s
        while time.monotonic() < end and not self.stopping.is_set():
            now = self.ledger.cells[ledger.PROGRESS] = time.monotonic_ns()
            sample = self.source.read(outbox.wait_s)
            if sample is not None:
                self.arrivals.skip(sample)
            outbox.collect(now)
        self.arrivals.resume()
