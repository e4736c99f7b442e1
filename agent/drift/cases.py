"""Which moments of a lane are worth keeping, and as what: uncertain ones, and those while something drifts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from agent.data import Array
from agent.drift import collect
from agent.drift.collect import DRIFT, UNCERTAIN, LaneFolder
from agent.drift.detector import Detector
from agent.drift.lane import LaneDrift
from agent.drift.likeness import Known, difference_hash
from agent.tapes.live_reader import LiveSample

HISTORY = 32  # seconds of figures in a case of features: a window of `models.train --task sequence`
BOUND = 10.0  # standard deviations, of a figure in a vector that is compared: beyond, all are equally strange


class Cases:
    """Of one lane. What it keeps of a camera: `keep` of the configuration; readings and figures always."""

    def __init__(self, folder: LaneFolder) -> None:
        self.folder = folder
        self._keep = folder.settings.keep
        self._lowest, self._highest = folder.settings.uncertain
        self._known = Known(folder.settings.files, folder.known)
        self._figures: deque[list[float]] = deque(maxlen=HISTORY)
        self._names: list[str] = []

    def offer_window(
        self,
        drift: LaneDrift,
        findings: Sequence[Any],
        window: Array,
        channels: Sequence[str],
        rate_hz: float,
        now: float,
    ) -> None:
        """Readings. Raises OSError."""
        reason = self._reason(drift, findings)
        if reason and self.folder.due(now) and np.isfinite(window).all() and self._known.add_vector(_vector(drift)):
            self.folder.add(collect.readings(window, channels, rate_hz), reason, "csv", now)

    def offer_picture(self, drift: LaneDrift, sample: LiveSample, now: float) -> None:
        """Raises OSError."""
        assert sample.picture
        reason = self._reason(drift, sample.evidence)
        self._remember(drift, sample.evidence, now)
        if not reason or not self.folder.due(now):
            return
        if self._keep == "features":
            self._add_figures(drift, reason, now)
            return
        from agent.drift import pictures

        values = pictures.bgr(sample.picture)
        part = values if self._keep == "pictures" else collect.region(values, self._boxes(reason, sample.evidence))
        if part is not None and self._known.add_hash(difference_hash(part.mean(axis=2).astype(np.uint8))):
            self.folder.add(collect.png(part), reason, "png", now)

    def offer_sound(self, drift: LaneDrift, findings: Sequence[Any], now: float) -> None:
        """No tape has the sound itself: its figures. Raises OSError."""
        reason = self._reason(drift, findings)
        self._remember(drift, findings, now)
        if reason and self.folder.due(now):
            self._add_figures(drift, reason, now)

    def _reason(self, drift: LaneDrift, findings: Sequence[Any]) -> str:
        best = max((float(score) for _, score, *_ in findings if isfinite(score)), default=-1.0)
        if self._lowest <= best <= self._highest:
            return UNCERTAIN
        return DRIFT if drift.drifting else ""

    def _boxes(self, reason: str, findings: Sequence[Any]) -> list[Sequence[float]]:
        """Of what is uncertain; while something drifts, of all that was found."""
        all_boxes = [(float(score), box) for _, score, box, _ in findings if box]
        return [box for score, box in all_boxes if reason == DRIFT or self._lowest <= score <= self._highest]

    def _remember(self, drift: LaneDrift, findings: Sequence[Any], now: float) -> None:
        names = list(drift.inputs)
        if names != self._names:
            self._names = names
            self._figures.clear()
        best = max((float(score) for _, score, *_ in findings), default=0.0)
        self._figures.append([now, *(drift.inputs[name].value for name in names), best])

    def _add_figures(self, drift: LaneDrift, reason: str, now: float) -> None:
        if len(self._figures) == HISTORY and self._known.add_vector(_vector(drift)):
            began = self._figures[0][0]
            rows = [[f"{row[0] - began:.3f}", *(f"{value:.6g}" for value in row[1:])] for row in self._figures]
            self.folder.add(collect.table(["t_s", *self._names, "score"], rows), reason, "csv", now)


def _vector(drift: LaneDrift) -> list[float]:
    """The newest figures in standard deviations from what was learnt."""
    return [min(max(_z(each), -BOUND), BOUND) for each in drift.inputs.values()]


def _z(detector: Detector) -> float:
    return (detector.value - detector.reference.mean) / detector.deviation
