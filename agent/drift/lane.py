"""All statistics of one lane: of what its source delivers and of what its model says. No file, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from agent.drift import signals
from agent.drift.detector import DRIFTING, LEARNING, Detector, Floor, Limits
from agent.drift.scores import Appearances, Scores
from agent.tapes.live_reader import RawPicture


class Change(NamedTuple):
    """A statistic, and what begins: DRIFTING or NORMAL."""

    statistic: str
    state: str


class LaneDrift:
    """Memory: about 700 bytes a statistic, 3 kB of a camera's scene; nothing grows with time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inputs: dict[str, Detector] = {}
        self.scores = Scores(limits.of_scores)
        self.bad = 0  # windows with what is no number
        self._appearances = Appearances()
        self._scene: Any = None  # of pictures.py, which imports OpenCV: only where there is a camera

    @property
    def statistics(self) -> dict[str, Detector]:
        """Of the model only once it has said something."""
        return {**self.inputs, **(self.scores.statistics() if self.scores.count else {})}

    @property
    def drifting(self) -> list[str]:
        return [name for name, detector in self.statistics.items() if detector.state == DRIFTING]

    @property
    def learnt(self) -> float:
        """Share of its values that the statistic has which needs most more."""
        learning = [each for each in self.statistics.values() if each.state == LEARNING]
        return min((each.reference.count / each.limits.learn for each in learning), default=1.0)

    def add_inferences(self, inferences: Iterable[tuple[int, Sequence[Sequence[Any]]]]) -> list[Change]:
        """inferences: capture time and findings of each, as on the tape, in order."""
        changes: list[Change] = []
        for t_capture, evidence in inferences:
            for value in self._appearances.add(t_capture, evidence):
                changes += [Change(*change) for change in self.scores.add(value)]
        return changes

    def add_picture(self, picture: RawPicture) -> list[Change]:
        from agent.drift import pictures

        values = pictures.grey(picture)
        figures = pictures.figures(values)
        self._scene = self._scene or pictures.Scene(max(1, self.limits.learn // 4))
        likeness = self._scene.add(pictures.view(values))
        if likeness is not None:
            figures["view"] = likeness
        return self._add(figures, pictures.FLOORS)

    def add_window(self, rows: Array, channels: Sequence[str]) -> list[Change]:
        """rows: float32 [n, channels]. One with a value that is no number is counted and left out."""
        if not np.isfinite(rows).all():
            self.bad += 1
            return []
        figures = signals.figures(rows, channels)
        return self._add(figures, {name: signals.floor_of(name) for name in figures})

    def add_sound(self, levels: Array) -> list[Change]:
        """levels: as in signals.sound_figures."""
        if not np.isfinite(levels).all():
            self.bad += 1
            return []
        return self._add(signals.sound_figures(levels), signals.FLOORS)

    def _add(self, figures: Mapping[str, float], floors: Mapping[str, Floor]) -> list[Change]:
        changes = []
        for name, value in figures.items():
            detector = self.inputs.get(name)
            if detector is None:
                detector = self.inputs[name] = Detector(floors[name], self.limits)
            changes.append(Change(name, detector.add(value)))
        return [change for change in changes if change.state]

    def saved(self) -> dict[str, Any]:
        inputs = {name: [*each.floor, each.saved()] for name, each in self.inputs.items()}
        scene = [self._scene.count, np.round(self._scene.mean, 2).tolist()] if self._scene else []
        return {"inputs": inputs, "scores": self.scores.saved(), "scene": scene}

    def restore(self, saved: dict[str, Any], inputs: bool = True) -> None:
        """inputs: of the same source as now. Raises LookupError, TypeError, ValueError."""
        self.scores.restore(saved["scores"])
        for name, (absolute, relative, content) in saved["inputs"].items() if inputs else ():
            self.inputs[str(name)] = Detector(Floor(float(absolute), float(relative)), self.limits)
            self.inputs[str(name)].restore(content)
        if inputs and saved["scene"]:
            self._restore_scene(*saved["scene"])

    def _restore_scene(self, count: int, mean: list[list[float]]) -> None:
        from agent.drift import pictures

        self._scene = pictures.Scene(max(1, self.limits.learn // 4))
        self._scene.count = int(count)
        self._scene.mean[:] = mean
