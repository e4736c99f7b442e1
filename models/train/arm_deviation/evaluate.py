"""How well the arm is stopped in time, and how often for nothing: on recordings of yours, or on simulated arms it never met.

Recordings: DIR/*.csv (or DIR/arm-deviation/*.csv), one run each, at 1 kHz, with a header line. Columns e1 e2 e3 v1 v2 v3
fx fy fz tx ty tz as in drivers/sensor/sim_arm.py (degrees off plan, degrees a second, N, Nm), in any order; t_s (seconds)
may be there; `label` may be: normal, deviation, collision, overspeed, or nothing for a reading between healthy and not.
Without it a reading is a deviation from 5 degrees off plan on, and every stop for another reason counts as a false one.
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
from agent.package import open_package
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
    run_of,
)
from models.train.data import DataError
from models.train.network import Network

# Arms that neither training nor the card's own test has met, payload, friction and noise beyond training.
FAULTY, MILDLY, QUIET = range(900_000, 900_060), range(900_100, 900_130), range(910_000, 910_360)
LABEL = "label"


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of the package in `folder`. Raises DataError."""
    try:
        network = Network((folder / open_package(folder).manifest.file).read_bytes())
    except PackageError as error:
        raise DataError(str(error)) from error
    if not data.is_dir():
        raise DataError(f"{data}: no such folder")
    files = sorted((data / "arm-deviation").glob("*.csv")) or sorted(data.glob("*.csv"))
    figures = _recorded(files, network) if files else simulated(network)
    seeds = ", ".join(f"{part.start}..{part.stop - 1}" for part in (TRAIN, SEARCH, VALIDATE))
    seen = f"nothing of this; training: simulated arms {seeds}"
    return {"package": folder.name, "rule": _rule(), "seen": seen, "unseen": figures}


def _rule() -> str:
    return f"any label but normal >= {stops.THRESHOLD:g} in {stops.HITS} of the last {stops.OF} windows"


def _recorded(files: Iterable[Path], network: Network) -> dict[str, Any]:
    """Each file and all together."""
    tallies = {path.name: stops.tally([read(path)], network) for path in files}
    return {**{name: told(each) for name, each in tallies.items()}, "all": told(_together(list(tallies.values())))}


def simulated(network: Network, faulty: range = FAULTY, mild: range = MILDLY, quiet: range = QUIET) -> dict[str, Any]:
    hours = len(quiet) * HEALTHY_S / 3600
    print(
        f"no csv files there: simulating {hours:.2f} h of healthy work and {len(faulty)} arms with faults",
        file=sys.stderr,
    )
    trials = {"with faults": (faulty, RUN_S, ANY), "harmless": (mild, RUN_S, MILD), "healthy": (quiet, HEALTHY_S, None)}
    return {
        name: {
            "seeds": f"{seeds.start}..{seeds.stop - 1}",
            **told(stops.tally((run_of(seed, seconds, WIDER, amounts) for seed in seeds), network)),
        }
        for name, (seeds, seconds, amounts) in trials.items()
    }


def _together(tallies: list[stops.Tally]) -> stops.Tally:
    hours, false_stops, late, onset = zip(*tallies)
    return stops.Tally(sum(hours), sum(false_stops), np.concatenate(late), np.concatenate(onset))


def told(tally: stops.Tally) -> dict[str, Any]:
    """crossings: times a joint passed 5 degrees. onsets: times any limit was passed."""
    return {
        "hours": round(tally.hours, 4),
        "crossings": share(tally.late),
        "onsets": share(tally.onset),
        "false_stops": tally.false_stops,
        "false_stops_per_hour": round(tally.false_stops / tally.hours, 3),
        "false_stops_per_hour_below_95": round(card.at_most(tally.false_stops, tally.hours), 3),
    }


def share(late: Array) -> dict[str, Any]:
    """Stopped no later than 10 ms after; the interval is Wilson's, 95 %."""
    if not len(late):
        return {"number": 0}
    hits, (low, high) = stops.in_time(late), card.wilson(stops.in_time(late), len(late))
    known = late[~np.isnan(late)]
    return {
        "number": len(late),
        "in_10_ms": hits,
        "share": round(hits / len(late), 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "median_ms": float(np.median(known)) if len(known) else None,
        "never": int(np.isnan(late).sum()),
    }


def read(path: Path) -> Run:
    """One recording. Raises DataError."""
    try:
        header, marks = _labelled(path)
        timed = TIME in header
        _, times, rows = load_csv(Options(path=str(path), channels=CHANNELS, rate_hz=None if timed else 1000.0))
    except DeviceError as error:
        raise DataError(str(error)) from error
    if len(rows) < LENGTH:
        raise DataError(f"{path}: {len(rows)} readings; the model needs {LENGTH} or more")
    step_ms = float(np.median(np.diff(times))) / 1e6
    if not 0.95 < step_ms < 1.05:
        raise DataError(f"{path}: a reading every {step_ms:.3g} ms; the model needs one every ms")
    errors = np.abs(rows[:, :3]).max(axis=1)
    far = errors >= STOP_DEG
    labels = marks if LABEL in header else np.select([far, errors >= HEALTHY * STOP_DEG], [1, UNCLEAR], 0)
    if len(labels) != len(rows):
        raise DataError(f"{path}: {len(rows)} readings and {len(labels)} labels")
    return Run(rows, labels.astype(np.int8), np.flatnonzero(far[1:] & ~far[:-1]) + 1)


def _labelled(path: Path) -> tuple[list[str], Array]:
    """The header, and the label of each row where there are labels. Raises DataError."""
    numbers = {**{name: number for number, name in enumerate(LABELS)}, "": UNCLEAR, "unclear": UNCLEAR}
    marks = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            for line in lines:
                if line and LABEL in header:
                    mark = line[header.index(LABEL)].strip() if len(line) == len(header) else None
                    if mark not in numbers:
                        raise DataError(
                            f"{path}:{lines.line_num}: label '{mark}'; expected {', '.join(LABELS)} or nothing"
                        )
                    marks.append(numbers[mark])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return header, np.array(marks, int)
