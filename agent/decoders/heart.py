"""Heart rate and alarms of one channel of ECG, [1, length, 1] in mV: the window itself is what comes in (backend signal).

Every alarm's score is 0.5 at its limit. The scores, but for the jump, depend on the window alone; the jump on those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from agent.data import Array
from agent.decoders import base, vitals
from agent.decoders.base import DecoderError, DecoderOptions, Finding

LABELS = ("heart-rate", "heart-rate-jump", "flat-line", "fibrillation", "lead-off")
FULL_BPM = 300.0  # score 1 of the plain heart rate
ALARM = 0.5
LEAST_S = 3.0  # of contact, before anything is said


class JumpOptions(DecoderOptions):
    jump_bpm: float = Field(25.0, gt=0, le=250, description="so far from the usual rate is a jump")
    jump_percent: float = Field(30.0, gt=0, le=300, description="or so far, whichever is more")
    memory_s: float = Field(120.0, ge=10, le=3600, description="the usual rate is the median of so long")
    settle_s: float = Field(10.0, ge=1, le=600, description="the newest seconds are not usual yet")
    flat_s: float = Field(4.0, ge=1, le=60, description="so long without a beat is a flat line")
    off_s: float = Field(1.0, ge=0.5, le=60, description="so long without contact is lead-off")


class Options(JumpOptions):
    rate_hz: float = Field(250.0, ge=vitals.RATES_HZ[0], le=vitals.RATES_HZ[1], description="of the window's rows")
    hop: int = Field(62, ge=1, description="as of the window; only where a signal is too constant to tell")
    rail_mv: float = Field(5.0, gt=0, description="the input's end: an electrode that hangs loose drives it there")
    fibrillation_s: float = Field(6.0, ge=4, le=30, description="looked at for fibrillation")
    min_score: float = Field(0.1, ge=0, le=1, description="alarms below this are not reported")


class Decoder(base.Decoder):
    Options = Options

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        least = round(options.fibrillation_s * options.rate_hz)
        base.need_window(shapes[0], least, 1, "heart needs one channel, fibrillation_s long")
        if shapes[0][1] < 2 * options.flat_s * options.rate_hz:
            raise DecoderError(f"a flat line of {options.flat_s:g} s needs a window twice as long")
        self.tail = least
        self.overlap = vitals.Overlap()
        self.usual = vitals.Usual(options.memory_s, options.settle_s)

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        ecg = outputs[0][0, :, 0]
        if not np.isfinite(ecg).all():
            return []
        moved = self.overlap(ecg, self.options.hop)
        if not moved:
            self.usual.forget()
        (rate, alarms), usual = self.look(ecg), self.usual.rate
        if rate:
            alarms["heart-rate-jump"] = jump(rate, usual, self.options)
            self.usual.take(rate, moved / self.options.rate_hz)
        return report(rate, usual, alarms, self.options.min_score)

    def look(self, ecg: Array) -> tuple[float, dict[str, float]]:
        """Heart rate in bpm, 0 where there is none to tell, and the score of each alarm that the window alone gives."""
        o = self.options
        off_s, since = vitals.contact(ecg, o.rate_hz, o.rail_mv)
        off = off_s / (2 * o.off_s)
        if off >= ALARM or since < LEAST_S * o.rate_hz:
            return 0.0, {"lead-off": off}
        ecg = ecg[-since:]  # how an electrode falls off and comes back is no heart's doing
        steady = vitals.filtered(ecg, o.rate_hz, vitals.ECG_BAND_HZ)
        flat = vitals.quiet_s(steady, o.rate_hz) / (2 * o.flat_s)
        wild = vitals.fibrillation(steady[-self.tail :], o.rate_hz) if flat < ALARM else 0.0
        rate = vitals.rate_bpm(vitals.beats(ecg, o.rate_hz), o.rate_hz) if max(flat, wild) < ALARM else 0.0
        return rate, {"lead-off": off, "flat-line": flat, "fibrillation": wild}


def jump(rate: float, usual: float, options: JumpOptions) -> float:
    """Score: how far the rate is from the usual one."""
    limit = max(options.jump_bpm, options.jump_percent / 100 * usual)
    return abs(rate - usual) / (2 * limit) if usual else 0.0


def report(rate: float, usual: float, alarms: dict[str, float], least: float) -> list[Finding]:
    """Alarms that are due come first, the surest ahead; then the heart rate; then the rest."""
    marks = {"heart-rate-jump": f"{rate - usual:+.0f} bpm"}
    found = [
        Finding(label, min(score, 1.0), None, marks.get(label, "")) for label, score in alarms.items() if score >= least
    ]
    if rate:
        found.append(Finding("heart-rate", min(max(rate, 0.0) / FULL_BPM, 1.0), None, f"{rate:.0f} bpm"))
    found.sort(key=lambda one: -one.score if one.label != "heart-rate" else -ALARM)
    return found
