"""Coarse to fine: a second, better look at the one place where the first model is in doubt, if there is time for it."""

from __future__ import annotations

import time
from typing import NamedTuple

from agent.data import Box, Sample
from agent.decoders.base import Finding
from agent.package import Package, labels
from agent.prepare.pixels import Pixels, Region
from agent.vision.config import RefineConfig
from agent.vision.tracks import Track, Tracks

LEAST = 32  # pixels: a smaller part has nothing more to show
FADE = 0.95  # of the longest time that the fine model took, what a picture later is kept of it


class Look(NamedTuple):
    """findings: in shares of the frame. hurried: there was no time for the fine model, so the coarse answer stands."""

    findings: list[Finding]
    looked: bool
    refine_skipped: bool


class Refine:
    """A loaded model that looks again. It follows one thing at a time, so that a window of poses is one person's."""

    def __init__(self, package: Package, config: RefineConfig) -> None:
        if not package.manifest.picture:
            raise ValueError(f"{package.name} takes no pictures")
        self.package, self.engine = package, package.engine
        self.config = config
        self.says = set(labels(package.folder))
        self.tracks = Tracks(int(config.follow_s * 1e9))
        self.target = 0
        self.place = Box(0.0, 0.0, 1.0, 1.0)  # where the target was last seen
        self.cost_ns = 0  # longest of late

    def fit(self, layout: str) -> None:
        """layout: of the camera's pixels. Raises DeviceFault."""
        assert self.package.manifest.picture
        self.pixels = Pixels(self.package.manifest.picture, self.engine.inputs[0], layout)
        self.tracks.all.clear()

    def __call__(self, sample: Sample, findings: list[Finding], deadline: int) -> Look:
        """findings: of the first model, in shares of the frame. deadline: CLOCK_MONOTONIC ns; what ends after it is not begun."""
        track = self.choose(sample.t_capture, findings)
        if track is None:
            return Look(findings, False, False)
        self.cost_ns, begun = int(self.cost_ns * FADE), time.monotonic_ns()
        if begun + self.cost_ns > deadline:
            return Look(findings, False, True)
        self.show(sample, self.place)
        self.engine.invoke()
        refine = [one._replace(box=one.box and self.pixels.unmap(one.box)) for one in self.package.findings()]
        self.cost_ns = max(self.cost_ns, time.monotonic_ns() - begun)
        # Its word replaces the first model's, where it knows the label at all.
        coarse = [one for one in findings if one is not track.finding] if self.config.label in self.says else findings
        return Look([*coarse, *refine], True, False)

    def choose(self, now: int, findings: list[Finding]) -> Track | None:
        """What was followed before, as long as it is alive; else the most certain one that is in doubt."""
        low, high = self.config.band
        seen = [one for one in findings if one.label == self.config.label and one.score >= low]
        alive = {track.number: track for track in self.tracks(now, seen)}
        if self.target not in alive:
            fresh = [track for track in alive.values() if track.t_seen == now]
            self.target = max(fresh, key=lambda track: track.finding.score).number if fresh else 0
        track = alive.get(self.target)
        if track and track.t_seen == now:  # who is lost may lie: the filter would go on as fast as they fell
            self.place = track.box
        return None if track is None or track.t_seen == now and track.finding.score > high else track

    def show(self, sample: Sample, box: Box) -> None:
        if self.pixels.frame_shape != sample.payload.shape:
            self.pixels.fit(sample.payload.shape)
        self.pixels.aim(self.around(box, sample.payload.shape))
        self.pixels(sample.payload, self.engine.input(0))

    def around(self, box: Box, shape: tuple[int, ...]) -> Region:
        """The box with its margin, widened to the shape of the model's input, shifted into the frame; even for YUYV."""
        height, width = shape[:2]
        tall, wide = self.pixels.size
        grown = 1.0 + 2.0 * self.config.pad
        across = max(
            (box.right - box.left) * width * grown, (box.bottom - box.top) * height * grown * wide / tall, LEAST
        )
        across = min(round(across / 2) * 2, width // 2 * 2)
        down = min(max(round(across * tall / wide), LEAST), height)
        left = round(((box.left + box.right) * width - across) / 4) * 2
        top = round(((box.top + box.bottom) * height - down) / 2)
        return Region(min(max(left, 0), (width - across) // 2 * 2), min(max(top, 0), height - down), across, down)
