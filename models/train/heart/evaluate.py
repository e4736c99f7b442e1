"""Detected beats and alarms of the package on PhysioNet records with annotated beats.

Records: DIR/ecg (or DIR)/*.hea with .dat and .atr beside them. Every signal in mV is evaluated. A detected beat is
correct within 150 ms of an annotated one (ANSI/AAMI EC57); each annotation counts once. An alarm is a score of 0.5 or
more in one window.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.decoders import vitals
from agent.decoders.base import Finding
from agent.decoders.heart import ALARM
from agent.errors import PackageError
from agent.packages.package import Package, open_package
from drivers.base import DeviceError
from drivers.resample import resample
from drivers.sensor.wfdb import Options, load, load_header
from models.train.card import wilson
from models.train.data import DataError, find_set
from models.train.heart import atr

TOLERANCE_S = 0.15


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of each record. Raises DataError."""
    place = find_set(data, "ecg", "*.hea", "*.atr")
    try:
        opened = open_package(folder)
        records = {
            path.stem: _record(opened, path)
            for path in sorted(place.glob("*.hea"))
            if path.with_suffix(".atr").is_file()
        }
    except (PackageError, DeviceError) as error:
        raise DataError(str(error)) from error
    return {
        "package": folder.name,
        "seen": "the limits are those of the papers; the window lengths were chosen on records 100 and cu01",
        "records": records,
    }


def _record(opened: Package, header: Path) -> dict[str, Any]:
    """Figures of each signal of one record."""
    record = load_header(header)
    truth = atr.read(header.with_suffix(".atr"))
    _, rows = load(header, record, Options.model_validate({"path": str(header)}))
    rate = opened.manifest.options["rate_hz"]
    scale = rate / record.rate_hz
    rows = resample(rows, record.rate_hz, rate)
    scaled = atr.Annotations(truth.beats * scale, truth.fibrillation * scale)
    return {signal.name: _channel(opened, rows[:, n], scaled) for n, signal in enumerate(record.signals)}


def _channel(opened: Package, ecg: Array, truth: atr.Annotations) -> dict[str, Any]:
    """ecg: float32 [n] at the package's rate; truth: in samples at that rate."""
    assert opened.manifest.window
    rate, length, hop = opened.manifest.options["rate_hz"], opened.manifest.window.length, opened.manifest.window.hop
    if len(ecg) < length:
        raise DataError(f"{len(ecg) / rate:.1f} s of ECG; the model needs {length / rate:g} s")
    fibrillating = np.zeros(len(ecg), bool)
    for first, last in truth.fibrillation.astype(int):
        fibrillating[first : last + 1] = True
    detected = detect_beats(ecg, rate, length, hop)
    annotated = truth.beats.astype(int)
    counts = match_beats(detected[~fibrillating[detected]], annotated[~fibrillating[annotated]], TOLERANCE_S * rate)
    alarms = list(_alarms(opened, ecg, length, hop))
    return {
        "minutes": round(len(ecg) / rate / 60, 2),
        **_shares(*counts),
        **_alarm_figures(alarms, truth.fibrillation, fibrillating, opened),
    }


def detect_beats(ecg: Array, rate_hz: float, length: int, hop: int) -> Array:
    """Beats of the whole record as a lane detects them: in windows one hop apart, each window adding its newest hop."""
    parts: list[Array] = []
    for end in range(length, len(ecg) + 1, hop):
        beats = vitals.beats(ecg[end - length : end], rate_hz)
        first, last = end == length, end + hop > len(ecg)
        newest = length - round(vitals.MARGIN_S * rate_hz)
        new = beats[(first | (beats >= newest - hop)) & (last | (beats < newest))]
        parts.append(new + (end - length))
    return np.concatenate(parts)


def match_beats(detected: Array, truth: Array, tolerance: float) -> tuple[int, int, int]:
    """Number of correct, missed and false beats; both arrays ascend."""
    correct = i = j = 0
    while i < len(detected) and j < len(truth):
        distance = detected[i] - truth[j]
        if abs(distance) <= tolerance:
            correct, i, j = correct + 1, i + 1, j + 1
        elif distance < 0:
            i += 1
        else:
            j += 1
    return correct, len(truth) - correct, len(detected) - correct


def _shares(correct: int, missed: int, false: int) -> dict[str, Any]:
    """Sensitivity and precision with Wilson's 95 % interval."""
    sensitivity, precision = wilson(correct, correct + missed), wilson(correct, correct + false)
    return {
        "beats": correct + missed,
        "found": correct,
        "missed": missed,
        "false": false,
        "sensitivity": round(correct / max(1, correct + missed), 4),
        "sensitivity_95": [round(bound, 4) for bound in sensitivity],
        "precision": round(correct / max(1, correct + false), 4),
        "precision_95": [round(bound, 4) for bound in precision],
    }


def _alarms(opened: Package, ecg: Array, length: int, hop: int) -> Iterator[tuple[int, list[Finding]]]:
    """(newest sample, alarms) of each window."""
    for end in range(length, len(ecg) + 1, hop):
        opened.engine.input(0)[0, :, 0] = ecg[end - length : end]
        opened.engine.invoke()
        findings = opened.findings()
        yield end - 1, [finding for finding in findings if finding.label != "heart-rate" and finding.score >= ALARM]


def _alarm_figures(
    alarms: list[tuple[int, list[Finding]]], episodes: Array, fibrillating: Array, opened: Package
) -> dict[str, Any]:
    """Windows with a false alarm, and the delay of the first alarm after the onset of fibrillation."""
    rate = opened.manifest.options["rate_hz"]
    normal = [findings for sample, findings in alarms if not fibrillating[sample]]
    figures: dict[str, Any] = {"windows_without_fibrillation": len(normal), "false_alarms": sum(map(bool, normal))}
    for first, last in episodes.astype(int):
        inside = [
            (sample - first, any(finding.label == "fibrillation" for finding in findings))
            for sample, findings in alarms
            if first <= sample <= last
        ]
        # from here on the evaluated part of the window holds fibrillation only
        full = [alarm for delay, alarm in inside if delay >= opened.decoder.options.fibrillation_s * rate]
        figures[f"fibrillation_at_{first / rate:.1f}_s"] = {
            "first_alarm_s": next((round(delay / rate, 2) for delay, alarm in inside if alarm), None),
            "windows_in_it": len(full),
            "of_them_alarmed": sum(full),
        }
    return figures
