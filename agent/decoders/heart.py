"""Heart rate and alarms of one channel of ECG, [1, length, 1] in mV: the window itself (backend signal).

Every alarm's score is 0.5 at its limit. All scores depend on the window alone, except the jump, which depends on those
before it.
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
MIN_CONTACT_S = 3.0  # before any rate is reported


class JumpOptions(DecoderOptions):
    """Limits of the alarms that ECG and chest strap have in common."""

    jump_bpm: float = Field(25.0, gt=0, le=250, description="this far from the usual rate is a jump")
    jump_percent: float = Field(30.0, gt=0, le=300, description="or this far, whichever is more")
    memory_s: float = Field(120.0, ge=10, le=3600, description="the usual rate is the median over this time")
    settle_s: float = Field(10.0, ge=1, le=600, description="the newest seconds do not count as usual yet")
    flat_s: float = Field(4.0, ge=1, le=60, description="this long without a beat is a flat line")
    off_s: float = Field(1.0, ge=0.5, le=60, description="this long without contact is lead-off")


class Options(JumpOptions):
    """Of the window, and the limits of ECG."""

    rate_hz: float = Field(250.0, ge=vitals.RATES_HZ[0], le=vitals.RATES_HZ[1], description="of the window's rows")
    hop: int = Field(62, ge=1, description="as of the window; used only where the signal is too constant to measure it")
    rail_mv: float = Field(5.0, gt=0, description="the input's limit, to which a loose electrode drives it")
    fibrillation_s: float = Field(6.0, ge=4, le=30, description="length that is examined for fibrillation")
    min_score: float = Field(0.1, ge=0, le=1, description="alarms below this are not reported")


class Decoder(base.Decoder):
    """Output [1, length, 1]: the window in mV, newest last."""

    Options = Options
    NEEDS = "a window of ECG [1, rows, 1] (backend signal)"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        self.tail = round(options.fibrillation_s * options.rate_hz)
        base.require_window(shapes[0], self.tail, 1, "heart needs one channel, fibrillation_s long")
        if shapes[0][1] < 2 * options.flat_s * options.rate_hz:
            raise DecoderError(f"a flat line of {options.flat_s:g} s needs a window twice as long")
        self.shift = vitals.WindowShift()
        self.usual = vitals.UsualRate(options.memory_s, options.settle_s)

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        ecg = outputs[0][0, :, 0]
        if not np.isfinite(ecg).all():
            return []
        shift = self.shift(ecg, self.options.hop)
        if not shift:
            self.usual.reset()
        (rate, alarms), usual = self._examine(ecg), self.usual.rate
        if rate:
            alarms["heart-rate-jump"] = jump(rate, usual, self.options)
            self.usual.add(rate, shift / self.options.rate_hz)
        return report(rate, usual, alarms, self.options.min_score)

    def _examine(self, ecg: Array) -> tuple[float, dict[str, float]]:
        """Heart rate in bpm, 0 where it cannot be measured, and the score of each alarm of the window alone."""
        o = self.options
        off_s, since = vitals.contact(ecg, o.rate_hz, o.rail_mv)
        off = off_s / (2 * o.off_s)
        if off >= ALARM or since < MIN_CONTACT_S * o.rate_hz:
            return 0.0, {"lead-off": off}
        ecg = ecg[-since:]  # an electrode that falls off or is put back moves the signal, too
        steady = vitals.filtered(ecg, o.rate_hz, vitals.ECG_BAND_HZ)
        flat = vitals.quiet_s(steady, o.rate_hz) / (2 * o.flat_s)
        fibrillation = vitals.fibrillation(steady[-self.tail :], o.rate_hz) if flat < ALARM else 0.0
        rate = vitals.rate_bpm(vitals.beats(ecg, o.rate_hz), o.rate_hz) if max(flat, fibrillation) < ALARM else 0.0
        return rate, {"lead-off": off, "flat-line": flat, "fibrillation": fibrillation}


def jump(rate: float, usual: float, options: JumpOptions) -> float:
    """Score: how far the rate is from the usual one."""
    limit = max(options.jump_bpm, options.jump_percent / 100 * usual)
    return abs(rate - usual) / (2 * limit) if usual else 0.0


def report(rate: float, usual: float, alarms: dict[str, float], min_score: float) -> list[Finding]:
    """Findings in order: alarms at their limit or beyond, highest score first; the heart rate; the other alarms."""
    marks = {"heart-rate-jump": f"{rate - usual:+.0f} bpm"}
    findings = [
        Finding(label, min(score, 1.0), None, marks.get(label, ""))
        for label, score in alarms.items()
        if score >= min_score
    ]
    if rate:
        findings.append(Finding("heart-rate", min(max(rate, 0.0) / FULL_BPM, 1.0), None, f"{rate:.0f} bpm"))
    findings.sort(key=lambda finding: -finding.score if finding.label != "heart-rate" else -ALARM)
    return findings
