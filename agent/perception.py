"""From a sample to findings: gate, preparation, model, refining model, second model over time. The lane's middle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.backends.base import Engine
from agent.data import NEVER, Array, Sample
from agent.decoders.base import Decoder, Finding
from agent.gates.base import Gate
from agent.gates.config import GateConfig
from agent.gates.make import make_gate
from agent.packages.answers import CachedEngine
from agent.packages.package import Package
from agent.prepare.base import Preparation
from agent.prepare.make import make_preparation
from agent.tapes.format import HEADS_AT, REFINE_SKIPPED, REFINED, RESTARTED
from agent.vision.heads import Heads
from agent.vision.people import People, in_frame
from agent.vision.poses import KEYPOINTS, SecondModel
from agent.vision.refine import Refine
from drivers.base import Camera, Stream

NO_KEYPOINTS = np.zeros((KEYPOINTS, 3), np.float32)


class Perception:
    """The models of a lane. Pure: only `Refine` reads a clock, and what it decides is recorded."""

    def __init__(
        self,
        package: Package,
        *,
        gate: GateConfig | None = None,
        reference: Array | None = None,
        heads: Heads | None = None,
        refine: Refine | None = None,
        second: SecondModel | None = None,
        shrink: int | None = 1,
        every: int = 1,
    ) -> None:
        """gate: which samples are worth an inference; None: all.

        reference: uint8 [height, width], the good part with which a model of `picture.reference` compares.
        heads: of the package, where it is a backbone: they find what it does not.
        refine: infers again where these are in doubt. second: reads the keypoints of either of them.
        shrink: take every so many pixels only; None: as many as the first frames allow.
        every: infer on one sample in so many.
        """
        self.package = package
        self.engine = package.engine
        self.gate_config = gate
        self.reference = reference
        self.heads = heads
        self.refine = refine
        self.second = second
        self.people = People(second) if second and self._finds_several else None
        self.shrink = shrink
        self.preparation: Preparation  # this and the gate: from when the source is open
        self.gate: Gate | None = None
        # Of the newest inference: the refining model ran; it had no time to; it was the first since `start`.
        self.refined = self.refine_skipped = self.restarted = False
        self.points: Array | None = (
            None  # of the newest inference: keypoints in shares of the frame, where a model finds any
        )
        self._started = False  # since the newest inference
        self._find_networks()
        self.configured_every = self.every = every  # the latter is more under overload, see agent/overload.py
        self.thinned = self.shed = False  # the newest sample was left out: as configured; because of overload
        self._turn = 0

    def engines_changed(self) -> None:
        """Another engine was put around that of a package, which the lane has not used yet."""
        self.engine = self.package.engine
        if self.refine:
            self.refine.engine = self.refine.package.engine
        self._networks = [each.network for each in self.packages]

    def _find_networks(self) -> None:
        self._networks = [each.network for each in self.packages]
        cached = self.refine.package.network if self.refine else None
        self._cached = cached if isinstance(cached, CachedEngine) else None

    @property
    def packages(self) -> list[Package]:
        """In the order in which they run."""
        heads = self.heads.packages if self.heads else []
        return [self.package, *heads, *(model.package for model in (self.refine, self.second) if model)]

    @property
    def _finds_several(self) -> bool:
        """Keypoints of several persons, not of one."""
        keypoints = (self.refine.package if self.refine else self.package).decoder.keypoints
        return keypoints is not None and keypoints.ndim == 3

    @property
    def memory_ns(self) -> int:
        """How far back the poses go that the second model reads."""
        if self.people:
            return self.people.span_ns
        return self.second.window.span_ns if self.second else 0

    @property
    def recorded_engines(self) -> list[Engine]:
        """Engines of models that read the sample itself: their outputs are recorded, the rest follows from these."""
        first = self.heads.recorded_parts if self.heads else [self.engine]
        return [*first, *([self.refine.engine] if self.refine else [])]

    @property
    def reuse(self) -> tuple[int, ...]:
        """As in ledger.REUSE, where answers are kept or heads load on demand; else empty."""
        if self._cached is None and self.heads is None:
            return ()
        kept = self._cached
        cache = (kept.hits, kept.misses, kept.saved_ns // 1000) if kept else (0, 0, 0)
        return *cache, *(self.heads.counts if self.heads else (0, 0, 0))

    @property
    def replay_flags(self) -> tuple[int, Sequence[int]]:
        """Of the newest inference, for the tape: REFINED and the like, and the preparation's position."""
        flags = REFINED * self.refined | REFINE_SKIPPED * self.refine_skipped | RESTARTED * self.restarted
        if self.heads:
            flags |= self.heads.ran << HEADS_AT
        return flags, self.preparation.position

    def start(self, source: Stream) -> None:
        """For a source that is open. Raises DeviceFault when it delivers something else than the models take."""
        self.preparation = make_preparation(source, self.package, self.reference, self.shrink)
        if self.refine and isinstance(source, Camera):
            self.refine.start(source.pixels)
        self.gate = make_gate(self.gate_config, self.preparation) if self.gate_config else None
        self.restart()
        self._started = True

    def exchange(self, old: Package, new: Package, source: Stream) -> None:
        """Use `new`, which has the same input, in place of `old` from the next sample on; what is followed stays.

        Raises DeviceFault, with nothing changed, where it does not fit the source.
        """
        new.follow(old)
        if old is self.package:
            preparation = make_preparation(source, new, self.reference, self.shrink)
            preparation.carry_over(self.preparation)
            if self.gate:
                self.gate.set_preparation(preparation)
            self.preparation, self.package, self.engine = preparation, new, new.engine
        elif self.heads and old in self.heads.packages:
            self.heads.exchange(old, new)
        elif self.refine and old is self.refine.package:
            self.refine.exchange(new)
        elif self.second and old is self.second.package:
            self.second.exchange(new)
            if self.people:
                self.people.exchange()
        self._find_networks()

    def restart(self) -> None:
        """Forget where objects and people were: the next sample does not follow on those inferred before.

        A sample of which one model failed has left its traces in the memory of those before it, and is not recorded.
        """
        if self.refine:
            self.refine.tracks.all.clear()
        if self.people:
            self.people.restart()
        elif self.second:
            self.second.restart()

    def prepare(self, sample: Sample) -> bool:
        """Fill the first model's input; True when an inference is due."""
        self.thinned = self.shed = False
        if self.every > 1 and not self.preparation.rows and self._leaves_out():
            return False  # before the gate, which compares pictures with the last one that was inferred on
        due = (
            self.gate(sample, self.engine.input(0))
            if self.gate
            else self.preparation(sample.payload, self.engine.input(0))
        )
        return due and not (self.every > 1 and self.preparation.rows and self._leaves_out())

    def _leaves_out(self) -> bool:
        turn, self._turn = self._turn, (self._turn + 1) % self.every
        self.thinned = turn % self.configured_every != 0
        self.shed = turn != 0 and not self.thinned
        return turn != 0

    @property
    def gated(self) -> bool:
        """The gate examined the newest sample and dropped it as not worth an inference."""
        return self.gate is not None and self.gate.gated

    def infer(self, sample: Sample, deadline: int) -> list[Finding]:
        """What the models find, first to last, boxes in shares of the frame. deadline: of the lane's budget.

        Raises ModelFault.
        """
        for engine in self._networks:
            engine.deadline = deadline
        findings = self.package.infer()
        if self.heads:
            findings = self.heads(sample.t_capture, deadline == NEVER)
        findings = [in_frame(finding, self.preparation) for finding in findings]
        keypoints = frame_keypoints(self.package.decoder, self.preparation)
        self.refined = self.refine_skipped = False
        if self.refine:
            findings, self.refined, self.refine_skipped = self.refine(sample, findings, deadline)
            keypoints = (
                frame_keypoints(self.refine.package.decoder, self.refine.pixels) if self.refined else NO_KEYPOINTS
            )
        self.points = keypoints
        if self.people and not self.refine_skipped:
            persons = [finding for finding in findings if finding.keypoints is not None]
            findings += self.people(sample.t_capture, persons, self.preparation.aspect)
        elif self.second and keypoints is not None and not self.refine_skipped:
            findings += self.second(sample.t_capture, keypoints, self.preparation.aspect)
        if self.gate:
            self.gate.accept_findings(findings)
        self.restarted, self._started = self._started, False
        return findings


def frame_keypoints(decoder: Decoder, preparation: Preparation) -> Array | None:
    """float32 [17, 3], or [n, 17, 3] of several persons, in shares of the frame; None where the decoder finds none."""
    return None if decoder.keypoints is None else preparation.unmap_points(decoder.keypoints)
