"""The fault-free run of the simulated arm: pick-and-place moves, disturbances of the joints, loads at the wrist."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from agent.data import Array

UPPER_M, FORE_M, TOOL_KG, GRAVITY = 0.45, 0.40, 1.2, 9.81
CENTRE_M = (0.02, 0.0, 0.10)  # centre of mass of tool and payload, relative to the wrist sensor
TOP_SPEED, TOP_ACCELERATION = 180.0, 1500.0  # of the plan, deg/s and deg/s^2
UNKNOWN_LOAD = 125.0  # deg/s^2 per kg and m: g / 1.5 kg m^2, a third of it missing in the controller's model

# One sigma of a link encoder, of its difference quotient, of a 300 N wrist sensor: deg, deg/s, N, Nm.
NOISE = np.array([0.01] * 3 + [0.4] * 3 + [0.6] * 3 + [0.03] * 3)


class Setting(NamedTuple):
    """Parameters of one arm and job. speed: share of the fastest plan; friction, noise: 1 is typical."""

    payload_kg: float = 2.0
    friction: float = 1.0
    speed: float = 0.7
    noise: float = 1.0


def nominal(setting: Setting, seconds: float, rate_hz: float, seed: int) -> Array:
    """float64 [n, 12]: joint disturbances in deg/s^2, joint speeds in deg/s, force in N and torque in Nm at the wrist.

    Whole pick-and-place cycles, at least `seconds` long; the last row continues at the first without a jump.
    """
    angles, held = _plan(setting.speed, seconds, rate_hz, np.random.default_rng(seed))
    speeds = _slope(angles, rate_hz)
    load = setting.payload_kg * held[:, None]
    disturbance = _disturbance(angles, speeds, _slope(speeds, rate_hz), load, setting.friction)
    return np.hstack([disturbance, speeds, _wrench(angles, TOOL_KG + load, rate_hz)])


def _plan(speed: float, seconds: float, rate_hz: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Joint angles [n, 3] in deg, and the share 0..1 of the payload that the tool carries [n]."""
    home = np.array([0.0, 40.0, -70.0])
    here, grasped = home, 0
    angles: list[Array] = [home[None]]
    held: list[Array] = [np.zeros(1)]
    while sum(map(len, held)) < seconds * rate_hz:
        for there, grasp in [*_cycle(random), (home, 0)]:
            ease = _minimum_jerk(_duration(there - here, speed), rate_hz)
            angles.append(here + ease[:, None] * (there - here))
            held.append(grasped + ease * (grasp - grasped))
            here, grasped = there, grasp
    return np.vstack(angles), np.concatenate(held)


def _cycle(random: np.random.Generator) -> list[tuple[Array, int]]:
    """One pick and place: joint angles to move to, and whether the tool then holds the payload."""
    pick = np.array([-50.0, 25.0, -60.0]) + random.uniform(-20, 20, 3)
    place = np.array([50.0, 30.0, -65.0]) + random.uniform(-20, 20, 3)
    lift = np.array([0.0, random.uniform(10, 25), random.uniform(-10, 10)])
    picking = [(pick + lift, 0), (pick, 0), (pick, 1), (pick + lift, 1)]
    return picking + [(place + lift, 1), (place, 1), (place, 0), (place + lift, 0)]


def _duration(change: Array, speed: float) -> float:
    """Seconds of a minimum-jerk move by `change` degrees: its peaks are 15/8 change/T and 5.77 change/T^2."""
    largest = float(np.abs(change).max())
    by_speed = 1.875 * largest / (TOP_SPEED * speed)
    by_acceleration = sqrt(5.77 * largest / (TOP_ACCELERATION * speed))
    return max(0.12, by_speed, by_acceleration)  # the gripper alone needs 0.12 s


def _minimum_jerk(seconds: float, rate_hz: float) -> Array:
    """0 to 1 with speed and acceleration zero at both ends (Flash and Hogan 1985)."""
    count = max(2, round(seconds * rate_hz))
    t = np.arange(1, count + 1) / count
    return np.asarray(t**3 * (10 - 15 * t + 6 * t**2))


def _slope(series: Array, rate_hz: float) -> Array:
    return np.asarray(np.gradient(series, 1.0 / rate_hz, axis=0))


def _disturbance(angles: Array, speeds: Array, accelerations: Array, load: Array, friction: float) -> Array:
    """Errors of the controller's model, as acceleration [n, 3] in deg/s^2: friction, part of the payload."""
    upper, fore = np.radians(angles[:, 1]), np.radians(angles[:, 1] + angles[:, 2])
    lever = np.stack([0 * fore, UPPER_M * np.cos(upper) + FORE_M * np.cos(fore), FORE_M * np.cos(fore)], axis=1)
    friction_terms = friction * (40.0 * np.tanh(speeds / 2.0) + 0.6 * speeds)
    return np.asarray(-friction_terms - UNKNOWN_LOAD * load * lever - 0.03 * load * accelerations)


def _wrench(angles: Array, mass: Array, rate_hz: float) -> Array:
    """Force and torque [n, 6] at the wrist: weight and inertia of tool and payload."""
    yaw, upper, fore = np.radians(angles[:, 0]), np.radians(angles[:, 1]), np.radians(angles[:, 1] + angles[:, 2])
    reach = UPPER_M * np.cos(upper) + FORE_M * np.cos(fore)
    height = UPPER_M * np.sin(upper) + FORE_M * np.sin(fore)
    tip = np.stack([reach * np.cos(yaw), reach * np.sin(yaw), height], axis=1)
    east, north, up = (_slope(_slope(tip, rate_hz), rate_hz) + [0.0, 0.0, GRAVITY]).T
    ahead = east * np.cos(yaw) + north * np.sin(yaw)
    aside = north * np.cos(yaw) - east * np.sin(yaw)
    along, across = ahead * np.cos(fore) + up * np.sin(fore), up * np.cos(fore) - ahead * np.sin(fore)
    force = -mass * np.stack([along, aside, across], axis=1)
    return np.hstack([force, np.cross(np.array(CENTRE_M), force)])


def noise(setting: Setting, count: int, seed: int) -> Array:
    """Noise of the sensors, float32 [count, 12]."""
    normal = np.random.default_rng(seed + 1).standard_normal((count, 12), np.float32)
    return np.asarray(normal * np.float32(setting.noise) * NOISE.astype(np.float32))
