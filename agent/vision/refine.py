"""A second, refining model infers the one part of the frame where the first model is in doubt, if there is time."""

from __future__ import annotations

import time
from typing import NamedTuple

from agent.backends.base import Late
from agent.data import Box, Sample
from agent.decoders.base import Finding
from agent.packages.package import Package, labels
from agent.prepare.pixels import Pixels
from agent.prepare.region import Region, region_around
from agent.vision.config import RefineConfig
from agent.vision.people import in_frame
from agent.vision.tracks import Track, Tracks

MIN_REGION_PX = 32  # a smaller part has no more detail to give
COST_DECAY = 0.95  # of the refining model's longest time, per inference


class RefineResult(NamedTuple):
    """findings: in shares of the frame. refine_skipped: the time was too short, so the first model's result stands."""

    findings: list[Finding]
    refined: bool
    refine_skipped: bool


class Refine:
    """A loaded refining model. It follows one object at a time, so that a window of poses is one person's."""

    def __init__(self, package: Package, config: RefineConfig) -> None:
        if not package.manifest.picture:
            raise ValueError(f"{package.name} takes no pictures")
        self.package, self.engine = package, package.engine
        self.config = config
        self.labels = set(labels(package.folder, package.manifest))
        self.tracks = Tracks(int(config.follow_s * 1e9))
        self.target = 0  # number of the track that is followed
        self.target_box = Box(0.0, 0.0, 1.0, 1.0)  # where it was last detected
        self.cost_ns = 0  # longest recent time of the refining model

    def start(self, layout: str) -> None:
        """layout: of the camera's pixels. Raises DeviceFault."""
        assert self.package.manifest.picture
        self.pixels = Pixels(self.package.manifest.picture, self.engine.inputs[0], layout)

    def exchange(self, package: Package) -> None:
        """Another version of the model, with the same input; whom it follows stays."""
        self.package, self.engine = package, package.engine
        self.labels = set(labels(package.folder, package.manifest))
        self.start(self.pixels.layout)

    def __call__(self, sample: Sample, findings: list[Finding], deadline: int) -> RefineResult:
        """findings: of the first model, in shares of the frame.

        deadline: CLOCK_MONOTONIC ns; an inference that would end after it is not started.
        """
        track = self._choose_track(sample.t_capture, findings)
        if track is None:
            return RefineResult(findings, False, False)
        self.cost_ns, start = int(self.cost_ns * COST_DECAY), time.monotonic_ns()
        if start + self.cost_ns > deadline and not self.engine.decides:
            return RefineResult(findings, False, True)
        self._prepare(sample, self.target_box)
        try:
            refined = [in_frame(finding, self.pixels) for finding in self.package.infer()]
        except Late:
            return RefineResult(findings, False, True)
        self.cost_ns = max(self.cost_ns, time.monotonic_ns() - start)
        # They replace the first model's finding, if the refining model has its label at all.
        if self.config.label in self.labels:
            findings = [finding for finding in findings if finding is not track.finding]
        return RefineResult([*findings, *refined], True, False)

    def _choose_track(self, now: int, findings: list[Finding]) -> Track | None:
        """The track followed so far while it is alive, else the most certain one; None where it is not in doubt."""
        low, high = self.config.band
        detected = [finding for finding in findings if finding.label == self.config.label and finding.score >= low]
        alive = {track.number: track for track in self.tracks(now, detected)}
        if self.target not in alive:
            detected_now = [track for track in alive.values() if track.t_detected == now]
            best = max(detected_now, key=lambda track: track.finding.score, default=None)
            self.target = best.number if best else 0
        track = alive.get(self.target)
        if (
            track and track.t_detected == now
        ):  # a person that is lost may lie: the filter would go on as fast as they fell
            self.target_box = track.box
        return None if track is None or track.t_detected == now and track.finding.score > high else track

    def _prepare(self, sample: Sample, box: Box) -> None:
        if self.pixels.frame_shape != sample.payload.shape:
            self.pixels.allocate(sample.payload.shape)
        self.pixels.aim(self.region(box, sample.payload.shape))
        self.pixels(sample.payload, self.engine.input(0))

    def region(self, box: Box, shape: tuple[int, ...]) -> Region:
        """The box with its margin, widened to the aspect of the model's input, shifted into the frame."""
        height, width = shape[:2]
        tall, wide = self.pixels.size
        growth = 1.0 + 2.0 * self.config.pad
        box_width, box_height = (box.right - box.left) * width * growth, (box.bottom - box.top) * height * growth
        across = max(box_width, box_height * wide / tall, MIN_REGION_PX)
        across = min(round(across / 2) * 2, width // 2 * 2)
        down = min(max(round(across * tall / wide), MIN_REGION_PX), height)
        return region_around(box, across, down, shape)
