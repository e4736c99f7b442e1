"""From a sample to findings: gate, preparation, model, a finer look, a second model over time. The lane's middle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent import gates, prepare
from agent.backends.base import Engine
from agent.data import Array, Sample
from agent.decoders.base import Decoder, Finding
from agent.fine import Fine
from agent.gates.base import Gate, GateConfig
from agent.package import Package
from agent.poses import KEYPOINTS, SecondModel
from agent.prepare.base import Preparation
from agent.tape import HURRIED, LOOKED
from drivers.base import Camera, Stream

NOBODY = np.zeros((KEYPOINTS, 3), np.float32)


class Perception:
    """The models of a lane. Pure: no clock but the sample's, and what `Fine` says of its own."""

    def __init__(
        self, package: Package, *, gate: GateConfig | None = None, reference: Array | None = None, fine: Fine | None = None,
        second: SecondModel | None = None, shrink: int | None = 1,
    ) -> None:  # fmt: skip
        """gate: which samples are worth an inference; None for all.

        reference: uint8 [height, width], the good part with which a model of `picture.reference` compares.
        fine: looks again where the package's model is in doubt. second: reads the keypoints that either of them finds.
        shrink: take every so many pixels only; None: as many as the first frames allow.
        """
        self.package = package
        self.engine = package.engine
        self.gating = gate
        self.reference = reference
        self.fine = fine
        self.second = second
        self.shrink = shrink
        self.prepare: Preparation  # both since the source is open
        self.gate: Gate | None = None
        self.looked = self.hurried = False  # whether the fine model had its turn, or had no time for it

    @property
    def packages(self) -> list[Package]:
        """In the order of their work."""
        return [self.package, *(one.package for one in (self.fine, self.second) if one)]

    @property
    def kept(self) -> list[Engine]:
        """Engines of models that look at the sample itself: what they said is recorded, the rest follows from it."""
        return [self.engine, *([self.fine.engine] if self.fine else [])]

    @property
    def circumstances(self) -> tuple[int, Sequence[int]]:
        """Of the newest inference, for the tape: did the fine model look, and at what part of the frame did the first?"""
        return LOOKED * self.looked | HURRIED * self.hurried, self.prepare.region

    def fit(self, source: Stream) -> None:
        """For a source that is open. Raises DeviceFault when it delivers something else than the models take."""
        self.prepare = prepare.fit(source, self.package, self.reference, self.shrink)
        if self.fine and isinstance(source, Camera):
            self.fine.fit(source.pixels)
        self.gate = gates.fit(self.gating, self.prepare) if self.gating else None

    def show(self, sample: Sample) -> bool:
        """Into the first model's input; True when an inference is due. The tensor has no name here: engines allow none."""
        if self.gate:
            return self.gate(sample, self.engine.input(0))
        return self.prepare(sample.payload, self.engine.input(0))

    @property
    def held(self) -> bool:
        """The newest sample was seen, and the gate found it not worth an inference."""
        return self.gate is not None and self.gate.held

    def see(self, sample: Sample, deadline: int) -> list[Finding]:
        """Infer; what the models say, first to last, boxes in shares of the frame. deadline: of the lane's budget."""
        self.engine.invoke()
        findings = [one._replace(box=one.box and self.prepare.unmap(one.box)) for one in self.package.findings()]
        points = keypoints(self.package.decoder, self.prepare)
        self.looked = self.hurried = False
        if self.fine:
            findings, self.looked, self.hurried = self.fine(sample, findings, deadline)
            points = keypoints(self.fine.package.decoder, self.fine.pixels) if self.looked else NOBODY
        if self.second and points is not None and not self.hurried:
            findings += self.second(sample.t_capture, points, self.prepare.aspect)
        if self.gate:
            self.gate.saw(findings)
        return findings


def keypoints(decoder: Decoder, prepare: Preparation) -> Array | None:
    """float32 [17, 3] in shares of the frame."""
    return None if decoder.keypoints is None else prepare.unmap_points(decoder.keypoints)
