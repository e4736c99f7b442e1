"""The gate of a sensor: readings far from their center."""

from __future__ import annotations

from agent.data import Array, Sample
from agent.gates.base import Gate
from agent.gates.config import GateConfig, Outlier
from agent.prepare.base import Preparation
from agent.prepare.readings import Readings

# Of the alpha-beta filter (Benedict and Bordner 1962): shares of an error that correct the value and its slope.
ALPHA, BETA = 0.5, 0.1


class ReadingGate(Gate):
    """Every reading enters the window; the gate decides whether the window is worth an inference."""

    def __init__(self, config: GateConfig, readings: Readings) -> None:
        super().__init__(config)
        self.readings = readings
        self.detectors = [OutlierDetector(readings.channel(name), section) for name, section in config.outlier.items()]
        self.outside = True  # since the last inference; the first window is always worth one

    def set_preparation(self, preparation: Preparation) -> None:
        assert isinstance(preparation, Readings)
        self.readings = preparation

    def __call__(self, sample: Sample, view: Array) -> bool:
        for detector in self.detectors:
            for reading in sample.payload[:, detector.column].tolist():
                self.outside |= detector.outside  # the reading that ends it, too
                self.outside |= detector(reading)
        due = self.readings(sample.payload, view)
        self.gated = due and not self.outside and not self.due(sample.t_capture)
        if not due or self.gated:
            return False
        self.t_inferred, self.outside = sample.t_capture, False
        return True


class OutlierDetector:
    """Whether one channel is far from its center. NaN is far, too: the preparation then refuses it."""

    def __init__(self, column: int, config: Outlier) -> None:
        self.column = column
        self.tolerance = config.tolerance
        self.hysteresis = 0.8 * config.tolerance if config.hysteresis is None else config.hysteresis
        self.fixed = None if config.center == "predicted" else config.center
        self.value = self.slope = 0.0  # of the filter; slope per reading
        self.started = False
        self.outside = False

    def __call__(self, reading: float) -> bool:
        off = abs(reading - self.fixed) if self.fixed is not None else abs(self._prediction_error(reading))
        self.outside = not off < (self.hysteresis if self.outside else self.tolerance)
        return self.outside

    def _prediction_error(self, reading: float) -> float:
        """Reading less the filter's prediction, by which the filter is then corrected."""
        if not self.started:
            self.value, self.started = reading, True
        self.value += self.slope
        error = reading - self.value
        self.value += ALPHA * error
        self.slope += BETA * error
        return error
