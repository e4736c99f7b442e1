"""Reads the log of a UR3 at 1 Hz, and finds the rows shortly before a stop."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from drivers.base import DeviceError
from drivers.sensor.replay import Options, load_csv
from models.train.data import DataError, find_set

SET, FILE = "robot-ur3-cobotops", "ur3_cobotops.csv"
CURRENTS, SPEEDS = tuple(f"Current_J{joint}" for joint in range(6)), tuple(f"Speed_J{joint}" for joint in range(6))
TEMPERATURES = ("Temperature_T0", *(f"Temperature_J{joint}" for joint in range(1, 6)))  # spelled as in the log
CHANNELS = (*CURRENTS, *SPEEDS, "Tool_current", *TEMPERATURES)
STOP, LOST, CYCLE, CLOCK = "Robot_ProtectiveStop", "grip_lost", "cycle", "Timestamp"
TARGETS = ("either", "protective stop", "grip lost")

LENGTH = 10  # rows of a window, 10 s: nearly half a cycle of 24 s
# Rows ahead. A UR3 brakes in under 1 s, a person looks up in 2; 10 s would be 40 % of a cycle: a guess of its phase.
HORIZON = 5
PAUSE_S = 3.0  # the log has three longer pauses; windows do not extend across them


class Recording(NamedTuple):
    """The log. seconds: float64 [n]; readings: float32 [n, CHANNELS] in A, rad/s, A, C; stops, lost: bool [n];
    cycle: float [n].
    """

    seconds: Array
    readings: Array
    stops: Array
    lost: Array
    cycle: Array

    def trouble(self, target: str) -> Array:
        """Array bool [n]: the robot is stopped, or has lost the part, in this row."""
        return {TARGETS[0]: self.stops | self.lost, TARGETS[1]: self.stops, TARGETS[2]: self.lost}[target]


def read(data: Path) -> Recording:
    """Read the log; an empty cell repeats the value above. Raises DataError."""
    path = find_set(data, SET, FILE) / FILE
    columns = (*CHANNELS, STOP, CYCLE)
    options = Options.model_validate({"path": str(path), "channels": columns, "rate_hz": 1.0, "holes": "hold"})
    try:
        _, _, rows = load_csv(options)
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.DictReader(file) if any(line.values())]
        seconds = np.array([_timestamp(line[CLOCK]) for line in lines])
        lost = np.array([line[LOST].strip().lower() in ("true", "1", "1.0") for line in lines])
    except (DeviceError, KeyError, ValueError) as error:
        raise DataError(f"{path}: {error}: expected a file with the layout of {FILE} of '{SET}'") from error
    if (np.diff(seconds) <= 0).any():
        raise DataError(f"{path}: {CLOCK} steps back or stands still")
    return Recording(seconds, rows[:, : len(CHANNELS)], rows[:, -2] > 0.5, lost, rows[:, -1])


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text.strip(' "').replace("Z", "+00:00")).timestamp()  # some rows are quoted twice


def incidents(trouble: Array) -> Array:
    """First row of each incident; trouble that begins within HORIZON rows after other trouble belongs to that
    incident.
    """
    rows = np.flatnonzero(trouble)
    return rows[np.diff(rows, prepend=-HORIZON - 1) > HORIZON]


def ahead(trouble: Array) -> Array:
    """Array bool [n]: an incident begins 1 to HORIZON rows later."""
    soon = np.zeros(len(trouble) + HORIZON, bool)
    for lead in range(1, HORIZON + 1):
        soon[incidents(trouble) + HORIZON - lead] = True
    return soon[HORIZON:]


def usable(recording: Recording) -> Array:
    """Array bool [n]: no pause in the window before and the horizon after the row, and no trouble now or shortly
    before.

    A stop that has already begun cannot be predicted, nor can its immediate repetition.
    """
    part = np.cumsum(np.diff(recording.seconds, prepend=recording.seconds[0]) > PAUSE_S)
    good = np.zeros(len(part), bool)
    good[LENGTH - 1 : -HORIZON] = part[: -HORIZON - LENGTH + 1] == part[LENGTH - 1 + HORIZON :]
    near = np.convolve(recording.trouble(TARGETS[0]), np.ones(HORIZON + 1))[: len(part)] > 0
    return np.asarray(good & ~near)


def windows(readings: Array, rows: Array) -> Array:
    """float32 [len(rows), LENGTH, channels]: each row with those before it, oldest first."""
    return np.asarray(readings[rows[:, None] + np.arange(1 - LENGTH, 1)])


def phase(cycle: Array) -> Array:
    """Array int [n]: rows since the cycle counter last rose."""
    starts = np.r_[0, np.flatnonzero(np.diff(cycle)) + 1]
    rows = np.arange(len(cycle))
    return np.asarray(rows - starts[np.searchsorted(starts, rows, "right") - 1])


def split(rows: Array, share: float, total: int) -> tuple[Array, Array]:
    """Usable rows before and after `share` of the recording, LENGTH + HORIZON apart: no reading is on both sides."""
    cut = int(total * share)
    return rows[rows < cut - LENGTH - HORIZON], rows[rows >= cut]


def folds(rows: Array, count: int) -> list[tuple[Array, Array]]:
    """Training rows and rows held out, for each period of time held out; the same distance on both sides of it."""
    edges = np.linspace(rows[0], rows[-1] + 1, count + 1).astype(int)
    distance = LENGTH + HORIZON
    return [
        (rows[(rows < first - distance) | (rows >= last + distance)], rows[(rows >= first) & (rows < last)])
        for first, last in zip(edges, edges[1:])
    ]
