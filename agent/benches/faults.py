"""`reflexd bench faults`: every simulated fault many times at random: who did not come back, what was lost, safe too late."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from agent import ledger
from agent.benches.arc import CAMERA_MODEL, SENSOR_MODEL, machine
from agent.benches.programs import actuate, end, spawn

# A lane for each kind, so that all run side by side. Those in SILENT end the stream of good samples; a camera that changes
# its format (to half the size) does not, as the lane fits itself to any size.
CAMERA = ("unplug", "freeze", "repeat", "clock_jump", "noise", "wrong_format")
ARM = ("deviation", "collision", "slip", "overspeed", "unplug", "freeze", "repeat", "clock_jump", "noise")
SILENT = ("unplug", "freeze", "repeat", "clock_jump")
TIMEOUT_MS, SAFE_AFTER_MS, LASTS_S, EVERY_S = 200.0, 100.0, (0.5, 0.7), (1.6, 2.0)
BACK_S = 8.0  # retries begin at 0.1 s and double up to 5 s
SLACK_MS = 20.0  # of the scheduler on a box without real-time rights, and of the log's clock
BEGINS = re.compile(rb"^(\d+):(\d+):(\d+\.\d+) \w+ +(\S+): injected fault '(\w+)' begins")


class Fault(NamedTuple):
    """t: unix seconds of the day, local time, when it began to show."""

    lane: str
    kind: str
    t: float


def measure(times: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="reflexd-faults-") as name:
        folder = Path(name)
        lanes = {f"camera-{kind}": ("camera.sim", kind) for kind in CAMERA}
        lanes |= {f"arm-{kind}": ("sensor.sim_arm", kind) for kind in ARM}
        path = folder / "faults.yaml"
        path.write_text(json.dumps(_configuration(folder, lanes, times, random)), encoding="utf-8")
        begun, snapshots = run(path, folder, times)
        silences = [fault for fault in begun if fault.kind in SILENT]
        late = _lateness(silences, folder)
    shown = {lane: sum(fault.lane == lane for fault in begun) for lane in lanes}
    return {
        "machine": machine(),
        "faults": len(begun),
        "lanes": len(lanes),
        "fewest_of_a_kind": min(shown.values()),
        "lanes_not_back": [one.lane for one in snapshots if one.state != "running"],
        "decisions_uncounted": sum(_uncounted(one.counts) for one in snapshots),
        "decisions": sum(one.counts["decisions"] for one in snapshots),
        "silences": len(late),
        "safe_too_late": int((late > SLACK_MS).sum()),
        "late": [f"{one.lane} {ms:+.0f} ms" for one, ms in zip(silences, late) if ms > SLACK_MS],
        "safe_after_bound_ms": {key: round(value, 1) for key, value in ledger.quantiles(late).items()},
    }


def _configuration(
    folder: Path, lanes: dict[str, tuple[str, str]], times: int, random: np.random.Generator
) -> dict[str, Any]:
    sources = {
        "camera.sim": {"width": 160, "height": 120, "fps": 20, "pictures": 2, "timeout_ms": TIMEOUT_MS},
        "sensor.sim_arm": {"rate_hz": 100, "timeout_ms": TIMEOUT_MS},
    }
    config: dict[str, Any] = {
        "run_dir": str(folder),
        "state_dir": str(folder),
        "lanes": {},
        "actuators": {},
        "rules": {},
    }
    for name, (driver, kind) in lanes.items():
        model, label = (CAMERA_MODEL, "person") if driver == "camera.sim" else (SENSOR_MODEL, "normal")
        always = [{"lane": name, "label": label, "absent": absent} for absent in (False, True)]
        source = {"driver": driver, **sources[driver], "faults": _schedule(kind, times, random)}
        config["lanes"][name] = {"source": source, "model": model}
        device = {"driver": "actuator.log", "path": str(folder / f"{name}.jsonl")}
        config["actuators"][name] = {
            "device": device,
            "rest": "rest",
            "verbs": ["rest", "go"],
            "safe_after_ms": SAFE_AFTER_MS,
        }
        config["rules"][name] = {
            "any": always,
            "actuator": name,
            "verb": "go",
            "every_sample": True,
            "deadline_ms": 1000,
        }
    return config


def _schedule(kind: str, times: int, random: np.random.Generator) -> list[dict[str, Any]]:
    starts = 3.0 + np.cumsum(random.uniform(*EVERY_S, times)) + random.uniform(0, 1)
    lasts = random.uniform(*LASTS_S, times)
    return [
        {"kind": kind, "at_s": round(float(at), 3), "for_s": round(float(long), 3)} for at, long in zip(starts, lasts)
    ]


def run(path: Path, folder: Path, times: int) -> tuple[list[Fault], list[ledger.LedgerSnapshot]]:
    """The faults that showed, from the log, and every lane's ledger once all are over."""
    host = actuate(path)
    daemon = spawn(["agent", "run", "-c", str(path)], stderr=subprocess.PIPE)
    begun: list[Fault] = []
    reader = threading.Thread(target=_listen, args=(daemon.stderr, begun), daemon=True)
    reader.start()
    seconds = 5.0 + times * EVERY_S[1] + BACK_S
    try:
        for tenth in range(10):
            time.sleep(seconds / 10)
            click.echo(f"{10 * (tenth + 1)} %: {len(begun)} faults", err=True)
        snapshots = list(ledger.read_all(folder))
    finally:
        end(daemon)
        end(host)
    reader.join(5)
    return begun, [ledger.read(folder / f"{one.lane}.ledger")._replace(state=one.state) for one in snapshots]


