"""`reflexd status`: the daemon, its lanes, actuators and board on one screen; also when the daemon is dead."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import click

from agent import health
from agent.box.setting import Setting
from agent.field import actuators, board, format, models, snapshot
from agent.field.actuators import ActuatorStatus, actuator_statuses
from agent.field.board import BoardMonitor
from agent.field.format import wrapped
from agent.field.lanes import LaneStatus, lane_statuses
from agent.field.snapshot import View
from agent.options import DEFAULT
from drivers.board._load import Load

RUNNING, DEGRADED, DEAD, UNKNOWN = 0, 1, 3, 4  # exit codes; 3 and 4 are what LSB gives a service's status


class Status(NamedTuple):
    """reasons: why health is not good. board: readings of BoardMonitor. settings: real-time settings of the daemon."""

    view: View
    health: str
    reasons: list[str]
    lanes: list[LaneStatus]
    actuators: list[ActuatorStatus]
    board: dict[str, float]
    settings: list[Setting]


def show(path: Path, as_json: bool, load: Load) -> int:
    """load: already read once."""
    status = read_status(path, BoardMonitor(load=load))
    click.echo(json.dumps(as_dict(status), indent=2) if as_json else "\n".join(lines(status)))
    return exit_code(status)


def read_status(path: Path, monitor: BoardMonitor) -> Status:
    """path: of the configuration."""
    view = snapshot.read_snapshot(path)
    hosted = actuator_statuses(view)
    level, reasons = _health(view, hosted)
    return Status(
        view=view,
        health=level,
        reasons=reasons,
        lanes=lane_statuses(view),
        actuators=hosted,
        board=monitor.read(),
        settings=_settings(view),
    )


def _health(view: View, hosted: list[ActuatorStatus]) -> tuple[str, list[str]]:
    """As the daemon reports it, else as its ledgers show it. A box without lanes is as good as its actuators' hosts."""
    alone = actuators.without_daemon(view, hosted)
    stopped = [
        f"actuator {actuator.name}: 'reflexd actuate' does not serve it" for actuator in alone if not actuator.host
    ]
    redundant = [f"actuator {each.name}: {trouble}" for each in hosted if each.boxes for trouble in each.boxes.troubles]
    if alone and len(stopped) < len(alone):
        troubles = [*stopped, *redundant]
        return health.DEGRADED if troubles else health.GOOD, troubles
    if not view.pid:
        return health.SAFE, []
    judged = health.judge(view.ledgers.values(), view.now)
    level, reasons = str(view.reply.get("health") or judged.health), view.reply.get("reasons") or judged.reasons
    return health.DEGRADED if redundant and level == health.GOOD else level, [*reasons, *redundant]


def exit_code(status: Status) -> int:
    if not status.view.pid and status.health != health.SAFE:
        return RUNNING if status.health == health.GOOD else DEGRADED
    if not status.view.pid:
        return UNKNOWN if status.view.forbidden else DEAD
    good = status.health == health.GOOD and status.view.reply.get("ready", True)
    known = set(status.view.reply.get("lanes") or status.view.outline.lanes)
    all_run = all(lane.state == "running" for lane in status.lanes if lane.name in known)
    return RUNNING if good and all_run else DEGRADED


def _settings(view: View) -> list[Setting]:
    """As the daemon reports them; else as the kernel reports them for its threads."""
    if "realtime" in view.reply:
        return [
            Setting(str(setting.get("name")), bool(setting.get("on")), str(setting.get("note", "")))
            for setting in view.reply["realtime"]
        ]
    return kernel_settings(view.pid) if view.pid else []


def kernel_settings(pid: int, proc: Path = Path("/proc")) -> list[Setting]:
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
        "health": status.health if exit_code(status) in (RUNNING, DEGRADED) else "",
        "reasons": status.reasons,
        "answers": bool(view.reply),
        "node": _node(status),
        "version": view.reply.get("version", ""),
        "pid": view.pid,
        "uptime_s": _uptime_s(view),
        "config": str(view.reply.get("config") or view.path),
        "run_dir": str(view.run_dir),
        "lanes": [_rounded(lane._asdict()) for lane in status.lanes],
        "actuators": [_as_dict(actuator) for actuator in status.actuators],
        "board": status.board,
        "settings": [setting.as_json() for setting in status.settings],
        "troubles": view.troubles,
    }


def _as_dict(actuator: ActuatorStatus) -> dict[str, Any]:
    answers = [_rounded(answer._asdict()) for answer in actuator.acknowledged]
    return {**actuator._asdict(), "acknowledged": answers, "boxes": _boxes(actuator)}


def _boxes(actuator: ActuatorStatus) -> dict[str, Any] | None:
    """What each of redundant boxes says."""
    if actuator.boxes is None:
        return None
    said = [box._asdict() for box in actuator.boxes.state.boxes]
    return {"verb": actuator.boxes.state.verb, "disagree_s": _rounded(actuator.boxes.disagree_s), "said": said}


