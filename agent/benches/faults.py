"""`reflexd bench faults`: every simulated fault many times; lanes not recovered, decisions lost, safe too late."""

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
from agent.benches.programs import CAMERA_MODEL, SENSOR_MODEL, spawn, start_host, stop
from agent.box.machine import machine

# A lane for each kind, so that all run side by side. Those in SILENT end the stream of good samples; a camera that
# changes its format (to half the size) does not, as the lane fits itself to any size.
SIMULATED = "simulated"
CAMERA = ("unplug", "freeze", "repeat", "clock_jump", "noise", "wrong_format")
ARM = ("deviation", "collision", "slip", "overspeed", "unplug", "freeze", "repeat", "clock_jump", "noise")
SILENT = ("unplug", "freeze", "repeat", "clock_jump")
TIMEOUT_MS, SAFE_AFTER_MS, LASTS_S, EVERY_S = 200.0, 100.0, (0.5, 0.7), (1.6, 2.0)
RECOVERY_S = 8.0  # retries start at 0.1 s and double up to 5 s
SHORT_TIMES = 20
SLACK_MS = 20.0  # of the scheduler on a box without real-time rights, and of the log's clock
SOURCES = {
    "camera.sim": {"width": 160, "height": 120, "fps": 20, "pictures": 2, "timeout_ms": TIMEOUT_MS},
    "sensor.sim_arm": {"rate_hz": 100, "timeout_ms": TIMEOUT_MS},
}
ACTUATOR = {"rest": "rest", "verbs": ["rest", "go"], "safe_after_ms": SAFE_AFTER_MS}
RULE = {"verb": "go", "every_sample": True, "deadline_ms": 1000}
STARTED = re.compile(rb"^(\d+):(\d+):(\d+\.\d+) \w+ +(\S+): injecting fault '(\w+)' at")


class Fault(NamedTuple):
    """A fault that was injected. t: its start, local time, seconds since midnight."""

    lane: str
    kind: str
    t: float


def measure(times: int, seed: int, short: bool = False) -> dict[str, Any]:
    """All lanes run side by side until each has had its fault this many times."""
    times = min(times, SHORT_TIMES) if short else times
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="reflexd-faults-") as name:
        folder = Path(name)
        lanes = {f"camera-{kind}": ("camera.sim", kind) for kind in CAMERA}
        lanes |= {f"arm-{kind}": ("sensor.sim_arm", kind) for kind in ARM}
        path = folder / "faults.yaml"
        path.write_text(json.dumps(_configuration(folder, lanes, times, random)), encoding="utf-8")
        faults, snapshots = _run(path, folder, times)
        silences = [fault for fault in faults if fault.kind in SILENT]
        late = _lateness(silences, folder)
    per_lane = {lane: sum(fault.lane == lane for fault in faults) for lane in lanes}
    return {
        "machine": machine(),
        "short": short,
        "faults": len(faults),
        "lanes": len(lanes),
        "fewest_of_a_kind": min(per_lane.values()),
        "lanes_not_recovered": [snapshot.lane for snapshot in snapshots if snapshot.state != "running"],
        "decisions_uncounted": sum(uncounted(snapshot.counts) for snapshot in snapshots),
        "uncounted_in": {snapshot.lane: snapshot.counts for snapshot in snapshots if uncounted(snapshot.counts)},
        "decisions": sum(snapshot.counts["decisions"] for snapshot in snapshots),
        "silences": len(late),
        "safe_too_late": int((late > SLACK_MS).sum()),
        "late": [f"{fault.lane} {ms:+.0f} ms" for fault, ms in zip(silences, late) if ms > SLACK_MS],
        "safe_after_bound_ms": {key: round(value, 1) for key, value in ledger.quantiles(late).items()},
    }


def _configuration(
    folder: Path, lanes: dict[str, tuple[str, str]], times: int, random: np.random.Generator
) -> dict[str, Any]:
    """Lanes with their faults; every sample of a lane becomes a command to an actuator of its own."""
    config: dict[str, Any] = {"run_dir": str(folder), "state_dir": str(folder)}
    config |= {"lanes": {}, "actuators": {}, "rules": {}}
    for name, (driver, kind) in lanes.items():
        model, label = (CAMERA_MODEL, "person") if driver == "camera.sim" else (SENSOR_MODEL, "normal")
        source = {"driver": driver, **SOURCES[driver], "faults": _schedule(kind, times, random)}
        device = {"driver": "actuator.log", "path": str(folder / f"{name}.jsonl")}
        always = [{"lane": name, "label": label, "absent": absent} for absent in (False, True)]
        config["lanes"][name] = {"source": source, "model": model}
        config["actuators"][name] = {"device": device, **ACTUATOR}
        config["rules"][name] = {"any": always, "actuator": name, **RULE}
    return config


