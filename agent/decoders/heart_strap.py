"""Heart rate and alarms of a chest strap, [1, length, 3]: heart_rate_bpm, contact, rr_ms, newest row last.

The window itself (backend signal). Every alarm's score is 0.5 at its limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from agent.data import Array
from agent.decoders import base, vitals
from agent.decoders.base import Finding
from agent.decoders.heart import ALARM, JumpOptions, jump, report

LABELS = ("heart-rate", "heart-rate-jump", "flat-line", "no-contact")


class Options(JumpOptions):
    """Of the window, and what is reported."""

    rate_hz: float = Field(1.0, gt=0, le=100, description="of the window's rows")
    min_score: float = Field(0.1, ge=0, le=1, description="alarms below this are not reported")


class Decoder(base.Decoder):
    """Without contact the rate is not valid; only with contact is a rate of 0 a flat line.

    Straps that do not report contact (-1) and have a rate of 0 count as taken off: the more likely reason.
    """

    Options = Options
    NEEDS = "a window of a strap [1, rows, 3] (backend signal)"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        min_rows = 2 * max(options.flat_s, options.off_s) * options.rate_hz
        base.require_window(shapes[0], min_rows, 3, "heart_strap needs rates of a strap")
        self.shift = vitals.WindowShift()
        self.usual = vitals.UsualRate(options.memory_s, options.settle_s, max(1.0, 1.0 / options.rate_hz))

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        rows = outputs[0][0]
        if not np.isfinite(rows).all():
            return []
        shift = self.shift(rows, 1)
        if not shift:
            self.usual.reset()
        off, flat = self._examine(rows)
        # The median of the three newest rates: one wrong packet is no jump, two are.
        rate = float(np.median(rows[-3:, 0])) if max(off, flat) < ALARM and rows[-1, 0] > 0 else 0.0
        alarms, usual = {"no-contact": off, "flat-line": flat}, self.usual.rate
        if rate:
            alarms["heart-rate-jump"] = jump(rate, usual, self.options)
            self.usual.add(rate, shift / self.options.rate_hz)
        return report(rate, usual, alarms, self.options.min_score)

    def _examine(self, rows: Array) -> tuple[float, float]:
        """Scores of no contact and of a flat line, from the newest rows."""
        beats, contact = rows[:, 0] > 0, rows[:, 1]
        off_s = _run_length((contact == 0) | ((contact < 0) & ~beats)) / self.options.rate_hz
        flat_s = _run_length((contact > 0) & ~beats) / self.options.rate_hz
        return off_s / (2 * self.options.off_s), flat_s / (2 * self.options.flat_s)


def _run_length(true: Array) -> int:
    """Rows up to the newest that are true without a break."""
    false = np.flatnonzero(~true)
    return len(true) - 1 - int(false[-1]) if len(false) else len(true)