def _rounded(value: Any) -> Any:
    """Figures for people and programs, to the microsecond."""
    if isinstance(value, dict):
        return {key: _rounded(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_rounded(element) for element in value]
    return round(value, 3) if isinstance(value, float) else value


def _node(status: Status) -> str:
    return str(status.view.reply.get("node") or status.view.outline.node)


def _uptime_s(view: View) -> float | None:
    reported = view.reply.get("uptime_s")
    return float(reported) if reported is not None else snapshot.uptime_s(view.pid) if view.pid else None


def lines(status: Status) -> list[str]:
    """The screen, 80 columns wide."""
    screen = [*head(status)]
    if status.lanes:
        screen += ["", LANE_HEAD, *(line for lane in status.lanes for line in _lane_lines(lane))]
    elif not actuators.without_daemon(status.view, status.actuators):
        screen += ["", "no lanes: none in the configuration, no ledger in run_dir"]
    if status.actuators:
        screen += ["", actuators.HEAD]
    for actuator in status.actuators:
        screen += [actuators.line(actuator), *actuators.answers(actuator)]
    updates = [line for text in models.lines(status.view) for line in wrapped(text, "")]
    return [*screen, *([""] if updates else []), *updates, "", board.line(status.board), *_notes(status)]


def head(status: Status) -> tuple[str, str]:
    """(the daemon's state, its configuration)."""
    view = status.view
    if view.pid:
        version = f", version {view.reply['version']}" if view.reply.get("version") else ""
        state = f"{status.health}, pid {view.pid}, up {format.ago(_uptime_s(view))}{version}"
    elif exit_code(status) in (RUNNING, DEGRADED):
        state = f"{status.health}, hosts actuators only"
    elif view.forbidden:
        state = "UNKNOWN: this user may not read its files: try sudo"
    elif view.never_ran:
        state = "NOT RUNNING; no figures: it has not run here"
    else:
        state = "NOT RUNNING; the figures are of its last run"
    first = f"reflexd {_node(status)}: {state}"
    second = f"  config {view.reply.get('config') or view.path}"
    return format.clip(format.plain(first)), format.clip(format.plain(second))


LANE_HEAD = f"{'LANE':<12} {'STATE':<8}{'HZ':>6} {'P50':>6} {'P99':>6} / {'BUDGET':<6} ms"
NO_PROMISE = (
    "without power, or with its kernel stopped, this box leaves a device as it is: use one that times out itself"
)


def figures(lane: LaneStatus, width: int = 18) -> str:
    """width: of the bar that shows p99 as a share of the budget."""
    share = (lane.p99_ms or 0.0) / lane.budget_ms if lane.budget_ms else 0.0
    name = format.clip(format.plain(lane.name), 12)
    p50, p99 = format.ms(lane.p50_ms), format.ms(lane.p99_ms)
    latency = f"{p50:>6} {p99:>6} / {lane.budget_ms:<6g} {format.bar(share, width)}"
    return f"{name:<12} {lane.state:<8}{format.rate(lane.rate_hz):>6} {latency}"


def evidence(lane: LaneStatus) -> str:
    if not lane.label:
        return "no evidence yet"
    when = "in another boot" if lane.other_boot else f"{format.ago(lane.evidence_age_s)} ago"
    return format.plain(f"newest evidence {lane.label} {lane.score:.2f}, {when}")


def drops(lane: LaneStatus) -> str:
    dropped = ", ".join(f"{count} {reason}" for reason, count in lane.drops.items()) or "none"
    thinned = lane.counts.get("thinned", 0)
    return f"dropped {dropped}" + (f"; {thinned} thinned, as 'every' says" if thinned else "")


def _lane_lines(lane: LaneStatus) -> list[str]:
    first = [figures(lane), *wrapped(f"{evidence(lane)}; {drops(lane)}", "  ")]
    drifts = f"drifts: {'; '.join(lane.drifts[:3])}: reflexd drift" if lane.drifts else ""
    return [*first, *wrapped(format.plain(lane.reason), "  ! "), *wrapped(format.plain(drifts), "  ~ ")]


def _notes(status: Status) -> list[str]:
    """Settings that are off, and what could not be read."""
    view = status.view
    off = [f"{setting.name}: {setting.remedy}" for setting in status.settings if not setting.on]
    notes = []
    if view.pid and not view.reply:
        notes.append(f"{view.run_dir}/control.sock gives no answer: no permission, or the daemon starts or hangs")
    if exit_code(status) == DEAD:
        notes.append(_start(view, hosts_only=bool(actuators.without_daemon(view, status.actuators))))
        notes.append(f"whether its configuration has mistakes: reflexd check -c {view.path}")
    if any(actuator.host for actuator in status.actuators):
        notes.append(NO_PROMISE)
    notes += view.troubles
    return _prefixed("off    ", off) + _prefixed("note   ", notes)


def _start(view: View, hosts_only: bool) -> str:
    """How to start what should run; the units of systemd read the default configuration."""
    if view.path != DEFAULT:
        return f"start it: reflexd {'actuate' if hosts_only else 'run'} -c {view.path}"
    unit = "reflexd-actuate" if hosts_only else "reflexd"
    ended = "" if view.never_ran else f"; why it ended: journalctl -u {unit} -n 50"
    return f"start it: sudo systemctl start {unit}{ended}"


def _prefixed(prefix: str, texts: list[str]) -> list[str]:
    return [line for text in texts for line in wrapped(format.plain(text), prefix)]