def _schedule(kind: str, times: int, random: np.random.Generator) -> list[dict[str, Any]]:
    starts_s = 3.0 + np.cumsum(random.uniform(*EVERY_S, times)) + random.uniform(0, 1)
    durations_s = random.uniform(*LASTS_S, times)
    return [
        {"kind": kind, "at_s": round(float(start), 3), "for_s": round(float(duration), 3)}
        for start, duration in zip(starts_s, durations_s)
    ]


def _run(path: Path, folder: Path, times: int) -> tuple[list[Fault], list[ledger.LedgerSnapshot]]:
    """The injected faults, from the log, and every lane's ledger once all are over."""
    host = start_host(path)
    daemon = spawn(["agent", "run", "-c", str(path)], stderr=subprocess.PIPE)
    faults: list[Fault] = []
    reader = threading.Thread(target=_read_log, args=(daemon.stderr, faults), daemon=True)
    reader.start()
    seconds = 5.0 + times * EVERY_S[1] + RECOVERY_S
    try:
        for tenth in range(10):
            time.sleep(seconds / 10)
            click.echo(f"{10 * (tenth + 1)} %: {len(faults)} faults", err=True)
        snapshots = list(ledger.read_all(folder))
    finally:
        stop(daemon)
        stop(host)
    reader.join(5)
    # Counts after the end, when every command is answered; the state before it.
    ended = [ledger.read(folder / f"{running.lane}.ledger")._replace(state=running.state) for running in snapshots]
    return faults, ended


def _read_log(stream: Any, faults: list[Fault]) -> None:
    for line in stream:
        match = STARTED.match(line)
        if match:
            hours, minutes, seconds, lane, kind = match.groups()
            faults.append(Fault(lane.decode(), kind.decode(), int(hours) * 3600 + int(minutes) * 60 + float(seconds)))


def uncounted(counts: dict[str, int]) -> int:
    """Decisions whose outcome the ledger does not have."""
    not_sent = counts["decisions"] - counts["sent"] - counts["undelivered"]
    unanswered = counts["sent"] - sum(counts[name] for name in ("applied", "refused", "overruled", "unacknowledged"))
    return abs(not_sent) + abs(unanswered)


def _lateness(silences: list[Fault], folder: Path) -> np.ndarray[Any, Any]:
    """When each actuator was safe, in ms after the bound (fault + timeout_ms + safe_after_ms); inf for never.

    One that is safe already, as its lane has not recovered from the fault before, was safe at the fault.
    """
    midnight = time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))
    moves: dict[str, list[tuple[float, str]]] = {}
    for path in folder.glob("*.jsonl"):
        rows = map(json.loads, path.read_text().splitlines())
        moves[path.stem] = [(row["unix_s"] - midnight, row["verb"]) for row in rows]
    late = []
    for fault in silences:
        verb, safe_at = "", np.inf
        for t, moved in moves.get(fault.lane, ()):
            if t < fault.t - 0.005:
                verb = moved
            elif moved == "safe":
                safe_at = t
                break
        safe_at = fault.t if verb == "safe" else safe_at
        late.append((safe_at - fault.t) * 1e3 - TIMEOUT_MS - SAFE_AFTER_MS)
    return np.array(late)


def failed(result: dict[str, Any]) -> bool:
    """A lane or a decision was lost, or a device was safe too late."""
    lost = ("lanes_not_recovered", "decisions_uncounted", "safe_too_late")
    attacked = ("lanes_lost", "decisions_uncounted", "safe_too_late", "failures")
    return any(result.get(key) for key in lost) or any(
        row[key] for row in result["attacks"].values() for key in attacked
    )


def text(result: dict[str, Any]) -> str:
    attacks = [f"{name}: {json.dumps(row)}" for name, row in result["attacks"].items()]
    return "\n".join([*(_simulated_text(result) if "faults" in result else ()), *attacks])


def _simulated_text(result: dict[str, Any]) -> list[str]:
    bound = ", ".join(f"{key} {value:+.1f}" for key, value in result["safe_after_bound_ms"].items())
    late = f" ({', '.join(result['late'][:5])})" if result["late"] else ""
    return [
        result["machine"],
        f"{result['faults']} faults in {result['lanes']} lanes, at least {result['fewest_of_a_kind']} of each kind",
        f"lanes that did not recover: {', '.join(result['lanes_not_recovered']) or 'none'}",
        f"decisions without a known outcome: {result['decisions_uncounted']} of {result['decisions']}",
        f"actuators safe too late: {result['safe_too_late']} of {result['silences']} silences{late}; "
        f"ms after the bound: {bound}",
    ]
