"""Writes the packages heart and heart-strap: there is no network, so their files hold the window and examples.

The examples are of the simulated heart (drivers/sensor/sim_heart.py). The card is written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from drivers.base import open_source
from drivers.sensor.heart_rate import CHANNELS
from models.train.pack import pack_window

RATE_HZ, WINDOW_S, HOP = 250, 8, 62
STRAP_ROWS = 10
FAULTS = ("rate", "flat_line", "fibrillation", "lead_off")


def make(place: Path) -> None:
    strap = place.parent / "heart-strap"
    _write(place, "heart", ["ecg"], WINDOW_S * RATE_HZ, HOP, {"rate_hz": RATE_HZ, "hop": HOP}, ecg_windows())
    _write(strap, "heart_strap", list(CHANNELS), STRAP_ROWS, 1, {"rate_hz": 1.0}, strap_windows())
    print(f"wrote {place} and {strap}")


def _write(
    place: Path, decoder: str, channels: list[str], length: int, hop: int, options: dict[str, Any], examples: Array
) -> None:
    facts = {
        "version": "1.0.0",
        "decoder": decoder,
        "options": options,
        "budget_ms": 5.0,
        "data": "none: published methods with their published limits",
        "window": {
            "channels": channels,
            "length": length,
            "hop": hop,
            "rate_hz": options["rate_hz"],
            "mean": [0.0] * len(channels),
            "std": [1.0] * len(channels),
        },
    }
    pack_window(place, (1, length, len(channels)), facts, examples)


def ecg_windows() -> Array:
    """float32 [n, length, 1]: a healthy window, and one at the end of each fault."""
    return np.stack([_window(kind) for kind in ("", *FAULTS)])


def _window(kind: str) -> Array:
    faults = [{"kind": kind, "at_s": 2.0, "for_s": 60.0}] if kind else []
    source = open_source("sensor.sim_heart", {"pace": "fast", "seed": 1, "faults": faults}, "heart")
    source.open()
    rows = [sample.payload.copy() for _ in range((WINDOW_S + 2) * RATE_HZ) if (sample := source.read(1.0))]
    return np.vstack(rows)[-WINDOW_S * RATE_HZ :]


def strap_windows() -> Array:
    """float32 [n, rows, 3]: a steady rate, a jump, no beat, no contact."""
    rows = np.tile(np.array([72, 1, 833], np.float32), (4, STRAP_ROWS, 1))
    rows[1, -4:] = 112, 1, 536
    rows[2, -8:] = 0, 1, 0
    rows[3, -3:] = 72, 0, 0
    return np.asarray(rows)
