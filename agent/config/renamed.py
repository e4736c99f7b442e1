"""The keys of 0.1.0 that have another name now: one table, for the message and for replaying old recordings."""

from __future__ import annotations

from typing import Any

# Where an old key stood (* is any name or number) and its new name.
RENAMED = {
    ("lanes", "*", "fine"): "refine",
    ("lanes", "*", "gate", "silence_ms"): "idle_interval_ms",
    ("lanes", "*", "gate", "beat_ms"): "active_interval_ms",
    ("lanes", "*", "gate", "sure_ms"): "burst_ms",
    ("lanes", "*", "gate", "keyframe", "changed"): "min_changed",
    ("lanes", "*", "gate", "keyframe", "step"): "threshold",
    ("lanes", "*", "gate", "motion", "least"): "min_area",
    ("lanes", "*", "gate", "motion", "step"): "threshold",
    ("lanes", "*", "gate", "motion", "again"): "min_change",
    ("lanes", "*", "gate", "outlier", "*", "around"): "center",
    ("lanes", "*", "gate", "outlier", "*", "by"): "tolerance",
    ("lanes", "*", "gate", "outlier", "*", "back"): "hysteresis",
    ("rules", "*", "*", "*", "keep_ms"): "memory_ms",
    ("rules", "*", "*", "*", "quiet"): "absent_penalty",
    ("rules", "*", "*", "*", "missing"): "missing_penalty",
}


def new_name(place: tuple[str | int, ...]) -> str | None:
    """What the key at this place is called now; None where it is not an old one."""
    for old, new in RENAMED.items():
        if len(old) == len(place) and all(step in ("*", str(key)) for step, key in zip(old, place)):
            return new
    return None


def translate(config: Any, place: tuple[str | int, ...] = ()) -> Any:
    """A configuration of 0.1.0, as plain values, with today's keys."""
    if isinstance(config, list):
        return [translate(item, (*place, number)) for number, item in enumerate(config)]
    if not isinstance(config, dict):
        return config
    return {new_name((*place, key)) or key: translate(value, (*place, key)) for key, value in config.items()}
