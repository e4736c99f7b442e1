"""The dynamics of the simulated arm: deviation of its joints from the plan, with and without a fault."""

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
# The observable states. A cause may show as several: a slip is overspeed first, then deviation.
LABELS = ("normal", "deviation", "collision", "overspeed")
TYPICAL = {"deviation": 10.0, "collision": 150.0, "slip": 12.0, "overspeed": 250.0}  # deg, N, deg, deg/s

# The position loop: 4.8 Hz, damping 0.9. deg/s^2 per deg and per deg/s.
KP, KD = 900.0, 54.0
TORQUE_LIMIT = 12_000.0  # deg/s^2 that the motors can give against an error
TORQUE_PER_N = (20.0, 25.0, 45.0)  # deg/s^2 at a joint for one newton at the tool: lever arm over inertia
FALL = 1500.0  # deg/s^2: a link with a slipping clutch falls under its own weight
ARM_M = 0.1  # from the wrist sensor to a contact at the fingertips
JOLT = 0.008  # N at the wrist for one deg/s^2 at a joint: 1 kg at 0.45 m

# Deviation in angle, contact force and deviation in speed at which the arm must be stopped.
STOP_DEG, STOP_N, STOP_DEG_S = 5.0, 60.0, 60.0
HEALTHY = 0.85  # share of those limits; between healthy and stop a reading is UNCLEAR
UNCLEAR = -1


class Arm:
    """Per joint and tick: acceleration of the error = disturbance + fault - controller."""

    def __init__(self, seed: int, rate_hz: float) -> None:
        self.random = random.Random(seed)
        self.dt = 1.0 / rate_hz
        self.error = [0.0] * 3
        self.speed = [0.0] * 3
        self.direction = [0.0] * 3
        self.faults: Mapping[str, float] = {}
        self._recover()

    def _recover(self) -> None:
        self.target = [0.0] * 3
        self.runaway = [0.0] * 3
        self.push = [0.0] * 3
        self.grip = [1.0] * 3
        self.contact = self.age = 0.0
        self.engaged = False

    def set_faults(self, faults: Mapping[str, float]) -> None:
        """From the next tick on these faults act, kind to amount. Joint and direction are drawn at random each time."""
        self._recover()
        self.faults = {kind: amount or TYPICAL[kind] for kind, amount in faults.items() if kind in EFFECTS}
        self.joint = self.random.randrange(3)
        self.sign = self.random.choice((-1.0, 1.0))
        direction = [self.random.uniform(-1.0, 1.0) for _ in range(3)]
        direction[self.joint] = self.sign
        self.direction = [share / hypot(*direction) for share in direction]

    def step(self, nominal: list[float]) -> list[float]:
        """The reading after one more tick, without noise. nominal: one row of `_arm_plan.nominal`."""
        if self.faults:
            self.age += self.dt
            for kind, amount in self.faults.items():
                EFFECTS[kind](self, amount)
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
        # The contact force is the force at the sensor: the inertial share is already subtracted.
        x, y, z = (self.contact * share for share in self.direction) if self.contact else (0.0, 0.0, JOLT * jolt)
        wrist = [fx + x, fy + y, fz + z, tx - ARM_M * y, ty + ARM_M * x, tz]
        return [*error, v1 + speed[0], v2 + speed[1], v3 + speed[2], *wrist]

    def _deviate(self, amount: float) -> None:
        """The controller's zero drifts by `amount` degrees: calibration lost, a belt stretched."""
        self.target[self.joint] = self.sign * amount * (1.0 - exp(-self.age / 0.06))

    def _collide(self, amount: float) -> None:
        """Hard contact: `amount` newtons within about 3 ms; half of it remains while the arm presses on."""
        self.contact = amount * (1.0 - exp(-self.age / 0.003)) * (0.5 + 0.5 * exp(-self.age / 0.03))
        self.push = [self.contact * share * torque for share, torque in zip(self.direction, TORQUE_PER_N)]

    def _slip(self, amount: float) -> None:
        """A clutch slips: the link falls until `amount` degrees are lost and the teeth engage again."""
        j = self.joint
        self.engaged = self.engaged or abs(self.error[j]) >= amount
        self.grip[j] = 1.0 if self.engaged else 0.05
        self.push[j] = 0.0 if self.engaged else self.sign * FALL
        self.target[j] = self.sign * amount if self.engaged else 0.0

    def _run_away(self, amount: float) -> None:
        """The drive loses its position loop and turns `amount` deg/s faster or slower than planned."""
        self.target[self.joint] = self.error[self.joint]
        self.runaway[self.joint] = self.sign * amount


EFFECTS = {"deviation": Arm._deviate, "collision": Arm._collide, "slip": Arm._slip, "overspeed": Arm._run_away}


class Run(NamedTuple):
    """readings: float32 [n, 12]. labels: int8 [n], index in LABELS or UNCLEAR. crossings: ticks that pass 5 deg."""

    readings: Array
    labels: Array
    crossings: Array


def simulate(
    setting: Setting, seconds: float, faults: Sequence[Fault] = (), seed: int = 0, rate_hz: float = 1000.0
) -> Run:
    """The readings that the driver would deliver in that many seconds, with their true labels."""
    table = nominal(setting, seconds, rate_hz, seed)[: int(seconds * rate_hz)]
    arm, schedule = Arm(seed, rate_hz), Faults(faults, "arm")
    schedule.start(0)
    active: Mapping[str, float] = {}
    rows, truth = [], []
    for tick, row in enumerate(table.tolist()):
        now = schedule.active(int(tick * 1e9 / rate_hz))
        if now is not active:
            active = now
            arm.set_faults(active)
        rows.append(arm.step(row))
        truth.append((max(map(abs, arm.error)), arm.contact, max(map(abs, arm.speed))))
    errors, contacts, speeds = np.array(truth).T
    far = errors >= STOP_DEG
    crossings = np.flatnonzero(far[1:] & ~far[:-1]) + 1
    readings = np.array(rows, np.float32) + noise(setting, len(rows), seed)
    return Run(readings, assign_labels(errors, contacts, speeds), crossings)


def assign_labels(errors: Array, contacts: Array, speeds: Array) -> Array:
    """Labels int8 [n] from the deviations: degrees, newtons of contact, degrees per second."""
    shares = np.stack([errors / STOP_DEG, contacts / STOP_N, speeds / STOP_DEG_S])
    first = 1 + np.argmax(shares >= 1, axis=0)  # in the order of LABELS
    worst = shares.max(axis=0)
    return np.asarray(np.select([worst >= 1, worst >= HEALTHY], [first, UNCLEAR], 0), np.int8)
