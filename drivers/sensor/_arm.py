"""The live half of the simulated arm: how far its joints are from plan, with and without a fault."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import exp, hypot
from typing import NamedTuple

import numpy as np

from agent.data import Array
from drivers.faults import Fault, Faults
from drivers.sensor._arm_plan import Setting, noise, nominal

CHANNELS = ("e1", "e2", "e3", "v1", "v2", "v3", "fx", "fy", "fz", "tx", "ty", "tz")
LABELS = (
    "normal",
    "deviation",
    "collision",
    "overspeed",
)  # what shows; the cause need not: a slip is fast, then far off
TYPICAL = {"deviation": 10.0, "collision": 150.0, "slip": 12.0, "overspeed": 250.0}  # deg, N, deg, deg/s

# The position loop: 4.8 Hz, damping 0.9. deg/s^2 per deg and per deg/s.
KP, KD = 900.0, 54.0
TORQUE_LIMIT = 12_000.0  # deg/s^2 that the motors can give against an error
TORQUE_PER_N = (20.0, 25.0, 45.0)  # deg/s^2 at a joint for one newton at the tool: lever arm over inertia
FALL = 1500.0  # deg/s^2: a link that nothing grips falls under its weight
ARM_M = 0.1  # a contact at the fingertips, seen from the wrist sensor
JOLT = 0.008  # N at the wrist for one deg/s^2 at a joint: 1 kg at 0.45 m

STOP_DEG, STOP_N, STOP_DEG_S = 5.0, 60.0, 60.0  # off plan in angle, contact, off plan in speed: somebody must stop it
HEALTHY = 0.85  # of those; between healthy and stop a reading is UNCLEAR
UNCLEAR = -1


class Arm:
    """Per joint and tick: disturbance + fault - controller = acceleration of the error."""

    def __init__(self, seed: int, rate_hz: float) -> None:
        self.random = random.Random(seed)
        self.dt = 1.0 / rate_hz
        self.error = [0.0] * 3
        self.speed = [0.0] * 3
        self.way = [0.0] * 3
        self.on: Mapping[str, float] = {}
        self._recover()

    def _recover(self) -> None:
        self.target = [0.0] * 3
        self.runaway = [0.0] * 3
        self.push = [0.0] * 3
        self.grip = [1.0] * 3
        self.contact = self.age = 0.0
        self.caught = False

    def upset(self, on: Mapping[str, float]) -> None:
        """From the next tick on these faults act, kind to amount. Which joint and which way is drawn anew."""
        self._recover()
        self.on = {kind: amount or TYPICAL[kind] for kind, amount in on.items() if kind in ACTS}
        self.joint = self.random.randrange(3)
        self.sign = self.random.choice((-1.0, 1.0))
        way = [self.random.uniform(-1.0, 1.0) for _ in range(3)]
        way[self.joint] = self.sign
        self.way = [share / hypot(*way) for share in way]

    def step(self, nominal: list[float]) -> list[float]:
        """The reading after one more tick, without noise. nominal: one row of `_arm_plan.nominal`."""
        if self.on:
            self.age += self.dt
            for kind, amount in self.on.items():
                ACTS[kind](self, amount)
        jolt = 0.0
        error, speed = self.error, self.speed
        for j in (0, 1, 2):
            control = KP * (error[j] - self.target[j]) + KD * (speed[j] - self.runaway[j])
            if not -TORQUE_LIMIT < control < TORQUE_LIMIT:
                control = TORQUE_LIMIT if control > 0 else -TORQUE_LIMIT
            acceleration = nominal[j] + self.push[j] - self.grip[j] * control
            speed[j] += acceleration * self.dt
            error[j] += speed[j] * self.dt
            jolt += acceleration
        _, _, _, v1, v2, v3, fx, fy, fz, tx, ty, tz = nominal
        # A contact's newtons are those the sensor feels: what the jolt takes from them is already gone.
        x, y, z = (self.contact * share for share in self.way) if self.contact else (0.0, 0.0, JOLT * jolt)
        wrist = [fx + x, fy + y, fz + z, tx - ARM_M * y, ty + ARM_M * x, tz]
        return [*error, v1 + speed[0], v2 + speed[1], v3 + speed[2], *wrist]

    def _deviate(self, amount: float) -> None:
        """The controller's zero drifts `amount` degrees off the plan's: calibration lost, a belt stretched."""
        self.target[self.joint] = self.sign * amount * (1.0 - exp(-self.age / 0.06))

    def _collide(self, amount: float) -> None:
        """Metal meets something: `amount` newtons within some 3 ms; half of it stays while the arm leans on it."""
        self.contact = amount * (1.0 - exp(-self.age / 0.003)) * (0.5 + 0.5 * exp(-self.age / 0.03))
        self.push = [self.contact * share * torque for share, torque in zip(self.way, TORQUE_PER_N)]

    def slip(self, amount: float) -> None:
        """A clutch lets go: the link falls until `amount` degrees are lost and the teeth catch."""
        j = self.joint
        self.caught = self.caught or abs(self.error[j]) >= amount
        self.grip[j] = 1.0 if self.caught else 0.05
        self.push[j] = 0.0 if self.caught else self.sign * FALL
        self.target[j] = self.sign * amount if self.caught else 0.0

    def _run_away(self, amount: float) -> None:
        """The drive loses its position loop and turns `amount` deg/s off plan."""
        self.target[self.joint] = self.error[self.joint]
        self.runaway[self.joint] = self.sign * amount


ACTS = {"deviation": Arm._deviate, "collision": Arm._collide, "slip": Arm.slip, "overspeed": Arm._run_away}


class Run(NamedTuple):
    """readings: float32 [n, 12]. labels: int8 [n], index in LABELS or UNCLEAR. crossings: ticks at which 5 deg was passed."""

    readings: Array
    labels: Array
    crossings: Array


def simulate(
    setting: Setting, seconds: float, faults: Sequence[Fault] = (), seed: int = 0, rate_hz: float = 1000.0
) -> Run:
    """What the driver would show in so many seconds, and what was really the matter."""
    table = nominal(setting, seconds, rate_hz, seed)[: int(seconds * rate_hz)]
    arm, schedule = Arm(seed, rate_hz), Faults(faults, "arm")
    schedule.start(0)
    on: Mapping[str, float] = {}
    rows, truth = [], []
    for tick, row in enumerate(table.tolist()):
        now = schedule.active(int(tick * 1e9 / rate_hz))
        if now is not on:
            on = now
            arm.upset(on)
        rows.append(arm.step(row))
        truth.append((max(map(abs, arm.error)), arm.contact, max(map(abs, arm.speed))))
    errors, contacts, speeds = np.array(truth).T
    far = errors >= STOP_DEG
    crossings = np.flatnonzero(far[1:] & ~far[:-1]) + 1
    readings = np.array(rows, np.float32) + noise(setting, len(rows), seed)
    return Run(readings, judge(errors, contacts, speeds), crossings)


def judge(errors: Array, contacts: Array, speeds: Array) -> Array:
    """Labels int8 [n] from how far off plan: degrees, newtons of contact, degrees a second."""
    shares = np.stack([errors / STOP_DEG, contacts / STOP_N, speeds / STOP_DEG_S])
    first = 1 + np.argmax(shares >= 1, axis=0)  # in the order of LABELS
    worst = shares.max(axis=0)
    return np.asarray(np.select([worst >= 1, worst >= HEALTHY], [first, UNCLEAR], 0), np.int8)
