"""How well the package finds beats, and what it takes for an alarm, on PhysioNet records with annotations of their beats.

Records: DIR/ecg (or DIR)/*.hea with .dat and .atr beside them. Every signal in mV is judged. A found beat is right within
150 ms of an annotated one (ANSI/AAMI EC57), each used once. An alarm is a score of 0.5 or more in one window.
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
from agent.package import Package, open_package
from drivers.base import DeviceError
from drivers.resample import resample
from drivers.sensor.wfdb import Options, load, load_header
from models.train.card import wilson
from models.train.data import DataError, find
from models.train.heart import atr

TOLERANCE_S = 0.15


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Raises DataError."""
    place = find(data, "ecg", "*.hea", "*.atr")
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
        "seen": "limits are those of the papers; window lengths were chosen on 100 and cu01",
        "records": records,
    }


def _record(opened: Package, header: Path) -> dict[str, Any]:
    """Each signal of one record."""
    told = load_header(header)
    truth = atr.read(header.with_suffix(".atr"))
    _, rows = load(header, told, Options.model_validate({"path": str(header)}))
    rate = opened.manifest.options["rate_hz"]
    scale = rate / told.rate_hz
    rows = resample(rows, told.rate_hz, rate)
    moved = atr.Annotations(truth.beats * scale, truth.fibrillation * scale)
    return {one.name: _channel(opened, rows[:, n], moved) for n, one in enumerate(told.signals)}


def _channel(opened: Package, ecg: Array, truth: atr.Annotations) -> dict[str, Any]:
    """ecg: float32 [n] at the package's rate; truth in its samples."""
    assert opened.manifest.window
    rate, length, hop = opened.manifest.options["rate_hz"], opened.manifest.window.length, opened.manifest.window.hop
    if len(ecg) < length:
        raise DataError(f"{len(ecg) / rate:.1f} s of ECG; the model needs {length / rate:g} s")
    wild = np.zeros(len(ecg), bool)
    for first, last in truth.fibrillation.astype(int):
        wild[first : last + 1] = True
    found = stitched(ecg, rate, length, hop)
    at = truth.beats.astype(int)
    counts = matched(found[~wild[found]], at[~wild[at]], TOLERANCE_S * rate)
    seen = list(_alarms(opened, ecg, length, hop))
    return {
        "minutes": round(len(ecg) / rate / 60, 2),
        **_shares(*counts),
        **_alarmed(seen, truth.fibrillation, wild, opened),
    }


def stitched(ecg: Array, rate_hz: float, length: int, hop: int) -> Array:
    """Beats of the whole record as a lane finds them: from windows a hop apart, each beat from the window whose turn it is."""
    found: list[Array] = []
    for end in range(length, len(ecg) + 1, hop):
        beats = vitals.beats(ecg[end - length : end], rate_hz)
        first, last = end == length, end + hop > len(ecg)
        newest = length - round(vitals.MARGIN_S * rate_hz)
        mine = beats[(first | (beats >= newest - hop)) & (last | (beats < newest))]
        found.append(mine + (end - length))
    return np.concatenate(found)


def matched(found: Array, truth: Array, tolerance: float) -> tuple[int, int, int]:
    """Right, missed, and false; both ascending."""
    right = i = j = 0
    while i < len(found) and j < len(truth):
        apart = found[i] - truth[j]
        if abs(apart) <= tolerance:
            right, i, j = right + 1, i + 1, j + 1
        elif apart < 0:
            i += 1
        else:
            j += 1
    return right, len(truth) - right, len(found) - right


def _shares(right: int, missed: int, false: int) -> dict[str, Any]:
    """With Wilson's 95 % interval."""
    sensitivity, precision = wilson(right, right + missed), wilson(right, right + false)
    return {
        "beats": right + missed,
        "found": right,
        "missed": missed,
        "false": false,
        "sensitivity": round(right / max(1, right + missed), 4),
        "sensitivity_95": [round(one, 4) for one in sensitivity],
        "precision": round(right / max(1, right + false), 4),
        "precision_95": [round(one, 4) for one in precision],
    }


def _alarms(opened: Package, ecg: Array, length: int, hop: int) -> Iterator[tuple[int, list[Finding]]]:
    """(newest sample, alarms that are due) of each window."""
    for end in range(length, len(ecg) + 1, hop):
        opened.engine.input(0)[0, :, 0] = ecg[end - length : end]
        opened.engine.invoke()
        yield end - 1, [one for one in opened.findings() if one.label != "heart-rate" and one.score >= ALARM]


def _alarmed(seen: list[tuple[int, list[Finding]]], episodes: Array, wild: Array, opened: Package) -> dict[str, Any]:
    """Windows with an alarm where nothing is the matter, and how long after the onset of fibrillation the first came."""
    rate = opened.manifest.options["rate_hz"]
    calm = [found for at, found in seen if not wild[at]]
    told: dict[str, Any] = {"windows_without_fibrillation": len(calm), "false_alarms": sum(map(bool, calm))}
    for first, last in episodes.astype(int):
        inside = [
            (at - first, any(one.label == "fibrillation" for one in found)) for at, found in seen if first <= at <= last
        ]
        # from here on the part of the window that is looked at holds nothing else
        full = [due for late, due in inside if late >= opened.decoder.options.fibrillation_s * rate]
        told[f"fibrillation_at_{first / rate:.1f}_s"] = {
            "first_alarm_s": next((round(late / rate, 2) for late, due in inside if due), None),
            "windows_in_it": len(full),
            "of_them_alarmed": sum(full),
        }
    return told
