"""`reflexd tune` on two cells: a robot cell whose camera lane it brings below 10 ms, and a lane that cannot be met.

All of the time is work of the lanes: a full HD picture made into a network's input, the network, its decoder.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from agent import yamlfile
from agent.box.machine import machine
from agent.errors import DataError
from agent.scenes import catalog
from agent.tune.describe import described
from agent.tune.run import Options, tune

CLIP = "video-intel/one-by-one-person-detection.mp4"
FULL_HD = {"driver": "camera.sim", "width": 1920, "height": 1080}
CELL_MS, YARD_MS = 10.0, 4.0


def measure(data: Path | None, short: bool) -> dict[str, Any]:
    """data: with CLIP, which then is the picture of both cameras. Raises DataError."""
    seconds = 5.0 if short else 20.0
    with tempfile.TemporaryDirectory(prefix="reflexd-tune-") as name:
        folder = Path(name)
        cell = _tuned(_robot_cell(data), folder, CELL_MS, "floor", seconds)
        yard = _tuned(_yard(data), folder, YARD_MS, "yard", seconds)
    return {"machine": machine(), "short": short, "cell": cell, "yard": yard}


def _tuned(config: dict[str, Any], folder: Path, budget_ms: float, lane: str, seconds: float) -> dict[str, Any]:
    path = folder / "reflexd.yaml"
    path.write_text(json.dumps({**config, "run_dir": "run", "state_dir": "state"}))
    report = described(tune(path, Options(budget_ms, None, seconds), lambda line: None), None)
    result: dict[str, Any] = report["lanes"][lane]
    proposal = result["proposal"]
    before = proposal["before"] if proposal else result
    after = proposal or result.get("nearest") or result
    return {
        "priority": report["priority"],
        "measured_on": result["measured_on"],
        "budget_ms": budget_ms,
        "verdict": result["verdict"],
        "change": after.get("changes"),
        "before": _figures(before),
        "after": _figures(after),
        "costly": result["costly"],
        "missed_by_ms": result["missed_by_ms"],
        "tried": result["tried"],
    }


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("p50_ms", "p99_ms", "events", "events_kept")}


def _camera(data: Path | None) -> dict[str, Any]:
    if data is None:
        return FULL_HD
    if not (data / CLIP).is_file():
        raise DataError(f"{data / CLIP}: no such file: leave out --data for a simulated camera")
    return {"driver": "camera.file", "path": str((data / CLIP).resolve())}


def _robot_cell(data: Path | None) -> dict[str, Any]:
    """The scene with the detector of 80 labels on a full HD camera, where it needs one."""
    config = dict(yamlfile.read(catalog.find("robot-cell")).data)
    floor = config["lanes"]["floor"]
    floor |= {"source": _camera(data), "model": "objects"}
    if data:
        floor["zones"] = {"reach": [[0, 0], [1, 0], [1, 1], [0, 1]]}
    return config


def _yard(data: Path | None) -> dict[str, Any]:
    """Falls are read from keypoints, and only one bundled network finds these."""
    rule = {"any": [{"lane": "yard", "label": "person", "score": 0.4, "hits": 2, "of": 3}], "hold_ms": 500}
    return {
        "lanes": {"yard": {"source": _camera(data), "model": "movenet", "then": "pose-fall"}},
        "actuators": {"horn": {"device": {"driver": "actuator.sim"}, "rest": "quiet"}},
        "rules": {"somebody": {**rule, "actuator": "horn", "verb": "sound"}},
    }


def text(result: dict[str, Any]) -> str:
    lines = [f"{'':<6}{'BUDGET':>7} {'':<8}{'P50':>8} {'P99':>8}  EVENTS KEPT"]
    for name in ("cell", "yard"):
        row = result[name]
        change = ", ".join(f"{key}: {value}" for key, value in (row["change"] or {}).items()) or "no change"
        for when in ("before", "after"):
            figures = row[when]
            kept = f"{figures['events_kept']} of {figures['events']}"
            label, budget = (name, f"{row['budget_ms']:g}") if when == "before" else ("", "")
            lines.append(f"{label:<6}{budget:>7} {when:<8}{figures['p50_ms']:>8.2f} {figures['p99_ms']:>8.2f}  {kept}")
        missed = f", missed by {row['missed_by_ms']:.2f} ms" if row["missed_by_ms"] else ""
        lines.append(f"      {row['verdict']}{missed}: {change}")
    return "\n".join([*lines, "", f"ms from capture to decided, in turns, on {result['machine']}"])
