"""A lane whose tapes a test writes, and a drift monitor that reads them by a clock of the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array, Box, Evidence, Sample
from agent.drift import published, settings
from agent.drift.detector import Limits
from agent.drift.monitor import Monitor
from agent.drift.settings import CollectSettings, LaneSettings, Settings
from agent.tapes.live import LiveTape
from agent.tapes.live_format import PICTURE, SOUND, LiveHeader
from agent.tapes.tape import Tape
from tests.recordings import arm_engine

CHANNELS = ("x", "y")
LIMITS = Limits(learn=40, recover=10)
FIRST_MODEL, SECOND_MODEL = "a" * 64, "b" * 64
EACH = 16  # readings of a sample: one slot


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lane_settings(model: str = FIRST_MODEL, source: str = "s") -> LaneSettings:
    return LaneSettings(model, source, [])


def collecting(keep: str = "pictures", **changes: Any) -> CollectSettings:
    values = {"keep": keep, "uncertain": (0.4, 0.6), "files": 100, "mb": 10.0, "seal": "", **changes}
    return CollectSettings(**values)


def drifting_report(folder: Path) -> dict[str, Any]:
    """What a monitor publishes of an arm whose sensor has another scale."""
    lane = WatchedLane(folder)
    lane.open_readings()
    lane.pass_second()
    lane.readings(LIMITS.learn + 5)
    lane.readings(40, scale=1.5)
    report = published.read(lane.settings.run_dir)
    lane.monitor.close()
    return dict(report["arm"])


class WatchedLane:
    """run_dir and state_dir of a box with the lane `arm`, or whatever its name."""

    def __init__(self, folder: Path, lane: str = "arm", collect: CollectSettings | None = None) -> None:
        self.folder, self.lane, self.clock = folder, lane, Clock()
        self.random = np.random.default_rng(0)
        self.sequence = 0
        self.settings = Settings(
            node="box",
            run_dir=folder / "run",
            state_dir=folder / "state",
            limits=LIMITS,
            golden_h=0.0,
            lanes={lane: lane_settings()},
            collect=collect,
        )
        settings.write(self.settings)
        self.monitor = Monitor(settings.read(self.settings.run_dir), self.clock)
        self.tape: Tape | None = None
        self.live: LiveTape | None = None

    @property
    def report(self) -> dict[str, Any]:
        watch = self.monitor.watches[self.lane]
        return watch.report(self.clock.now)

    def open_readings(self) -> None:
        """The lane's source is open: a tape of its own."""
        self.tape = Tape(self._path("tape"), self.lane, [arm_engine()], CHANNELS, False, 7, 1000.0)

    def open_picture(self) -> None:
        self.live = LiveTape(self._path("live"), LiveHeader(self.lane, PICTURE, pixels="grey"))

    def open_sound(self) -> None:
        self.live = LiveTape(self._path("live"), LiveHeader(self.lane, SOUND, rate_hz=16_000.0))

    def _path(self, suffix: str) -> Path:
        return self.settings.run_dir / f"{self.lane}.{suffix}"

    def restart(self) -> None:
        """The monitor ends and the next one starts."""
        self.monitor.close()
        self.monitor = Monitor(settings.read(self.settings.run_dir), self.clock)

    def change(self, **changes: Any) -> None:
        """The daemon has reloaded its configuration."""
        self.settings = self.settings._replace(**changes)
        settings.write(self.settings)
        self.monitor.reload_requested = True
        self.monitor.step()

    def pass_second(self) -> None:
        """What was written before is read."""
        self.monitor.step()
        self.clock.now += 0.1
        self.monitor.step()
        self.clock.now += 0.9

    def readings(self, seconds: int, scale: float = 1.0, score: float | None = 0.9, label: str = "normal") -> None:
        """Noise, a window of it each second. score: None for a model that finds nothing."""
        for _ in range(seconds):
            self.write_rows(scale * self.random.normal(size=(17 * EACH, 2)).astype(np.float32), score, label)
            self.pass_second()

    def write_rows(self, rows: Array, score: float | None, label: str = "normal") -> None:
        assert self.tape
        for at in range(0, len(rows), EACH):
            self.sequence += EACH
            t_capture = int(self.clock.now * 1e9)
            sample = Sample(self.lane, self.sequence, t_capture, rows[at : at + EACH])
            findings = [Evidence(self.lane, label, score, t_capture)] if score is not None else []
            self.tape.write(sample, 0, False, findings, [])

    def pictures(self, seconds: int, make: Callable[[], Array], score: float | None = None) -> None:
        """score: of a person in the middle of each picture."""
        for _ in range(seconds):
            self.monitor.step()
            self.show(make(), score)
            self.clock.now += 0.1
            self.monitor.step()
            self.clock.now += 0.9

    def show(self, picture: Array, score: float | None = None) -> None:
        assert self.live
        self.sequence += 1
        t_capture = int(self.clock.now * 1e9)
        findings = []
        if score is not None:
            findings = [Evidence(self.lane, "person", score, t_capture, Box(0.25, 0.25, 0.5, 0.75))]
        self.live.write(Sample(self.lane, self.sequence, t_capture, picture), (0, 1, 2, 3), findings, None)


def room(seed: int = 0, noise: Any = None) -> Array:
    """uint8 [120, 160]: furniture, and the noise of a moment."""
    cells = np.random.default_rng(seed).integers(60, 200, (6, 8)).astype(np.uint8)
    picture = np.kron(cells, np.ones((20, 20), np.uint8))
    return picture if noise is None else picture + noise.integers(0, 4, picture.shape).astype(np.uint8)
