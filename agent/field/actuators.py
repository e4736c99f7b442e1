"""The status of an actuator: what was decided, what its host acknowledged to each lane, and the host's process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from agent.box.lockfile import host_lock
from agent.commands import boxes
from agent.commands.boxes import Boxes
from agent.commands.merge import BoxState
from agent.field import format, snapshot
from agent.field.format import wrapped
from agent.field.snapshot import View

HEAD = f"{'ACTUATOR':<12} {'VERB':<10} {'SINCE':<8} {'RULE':<20} HOST"


class Acknowledgement(NamedTuple):
    """Newest answer to a lane. verdict: a name of wire.VERDICTS; empty, and age_s None, where none has come yet.

    trouble: why commands are not acknowledged, or are refused; empty where the verb is in force.
    """

    lane: str
    verb: str
    verdict: str
    age_s: float | None
    trouble: str


class ActuatorStatus(NamedTuple):
    """verb: of the last decision. host: process that serves it, 0 none, None where it is on another box or unknown.

    boxes: what each of redundant boxes says; None where its host has none, or is elsewhere.
    """

    name: str
    verb: str
    rule: str
    since_s: float | None
    rest: str
    endpoint: str
    host: int | None
    acknowledged: list[Acknowledgement]
    boxes: Boxes | None = None

    @property
    def troubles(self) -> list[str]:
        """In words, each once."""
        of_lanes = [answer.trouble for answer in self.acknowledged if answer.trouble]
        return list(dict.fromkeys([*of_lanes, *(self.boxes.troubles if self.boxes else ())]))


def actuator_statuses(view: View) -> list[ActuatorStatus]:
    replies: dict[str, dict[str, Any]] = view.reply.get("actuators") or {}
    names = dict.fromkeys([*replies, *view.outline.actuators])
    return [_actuator(name, replies.get(name, {}), view) for name in names]


def _actuator(name: str, reply: dict[str, Any], view: View) -> ActuatorStatus:
    """The daemon's own configuration comes first: the file named here may be another, or none."""
    section = view.outline.actuators.get(name)
    endpoint = str(reply.get("endpoint") or (section.endpoint if section else ""))
    here = bool(reply.get("here", section.here if section else False)) or endpoint.startswith("ipc://")
    return ActuatorStatus(
        name=name,
        verb=str(reply.get("verb") or ""),
        rule=str(reply.get("rule") or ""),
        since_s=reply.get("since_s"),
        rest=str(reply.get("rest") or (section.rest if section else "")),
        endpoint=endpoint,
        host=host_of(name, endpoint, view.run_dir) if here else None,
        acknowledged=[_acknowledgement(lane, answer) for lane, answer in (reply.get("lanes") or {}).items()],
        boxes=boxes.read(view.run_dir, name),
    )


def _acknowledgement(lane: str, answer: dict[str, Any]) -> Acknowledgement:
    return Acknowledgement(
        lane=lane,
        verb=str(answer.get("verb") or ""),
        verdict=str(answer.get("verdict") or ""),
        age_s=answer.get("age_s"),
        trouble=str(answer.get("trouble") or ""),
    )


def host_of(name: str, endpoint: str, run_dir: Path) -> int:
    """The process that serves an actuator on this box, 0 for none. A dead one's standby keeps the lock for a moment."""
    pid = snapshot.lock_holder(host_lock(name, endpoint, run_dir))
    return pid if pid and os.path.exists(f"/proc/{pid}") else 0


def without_daemon(view: View, hosted: list[ActuatorStatus]) -> list[ActuatorStatus]:
    """Those that this box hosts, where it has no lanes and so no daemon; else none."""
    if view.pid or view.outline.lanes:
        return []
    return [actuator for actuator in hosted if actuator.host is not None]


def line(actuator: ActuatorStatus) -> str:
    """A verb in brackets is the one at rest: nothing was decided yet."""
    verb = actuator.verb or (f"({actuator.rest})" if actuator.rest else "?")
    host = f"pid {actuator.host}" if actuator.host else "none: not started"
    if actuator.host is None:
        host = f"at {actuator.endpoint.removeprefix('tcp://') or 'an unknown address'}"
    since = format.ago(actuator.since_s) if actuator.since_s is not None else "-"
    return format.clip(format.plain(f"{actuator.name:<12} {verb:<10} {since:<8} {actuator.rule or '-':<20} {host}"))


def answers(actuator: ActuatorStatus) -> list[str]:
    """Lines below it: the newest acknowledgement, and what is wrong."""
    answered = [answer for answer in actuator.acknowledged if answer.age_s is not None]
    newest = min(answered, key=lambda answer: answer.age_s or 0.0, default=None)
    text = "nothing acknowledged yet" if actuator.acknowledged else ""
    if newest:
        text = f"acknowledged {newest.verb}: {newest.verdict}, {format.ago(newest.age_s)} ago, to lane {newest.lane}"
    troubles = [below for trouble in actuator.troubles for below in wrapped(format.plain(trouble), "  ! ")]
    said = f"boxes: {', '.join(map(_box, actuator.boxes.state.boxes))}" if actuator.boxes else ""
    return [*wrapped(format.plain(text), "  "), *wrapped(format.plain(said), "  "), *troubles]


def _box(box: BoxState) -> str:
    return f"{box.name} {box.verb}" if box.alive else f"{box.name} gone ({', '.join(box.missing) or 'nothing heard'})"
