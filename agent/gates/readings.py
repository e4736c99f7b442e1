"""The gate of a sensor: readings off their reference."""

from __future__ import annotations

from agent.data import Array, Sample
from agent.gates.base import Gate
from agent.gates.config import GateConfig, Outlier
from agent.prepare.readings import Readings

ALPHA, BETA = (
    0.5,
    0.1,
)  # of the alpha-beta filter (Benedict and Bordner 1962): half of an error is the place, a tenth the speed


class ReadingGate(Gate):
    """Every reading goes into the window; whether the window is worth an inference is what this gate says."""

    def __init__(self, config: GateConfig, readings: Readings) -> None:
        super().__init__(config)
        self.readings = readings
        self.watched = [OutlierDetector(readings.channel(name), one) for name, one in config.outlier.items()]
        self.outside = True  # since the last inference; the first one is always worth it

    def __call__(self, sample: Sample, view: Array) -> bool:
        for drift in self.watched:
            for reading in sample.payload[:, drift.column].tolist():
                self.outside |= drift.outside  # the reading that ends it, too
                self.outside |= drift(reading)
        due = self.readings(sample.payload, view)
        self.held = due and not self.outside and not self.due(sample.t_capture)
        if not due or self.held:
            return False
        self.t_inferred, self.outside = sample.t_capture, False
        return True


class OutlierDetector:
    """Whether one channel is off its reference. NaN is: the preparation behind refuses it with a clear word."""

    def __init__(self, column: int, config: Outlier) -> None:
        self.column = column
        self.tolerance = config.tolerance
        self.hysteresis = 0.8 * config.tolerance if config.hysteresis is None else config.hysteresis
        self.fixed = None if config.center == "predicted" else config.center
        self.place = self.speed = 0.0
        self.begun = False
        self.outside = False

    def __call__(self, reading: float) -> bool:
        off = abs(reading - self.fixed) if self.fixed is not None else abs(self._surprise(reading))
        self.outside = not off < (self.hysteresis if self.outside else self.tolerance)
        return self.outside

    def _surprise(self, reading: float) -> float:
        """Reading less what the filter foretold, which then learns from it."""
        if not self.begun:
            self.place, self.begun = reading, True
        self.place += self.speed
        error = reading - self.place
        self.place += ALPHA * error
        self.speed += BETA * error
        return error