def _listen(stream: Any, begun: list[Fault]) -> None:
    for line in stream:
        found = BEGINS.match(line)
        if found:
            hours, minutes, seconds, lane, kind = found.groups()
            begun.append(Fault(lane.decode(), kind.decode(), int(hours) * 3600 + int(minutes) * 60 + float(seconds)))


def _uncounted(counts: dict[str, int]) -> int:
    """Decisions of which the ledger does not say what became of them."""
    left = counts["decisions"] - counts["sent"] - counts["undelivered"]
    answered = counts["sent"] - counts["applied"] - counts["refused"] - counts["unacknowledged"]
    return abs(left) + abs(answered)


def _lateness(silences: list[Fault], folder: Path) -> np.ndarray[Any, Any]:
    """ms past the bound (timeout_ms + safe_after_ms after the fault showed) at which each actuator was safe; inf for never."""
    midnight = time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))
    safe: dict[str, np.ndarray[Any, Any]] = {}
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        safe[path.stem] = np.array([row["unix_s"] - midnight for row in rows if row["verb"] == "safe"])
    late = []
    for fault in silences:
        times = safe.get(fault.lane, np.empty(0))
        after = times[times >= fault.t - 0.005]
        bound = fault.t + (TIMEOUT_MS + SAFE_AFTER_MS) / 1e3
        late.append((after[0] - bound) * 1e3 if len(after) else np.inf)
    return np.array(late)


def text(result: dict[str, Any]) -> str:
    bound = ", ".join(f"{key} {value:+.1f}" for key, value in result["safe_after_bound_ms"].items())
    said = f" ({', '.join(result['late'][:5])})" if result["late"] else ""
    return "\n".join(
        [
            result["machine"],
            f"{result['faults']} faults in {result['lanes']} lanes, at least {result['fewest_of_a_kind']} of each kind",
            f"lanes that did not come back: {', '.join(result['lanes_not_back']) or 'none'}",
            f"decisions of which nobody knows what became: {result['decisions_uncounted']} of {result['decisions']}",
            f"actuators safe too late: {result['safe_too_late']} of {result['silences']} silences{said}; ms after the bound: {bound}",
        ]
    )
