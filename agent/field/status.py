"""`reflexd status`: the daemon, its lanes, actuators and board on one screen; also when the daemon is dead."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import click

from agent import health
from agent.box.realtime import Setting
from agent.field import board, format, lanes, snapshot
from agent.field.lanes import LaneNow
from agent.field.snapshot import View

RUNNING, DEGRADED, DEAD, UNKNOWN = 0, 1, 3, 4  # exit codes; 3 and 4 are what LSB gives a service's status


class ActuatorNow(NamedTuple):
    """verb: what was last decided. host: process that serves it, 0 none, None where it is on another box or unknown."""

    name: str
    verb: str
    rule: str
    since_s: float | None
    rest: str
    endpoint: str
    host: int | None


class Status(NamedTuple):
    view: View
    health: str
    reasons: list[str]
    lanes: list[LaneNow]
    actuators: list[ActuatorNow]
    board: dict[str, float]
    settings: list[Setting]


def show(path: Path, as_json: bool) -> int:
    status = take(path, board.Board())
    click.echo(json.dumps(as_dict(status), indent=2) if as_json else "\n".join(lines(status)))
    return exit_code(status)


def take(path: Path, box: board.Board) -> Status:
    view = snapshot.look(path)
    judged = health.judge(view.snapshots.values(), view.now)
    level, reasons = str(view.said.get("health") or judged.health), view.said.get("reasons") or judged.reasons
    if not view.pid:
        level, reasons = health.SAFE, []
    return Status(view, level, list(reasons), lanes.lanes(view), actuators(view), box.read(), settings(view))


def exit_code(status: Status) -> int:
    if not status.view.pid:
        return UNKNOWN if status.view.blind else DEAD
    well = status.health == health.GOOD and status.view.said.get("ready", True)
    known = set(status.view.said.get("lanes") or status.view.config.lanes)
    return RUNNING if well and all(one.state == "running" for one in status.lanes if one.name in known) else DEGRADED


def actuators(view: View) -> list[ActuatorNow]:
    told: dict[str, dict[str, Any]] = view.said.get("actuators") or {}
    found = []
    for name in dict.fromkeys([*told, *view.config.actuators]):
        said, section = told.get(name, {}), view.config.actuators.get(name)
        endpoint = section.endpoint or f"ipc://{view.run_dir}/{name}.sock" if section else ""
        host = snapshot.holder(Path(endpoint[6:] + ".lock")) if endpoint.startswith("ipc://") else None
        verb, rule = str(said.get("verb") or ""), str(said.get("rule") or "")
        found.append(
            ActuatorNow(name, verb, rule, said.get("since_s"), section.rest if section else "", endpoint, host)
        )
    return found


def settings(view: View) -> list[Setting]:
    """As the daemon tells; else as the kernel tells of its threads."""
    if "realtime" in view.said:
        return [
            Setting(str(one.get("name")), bool(one.get("on")), str(one.get("note", "")))
            for one in view.said["realtime"]
        ]
    return kernel_knobs(view.pid) if view.pid else []


def kernel_knobs(pid: int, proc: Path = Path("/proc")) -> list[Setting]:
    try:
        fifo = any(os.sched_getscheduler(int(task)) == os.SCHED_FIFO for task in os.listdir(proc / str(pid) / "task"))
        locked = "VmLck:\t       0 kB" not in (proc / str(pid) / "status").read_text()
    except OSError:
        return []
    return [
        Setting("SCHED_FIFO", fifo, "no thread of the daemon has it"),
        Setting("memory lock", locked, "no page is locked"),
    ]


def as_dict(status: Status) -> dict[str, Any]:
    view = status.view
    return {
        "running": bool(view.pid),
        "health": status.health if view.pid else "",
        "reasons": status.reasons,
        "answers": bool(view.said),
        "node": _node(status),
        "version": view.said.get("version", ""),
        "pid": view.pid,
        "uptime_s": _uptime_s(view),
        "config": str(view.said.get("config") or view.path),
        "run_dir": str(view.run_dir),
        "lanes": [_rounded(one._asdict()) for one in status.lanes],
        "actuators": [one._asdict() for one in status.actuators],
        "board": status.board,
        "knobs": [one._asdict() for one in status.settings],
        "troubles": [*view.mistakes, *view.troubles],
    }


def _rounded(value: Any) -> Any:
    """Figures for people and programs, to the microsecond."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 3) if isinstance(value, float) else value


