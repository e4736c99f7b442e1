"""Stops in time and false stops of arm-deviation, on your recordings or on new simulated arms.

Recordings: DIR/*.csv (or DIR/arm-deviation/*.csv), one run each, at 1 kHz, with a header line. Columns in any order:
e1 e2 e3 v1 v2 v3 fx fy fz tx ty tz as in drivers/sensor/sim_arm.py (degrees off plan, degrees a second, N, Nm); t_s
(seconds) is optional. So is `label`: normal, deviation, collision, overspeed, or empty for a reading between healthy
and faulty. Without it a reading is a deviation from 5 degrees off plan on, and a stop for other reasons is false.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.errors import PackageError
from agent.packages.package import open_package
from drivers.base import DeviceError
from drivers.sensor._arm import CHANNELS, HEALTHY, LABELS, STOP_DEG, UNCLEAR, Run
from drivers.sensor.replay import TIME, Options, load_csv
from models.train import card
from models.train.arm_deviation import stops
from models.train.arm_deviation.windows import (
    ANY,
    HEALTHY_S,
    LENGTH,
    MILD,
    RUN_S,
    SEARCH,
    TRAIN,
    VALIDATE,
    WIDER,
    draw_run,
)
from models.train.data import DataError
from models.train.network import Network

# Arms that are neither in training nor in the test of the card, with payload, friction and noise beyond training.
FAULTY, MILDLY_FAULTY, HEALTHY_ARMS = range(900_000, 900_060), range(900_100, 900_130), range(910_000, 910_360)
LABEL = "label"
LABEL_NUMBERS = {**{name: number for number, name in enumerate(LABELS)}, "": UNCLEAR, "unclear": UNCLEAR}


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of the package in `folder`. Raises DataError."""
    try:
        network = Network((folder / open_package(folder).manifest.file).read_bytes())
    except PackageError as error:
        raise DataError(str(error)) from error
    if not data.is_dir():
        raise DataError(f"{data}: no such folder")
    files = sorted((data / "arm-deviation").glob("*.csv")) or sorted(data.glob("*.csv"))
    unseen = _recorded(files, network) if files else simulated(network)
    seeds = ", ".join(f"{part.start}..{part.stop - 1}" for part in (TRAIN, SEARCH, VALIDATE))
    seen = f"none of this data; training: simulated arms {seeds}"
    return {"package": folder.name, "rule": _rule(), "seen": seen, "unseen": unseen}


def _rule() -> str:
    return f"any label except normal >= {stops.THRESHOLD:g} in {stops.HITS} of the last {stops.OF} windows"


def _recorded(files: Iterable[Path], network: Network) -> dict[str, Any]:
    """Figures of each file and of all together."""
    tallies = {path.name: stops.tally([read(path)], network) for path in files}
    return {**{name: figures(tally) for name, tally in tallies.items()}, "all": figures(stops.merge(tallies.values()))}


def simulated(
    network: Network, faulty: range = FAULTY, mild: range = MILDLY_FAULTY, healthy: range = HEALTHY_ARMS
) -> dict[str, Any]:
    hours = len(healthy) * HEALTHY_S / 3600
    print(
        f"no csv files in the folder: simulating {hours:.2f} h of healthy work and {len(faulty)} arms with faults",
        file=sys.stderr,
    )
    trials = {
        "with faults": (faulty, RUN_S, ANY),
        "harmless": (mild, RUN_S, MILD),
        "healthy": (healthy, HEALTHY_S, None),
    }
    return {
        name: {
            "seeds": f"{seeds.start}..{seeds.stop - 1}",
            **figures(stops.tally((draw_run(seed, seconds, WIDER, amounts) for seed in seeds), network)),
        }
        for name, (seeds, seconds, amounts) in trials.items()
    }


def figures(tally: stops.Tally) -> dict[str, Any]:
    """crossings: a joint passed 5 degrees. onsets: any limit was exceeded."""
    return {
        "hours": round(tally.hours, 4),
        "crossings": share_in_time(tally.crossing_ms),
        "onsets": share_in_time(tally.onset_ms),
        "false_stops": tally.false_stops,
        "false_stops_per_hour": round(tally.false_stops / tally.hours, 3),
        "false_stops_per_hour_below_95": round(card.rate_bound(tally.false_stops, tally.hours), 3),
    }


def share_in_time(delays_ms: Array) -> dict[str, Any]:
    """Stops within 10 ms; the interval is Wilson's, 95 %."""
    if not len(delays_ms):
        return {"number": 0}
    hits = stops.in_time(delays_ms)
    low, high = card.wilson(hits, len(delays_ms))
    known = delays_ms[~np.isnan(delays_ms)]
    return {
        "number": len(delays_ms),
        "in_10_ms": hits,
        "share": round(hits / len(delays_ms), 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "median_ms": float(np.median(known)) if len(known) else None,
        "never": int(np.isnan(delays_ms).sum()),
    }


def read(path: Path) -> Run:
    """Read one recording. Raises DataError."""
    try:
        header, labelled = _read_labels(path)
        rate_hz = None if TIME in header else 1000.0
        options = Options.model_validate({"path": str(path), "channels": CHANNELS, "rate_hz": rate_hz})
        _, times, rows = load_csv(options)
    except DeviceError as error:
        raise DataError(str(error)) from error
    if len(rows) < LENGTH:
        raise DataError(f"{path}: {len(rows)} readings; the model needs {LENGTH} or more")
    step_ms = float(np.median(np.diff(times))) / 1e6
    if not 0.95 < step_ms < 1.05:
        raise DataError(f"{path}: a reading every {step_ms:.3g} ms; the model needs one every 1 ms")
    errors = np.abs(rows[:, :3]).max(axis=1)
    far = errors >= STOP_DEG
    labels = labelled if LABEL in header else np.select([far, errors >= HEALTHY * STOP_DEG], [1, UNCLEAR], 0)
    if len(labels) != len(rows):
        raise DataError(f"{path}: {len(rows)} readings and {len(labels)} labels")
    return Run(rows, labels.astype(np.int8), np.flatnonzero(far[1:] & ~far[:-1]) + 1)


def _read_labels(path: Path) -> tuple[list[str], Array]:
    """The header, and the label of each row if there is such a column. Raises DataError."""
    labels = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            for line in lines:
                if line and LABEL in header:
                    text = line[header.index(LABEL)].strip() if len(line) == len(header) else None
                    if text not in LABEL_NUMBERS:
                        expected = ", ".join(LABELS)
                        raise DataError(f"{path}:{lines.line_num}: label '{text}'; expected {expected} or nothing")
                    labels.append(LABEL_NUMBERS[text])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return header, np.array(labels, int)
