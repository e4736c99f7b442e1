"""The straight line from a sample to its command: read, prepare, infer, fuse, decide, send. Read this first.

A lane runs to completion on one dedicated thread. Between a sample and its command there is no queue, no hand-over
and no second thread; the blocking C calls (read, OpenCV, the interpreter, ZeroMQ) let go of the GIL.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from agent import ledger as book
from agent.data import FUTURE_NS, Decision, Evidence, Sample
from agent.ledger import Ledger
from agent.outbox import Outbox
from agent.perception import Perception
from agent.scene import Scene
from agent.tape import Reel, Tape
from drivers.base import DeviceError, DeviceTimeout, SensorStream, Stream, open_source

log = logging.getLogger("reflexd.lane")

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0
FROZEN = "frozen?"
NEVER = 1 << 62
COARSE = "coarse"  # mark of evidence that the fine model had no time for


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
        self, name: str, source: Stream, perception: Perception, limits: Limits, ledger: Ledger, reel: Reel | None = None
    ) -> None:  # fmt: skip
        """reel: where the recorder looks; None for nowhere."""
        self.name = name
        self.source = source
        self.perception = perception
        self.limits = limits
        self.ledger = ledger
        self.reel = reel
        self.tape: Tape | None = None
        self.evidence: list[Evidence] | None = None  # of the newest sample; None where no inference was due
        self.dropped: list[Decision] = []
        self.decided: deque[Decision] = deque(maxlen=64)  # for the log, which the control plane writes
        self.anew = True  # what comes next has no neighbour before it
        self.last_sequence = -1
        self.t_fresh = 0  # when the newest good sample came
        self.t_capture = 0  # capture time of the newest sample that was decided on
        self.well = True
        self.news = 0  # good samples since open
        self.why = FROZEN
        self.stamps = [0, 0]  # prepared, inferred: for the ledger only
        self.stopping = threading.Event()
        # Recordings that run "as fast as possible" carry their own time; their commands count from when they are sent.
        self.virtual = getattr(source.options, "pace", "real") == "fast"
        self.ttl = limits.timeout_ns // 1000
        self.budget_ns = int(limits.budget_ms * 1e6)

    # -- one sample: pure but for the stop-watch, so that a recording replays exactly --------------------------

    def step(self, sample: Sample, scene: Scene) -> list[Decision] | None:
        """What changes for the actuators because of this sample; None while the model has too little to see.

        Time comes with the sample. The clock read here goes to the ledger and decides nothing; only a fine model looks at
        one, and whether it had time is recorded.
        """
        stamps, clock = self.stamps, time.monotonic_ns
        if not self.perception.show(sample):
            stamps[0] = stamps[1] = clock()
            self.evidence = None
            return None
        stamps[0] = clock()
        evidence = self.evidence = self.see(sample)
        stamps[1] = clock()
        return scene.bring(self.name, sample.t_capture, evidence)

    def see(self, sample: Sample) -> list[Evidence]:
        t_capture = sample.t_capture
        findings = self.perception.see(sample, NEVER if self.virtual else t_capture + self.budget_ns)
        if findings:
            self.ledger.note_evidence(findings[0].label, findings[0].score, t_capture)
        hurried = self.perception.hurried
        return [Evidence(self.name, *one[:2], t_capture, one.box, COARSE if hurried else one.mark) for one in findings]

    def play(self, scene: Scene) -> Iterator[tuple[Sample, list[Decision]]]:
        """A recording that carries its own time, as fast as it goes: each sample with what changes because of it."""
        self.open()
        for sample in self.source.rest():
            yield sample, self.step(sample, scene) or []

    # -- the line -----------------------------------------------------------------------------------------------

    def follow(self, scene: Scene, outbox: Outbox) -> None:
        """Sample after sample until asked to stop. Raises DeviceError, EOFError."""
        read, clock, wait_s, cells = self.source.read, time.monotonic_ns, outbox.wait_s, self.ledger.cells
        while not self.stopping.is_set():
            asked = cells[book.TURN] = clock()
            sample = read(wait_s)
            now = clock()
            if sample is not None and self.fresh(sample, now):
                decisions = self.step(sample, scene)
                decided = clock()
                if not self.well:
                    self.well = True
                    log.warning("lane %s: %s is back", self.name, self.source.name)
                if decisions is not None:
                    sent = self.act(sample, decisions, scene, outbox)
                    self.ledger.count[book.INFERENCES] += 1
                    prepared, inferred = self.stamps
                    self.ledger.write(sample.sequence, sample.t_capture, asked, now, prepared, inferred, decided, sent)
                elif self.perception.held:
                    self.ledger.count[book.GATED] += 1
                    self.t_capture = time.monotonic_ns() if self.virtual else sample.t_capture  # nothing new is news, too
                if self.tape:
                    order = scene.order.get(self.name, 0)
                    self.tape.write(
                        sample, order, self.anew, self.evidence, decisions or (), self.dropped, *self.perception.circumstances
                    )  # fmt: skip
                    self.anew = False
            elif now - self.t_fresh > self.limits.timeout_ns:
                raise DeviceTimeout(f"no new picture, sound or reading for {self.limits.timeout_ns / 1e6:.0f} ms: {self.why}")
            if self.t_capture:
                outbox.beat(clock(), self.t_capture, self.ttl, scene)
            outbox.collect(clock())
            if self.limits.stop_after and self.ledger.count[book.SAMPLES] >= self.limits.stop_after:
                raise EOFError

    def fresh(self, sample: Sample, now: int) -> bool:
        """Count the sample; False when it is no news (repeated), its time not credible (stale), or one good one no proof yet."""
        count = self.ledger.count
        age = now - sample.t_capture
        if sample.sequence <= self.last_sequence:
            count[book.REPEATED] += 1
            self.why = "it repeats the old one: frozen?"
            return False
        delivered = len(sample.payload) if self.perception.prepare.rows else 1
        count[book.SAMPLES] += delivered
        count[book.SKIPPED] += sample.skipped
        lost = sample.sequence - self.last_sequence - delivered - sample.skipped
        if lost > 0:
            count[book.LOST] += lost
            self.perception.prepare.reset()  # a window must not join readings that were no neighbours
            self.anew = True
        self.last_sequence = sample.sequence
        # Older than the silence allowed, or from the future: the device's clock jumped, or it handed out a leftover.
        if not -FUTURE_NS < age < self.limits.timeout_ns and not self.virtual:
            count[book.STALE] += 1
            self.why = f"its time stamps are {abs(age) / 1e6:.0f} ms {'old' if age > 0 else 'ahead'}: did its clock jump?"
            return False
        self.t_fresh = now
        self.news += 1
        # A stuck device often gives one picture each time it is opened; that is no sign of life.
        return self.well or self.news > 1

    def act(self, sample: Sample, decisions: list[Decision], scene: Scene, outbox: Outbox) -> int:
        """Send what was decided; the time when it had left, 0 if there was nothing to send."""
        t_capture = self.t_capture = time.monotonic_ns() if self.virtual else sample.t_capture
        self.dropped.clear()
        if not decisions:
            return 0
        count, row = self.ledger.count, self.ledger.next_row()
        for decision in decisions:
            count[book.DECISIONS] += 1
            late = 0 < decision.deadline < time.monotonic_ns() and not self.virtual
            if late:
                count[book.LATE] += 1
                if decision.rule in self.limits.drop_late:
                    scene.forget(decision)
                    self.dropped.append(decision)
                    continue
            self.decided.append(decision)
            count[book.SENT] += outbox.links[decision.actuator].send(decision, t_capture, self.ttl, row, late)
        return time.monotonic_ns()

    # -- the life of the device ---------------------------------------------------------------------------------

    def run(self, scene: Scene, outbox: Outbox) -> None:
        """Open, follow, and when the device fails: close, wait, open again. Returns when stopped or at the end."""
        retry_s = FIRST_RETRY_S
        outbox.wait_connected(0.5)
        while not self.stopping.is_set():
            try:
                self.open()
                self.follow(scene, outbox)
            except EOFError:
                self.ledger.state = book.ENDED
                log.info("lane %s: the recording ends", self.name)
                break
            except DeviceError as error:
                self.ledger.count[book.FAULTS] += 1
                self.ledger.state = book.GONE
                self.why = str(error)
                retry_s = FIRST_RETRY_S if self.well else min(2 * retry_s, LAST_RETRY_S)
                if self.well:
                    log.warning("lane %s: %s; trying again until it is back", self.name, error)
                self.well = False
                if not self.limits.critical:
                    outbox.bye()
            finally:
                self.source.close()
            self.pause(retry_s, outbox)
        else:
            self.ledger.state = book.CLOSED  # in good order; what is killed leaves another state behind
        outbox.close()

    def open(self) -> None:
        """Open the source and fit the preparation to what it delivers."""
        self.ledger.state = book.OPENING
        self.ledger.cells[book.TURN] = time.monotonic_ns()
        self.source.open()
        self.last_sequence, self.news, self.why, self.anew = -1, 0, FROZEN, True
        self.t_fresh, self.t_capture = time.monotonic_ns(), 0
        self.perception.fit(self.source)
        if self.reel and not self.tape:
            channels = self.source.channels if isinstance(self.source, SensorStream) else ()
            self.tape = self.reel.begin(self.name, self.perception.kept, channels)
        self.ledger.state = book.RUNNING

    def pause(self, seconds: float, outbox: Outbox) -> None:
        """Wait before the next try. No heart-beats: without this lane its actuators go safe."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping.wait(0.02):
            now = self.ledger.cells[book.TURN] = time.monotonic_ns()
            outbox.collect(now)


def offline(name: str, driver: str, options: dict[str, Any], perception: Perception) -> Lane:
    """A lane that is played as fast as it goes, without a daemon; driver and options as in a configuration."""
    source = open_source(driver, {"pace": "fast"} | options, name)
    return Lane(name, source, perception, Limits(10**10, 10.0), Ledger(None, name, 10.0))
