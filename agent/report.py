"""What the daemon says: its answer to the request "status", and in the log why an actuator's verb changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from agent.box import logs
from agent.commands.link import UNSTEADY, UNSTEADY_NS, Link
from agent.commands.wire import VERDICTS
from agent.config.models import Config
from agent.data import Decision
from agent.lane import Lane
from agent.rules.fusion import explain
from agent.rules.scene import Scene
from agent.runner import Runner

log = logging.getLogger("reflexd")


class DecisionLog:
    """Off the lanes' threads, within a second of the decision."""

    def __init__(self) -> None:
        self._logged: dict[str, tuple[str, str]] = {}  # rule and verb of each actuator

    def __call__(self, lanes: Iterable[Lane]) -> None:
        """What changed since the last time, in the order of the decisions."""
        decisions: list[Decision] = []
        for lane in lanes:
            while lane.decided:
                decisions.append(lane.decided.popleft())
        for decision in sorted(decisions, key=lambda decision: decision.number):
            actuator, verb, rule = decision.actuator, decision.verb, decision.rule
            if self._logged.get(actuator) != (rule, verb):
                self._logged[actuator] = rule, verb
                reason = f"by {rule}" if rule else "at rest"
                log.info(
                    "actuator %s: %s %s: %s; captured %s",
                    *(actuator, verb, reason, explain(decision), logs.clock_time(decision.t_capture)),
                )


def report(config: Config, scene: Scene, runners: Mapping[str, Runner]) -> dict[str, Any]:
    """Lanes and actuators. Rates and times of a lane are in its ledger."""
    return {
        "lanes": {name: runner.status() for name, runner in runners.items()},
        "actuators": {name: actuator(name, config, scene.current(name), runners) for name in config.actuators},
    }


def actuator(
    name: str, config: Config, decision: Decision | None = None, runners: Mapping[str, Runner] | None = None
) -> dict[str, Any]:
    """The decision in force, empty before the first; where it is; the answer to each lane that commands it."""
    now = time.monotonic_ns()
    section = config.actuators[name]
    links = {lane: runner.outbox.links.get(name) for lane, runner in (runners or {}).items() if runner.outbox}
    return {
        "verb": decision.verb if decision else "",
        "rule": decision.rule if decision else "",
        "since_s": round((now - decision.t_capture) / 1e9, 1) if decision else None,
        "rest": section.rest,
        "endpoint": config.endpoint(name),
        "here": section.device is not None,
        "lanes": {lane: _answer(link, now) for lane, link in links.items() if link},
    }


def _answer(link: Link, now: int) -> dict[str, Any]:
    """Read while the lane's thread may write it: one attribute at a time."""
    acknowledged, trouble = link.acknowledged, link.trouble or _unsteady(link, now)
    if acknowledged is None:
        return {"verb": "", "verdict": "", "age_s": None, "trouble": trouble}
    verb, at, verdict = acknowledged
    return {"verb": verb, "verdict": VERDICTS[verdict], "age_s": round((now - at) / 1e9, 3), "trouble": trouble}


def _unsteady(link: Link, now: int) -> str:
    """Commands are acknowledged again, but there are gaps between the signs of life."""
    times = list(link.interrupted)
    if len(times) < UNSTEADY or now - times[0] > UNSTEADY_NS:
        return ""
    return (
        f"has gone safe {UNSTEADY} times or more within a minute, the last {(now - times[-1]) / 1e9:.0f} s ago:"
        f" more than {link.address.safe_after_ms:g} ms without a sign of life of its lanes"
    )


def troubles(actuators: Mapping[str, dict[str, Any]]) -> list[str]:
    """Why actuators do not answer, or refuse: each reason once."""
    return [
        f"actuator {name}: {text}"
        for name, reported in actuators.items()
        for text in dict.fromkeys(answer["trouble"] for answer in reported["lanes"].values() if answer["trouble"])
    ]