def _node(status: Status) -> str:
    return str(status.view.said.get("node") or status.view.config.node)


def _uptime_s(view: View) -> float | None:
    said = view.said.get("uptime_s")
    return float(said) if said is not None else snapshot.uptime_s(view.pid) if view.pid else None


def lines(status: Status) -> list[str]:
    """The screen, 80 columns wide."""
    found = [*head(status), LANE_HEAD]
    for one in status.lanes:
        found += _lane_lines(one)
    if not status.lanes:
        found.append("no lanes: no configuration and no ledger tells of any")
    if status.actuators:
        found += ["", ACTUATOR_HEAD, *(actuator_line(one) for one in status.actuators)]
    return [*found, "", board.line(status.board), *_notes(status)]


def head(status: Status) -> list[str]:
    view = status.view
    if view.pid:
        up = format.ago(_uptime_s(view))
        version = f", version {view.said['version']}" if view.said.get("version") else ""
        first = f"reflexd {_node(status)}: {status.health}, pid {view.pid}, up {up}{version}"
    elif view.blind:
        first = f"reflexd {_node(status)}: CANNOT BE SEEN by this user: try sudo"
    else:
        first = f"reflexd {_node(status)}: NOT RUNNING; the figures are of its last run"
    return [
        format.clip(format.plain(first)),
        format.clip(format.plain(f"  config {view.said.get('config') or view.path}")),
        "",
    ]


LANE_HEAD = f"{'LANE':<12} {'STATE':<8}{'HZ':>6} {'P50':>6} {'P99':>6} / {'BUDGET':<6} ms"
ACTUATOR_HEAD = f"{'ACTUATOR':<12} {'DOES':<10} {'SINCE':<8} {'BECAUSE OF':<20} HOST"


def figures(one: LaneNow, width: int = 18) -> str:
    share = (one.p99_ms or 0.0) / one.budget_ms if one.budget_ms else 0.0
    return (
        f"{format.clip(format.plain(one.name), 12):<12} {one.state:<8}{format.rate(one.rate_hz):>6} {format.ms(one.p50_ms):>6} "
        f"{format.ms(one.p99_ms):>6} / {one.budget_ms:<6g} {format.bar(share, width)}"
    )


def evidence(one: LaneNow) -> str:
    if not one.label:
        return "no evidence yet"
    when = "in another boot" if one.other_boot else f"{format.ago(one.evidence_age_s)} ago"
    return format.plain(f"saw {one.label} {one.score:.2f}, {when}")


def drops(one: LaneNow) -> str:
    return "dropped " + (", ".join(f"{count} {name}" for name, count in one.drops.items()) or "none")


def _lane_lines(one: LaneNow) -> list[str]:
    found = [figures(one), *wrapped(f"{evidence(one)}; {drops(one)}", "  ")]
    return [*found, *wrapped(format.plain(one.why), "  ! ")] if one.why else found


def actuator_line(one: ActuatorNow) -> str:
    verb = one.verb or f"({one.rest})" if one.rest or one.verb else "?"
    host = "on another box" if one.host is None else f"pid {one.host}" if one.host else "none: not started"
    since = format.ago(one.since_s) if one.since_s is not None else "-"
    return format.clip(format.plain(f"{one.name:<12} {verb:<10} {since:<8} {one.rule or '-':<20} {host}"))


def _notes(status: Status) -> list[str]:
    """What is off or could not be read."""
    found = [f"{one.name}: {one.note}" for one in status.settings if not one.on]
    lines = [line for text in found for line in wrapped(format.plain(text), "off    ")]
    if status.view.pid and not status.view.said:
        silent = f"{status.view.run_dir}/control.sock gives no answer: no permission, or the daemon starts or hangs"
        lines += wrapped(silent, "note   ")
    if not status.view.pid and not status.view.blind:
        lines += wrapped("start it: sudo systemctl start reflexd; why it ended: journalctl -u reflexd -n 50", "note   ")
    for text in [*status.view.mistakes, *status.view.troubles]:
        lines += wrapped(format.plain(text), "note   ")
    return lines


def wrapped(text: str, first: str) -> list[str]:
    return textwrap.wrap(text, format.WIDTH, initial_indent=first, subsequent_indent=" " * len(first)) if text else []
