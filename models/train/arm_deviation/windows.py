"""Runs of the simulated arm, drawn at random, cut into windows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agent.data import Array
from drivers.faults import Fault
from drivers.sensor._arm import LABELS, TYPICAL, UNCLEAR, Run, simulate
from drivers.sensor._arm_plan import Setting

LENGTH = 32  # readings in a window: at 1 kHz about one time constant of the arm's position loop
SCALE = np.array([8.0] * 3 + [300.0] * 3 + [200.0] * 3 + [20.0] * 3, np.float32)  # what the network sees as 1
FRESH = 40  # ticks for which a contact differs from a payload: later the force is steady


class Bounds(NamedTuple):
    """Arms are drawn evenly between none (or half) and these."""

    payload_kg: float
    friction: float
    noise: float


KNOWN = Bounds(5.0, 2.5, 2.0)  # for training
WIDER = Bounds(6.0, 3.0, 2.4)  # for the test: beyond anything trained on
RUN_S = 12.0
# Each seed is an arm and a job of its own; no arm is in two of these. The tests' seeds were drawn after the last change of
# the recipe: 20,000 and 30,000 steered it. Whoever changes the recipe takes new ones.
TRAIN, SEARCH, VALIDATE, TEST = range(300), range(5_000, 5_300), range(10_000, 10_050), range(60_000, 60_120)
HEALTHY_TEST, HEALTHY_S = range(50_000, 50_420), 30.0
MILD, ANY = (0.1, 0.6), (0.1, 2.0)  # sizes of faults in multiples of a typical one: often harmless; all

HEAVIER = np.array(
    [1.0] * 6 + [1.25] * 6, np.float32
)  # a healthy reading with a quarter more at the wrist is healthy, too


def _draw_setting(random: np.random.Generator, bounds: Bounds) -> Setting:
    return Setting(
        payload_kg=random.uniform(0.0, bounds.payload_kg),
        friction=random.uniform(0.3, bounds.friction),
        speed=random.uniform(0.2, 1.0),
        noise=random.uniform(0.5, bounds.noise),
    )


def _draw_faults(random: np.random.Generator, seconds: float, least: float, most: float) -> list[Fault]:
    """About one a second; amounts evenly over the logarithm between these multiples of the typical."""
    starts = np.arange(0.5, seconds - 1.0, 1.2) + random.uniform(0, 0.3, len(np.arange(0.5, seconds - 1.0, 1.2)))
    kinds = random.choice(list(TYPICAL), len(starts))
    shares = np.exp(random.uniform(np.log(least), np.log(most), len(starts)))
    lasts = random.uniform(0.1, 0.4, len(starts))
    return [
        Fault(kind=str(kind), at_s=at, for_s=long, amount=TYPICAL[str(kind)] * share)
        for kind, at, long, share in zip(kinds, starts, lasts, shares)
    ]


def run_of(seed: int, seconds: float, bounds: Bounds, amounts: tuple[float, float] | None) -> Run:
    """One arm, drawn by the seed. amounts: bounds of its faults in multiples of the typical; None for a healthy one."""
    random = np.random.default_rng(seed)
    setting = _draw_setting(random, bounds)
    faults = _draw_faults(random, seconds, *amounts) if amounts else []
    return simulate(setting, seconds, faults, seed)


def windows(readings: Array, ends: Array) -> Array:
    """float32 [n, LENGTH, 12], scaled and clipped to -1..1. ends: of each window the newest reading's row."""
    rows = np.clip(readings / SCALE, -1.0, 1.0).astype(np.float32)
    return np.asarray(rows[ends[:, None] + np.arange(1 - LENGTH, 1)])


def ages(labels: Array) -> Array:
    """For how many ticks each reading's label has been the same."""
    changes = np.flatnonzero(np.diff(labels, prepend=labels[:1] - 1))
    return np.asarray(np.arange(len(labels)) - changes[np.searchsorted(changes, np.arange(len(labels)), "right") - 1])


def choose(labels: Array, random: np.random.Generator) -> Array:
    """Rows to learn from: all near a change of label, one in ten while it lasts, one in forty of healthy work."""
    age = ages(labels)
    ahead = ages(labels[::-1])[::-1]  # ticks until it changes
    near = (age < FRESH) | (ahead < FRESH)
    share = np.where(near, 0.5, np.where(labels > 0, 0.1, 0.025))
    stale = (labels == LABELS.index("collision")) & (age >= FRESH)
    wanted = (labels != UNCLEAR) & ~stale & (random.random(len(labels)) < share)
    wanted[: LENGTH - 1] = False
    return np.flatnonzero(wanted)
