"""Heart rate and alarms of a chest strap, [1, length, 3]: heart_rate_bpm, contact, rr_ms (backend signal), newest row last.

Every alarm's score is 0.5 at its limit.
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
    rate_hz: float = Field(1.0, gt=0, le=100, description="of the window's rows")
    min_score: float = Field(0.1, ge=0, le=1, description="alarms below this are not reported")


class Decoder(base.Decoder):
    """A strap that is taken off says so, or its count cannot be believed; only with contact is no beat a flat line.

    Straps that do not say (contact -1) and count nothing are taken for off: the more likely reason.
    """

    Options = Options

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        least = 2 * max(options.flat_s, options.off_s) * options.rate_hz
        base.need_window(shapes[0], least, 3, "heart_strap needs rates of a strap")
        self.overlap = vitals.Overlap()
        self.usual = vitals.Usual(options.memory_s, options.settle_s, max(1.0, 1.0 / options.rate_hz))

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        rows = outputs[0][0]
        if not np.isfinite(rows).all():
            return []
        moved = self.overlap(rows, 1)
        if not moved:
            self.usual.forget()
        off, flat = self.look(rows)
        # The newest count and the median of three: one wrong packet is no jump, two are.
        rate = float(np.median(rows[-3:, 0])) if max(off, flat) < ALARM and rows[-1, 0] > 0 else 0.0
        alarms, usual = {"no-contact": off, "flat-line": flat}, self.usual.rate
        if rate:
            alarms["heart-rate-jump"] = jump(rate, usual, self.options)
            self.usual.take(rate, moved / self.options.rate_hz)
        return report(rate, usual, alarms, self.options.min_score)

    def look(self, rows: Array) -> tuple[float, float]:
        """Scores of no contact and of a flat line, from the newest rows."""
        counted, contact = rows[:, 0] > 0, rows[:, 1]
        off = (contact == 0) | ((contact < 0) & ~counted)
        o = self.options
        return _lasting(off) / o.rate_hz / (2 * o.off_s), _lasting((contact > 0) & ~counted) / o.rate_hz / (
            2 * o.flat_s
        )


def _lasting(true: Array) -> int:
    """Rows up to the newest for which it is true."""
    false = np.flatnonzero(~true)
    return len(true) - 1 - int(false[-1]) if len(false) else len(true)
