"""A lane with its models, its thread and its lines to the actuators: made, started, watched, retired."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import health, keys, ledger, package, realtime, reference
from agent.config import Config, LaneConfig
from agent.data import Array
from agent.fine import Fine
from agent.lane import Lane, Limits
from agent.ledger import Ledger
from agent.outbox import Address, Outbox
from agent.package import Package
from agent.perception import Perception
from agent.poses import SecondModel
from agent.conditions import Condition, RuleConfig
from agent.rules import Rules
from agent.scene import Scene
from agent.tape import Reel
from drivers.base import open_source

log = logging.getLogger("reflexd")
LEAVING_S = 2.0  # a lane looks up every few ms; a driver may be in a call


class Runner:
    def __init__(self, name: str, config: Config, path: Path, samples: int = 0) -> None:
        """Load and check the models. path: of the configuration. Raises PackageError, OSError."""
        self.name = name
        self.config = config
        self.section = config.lanes[name]
        self.lane = make_lane(name, config, path.resolve().parent, samples)
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.ended = False
        self.retired = False  # it ends because it was told to

    def start(self, scene: Scene, session: int, ended: Callable[[Runner], None]) -> None:
        """ended: called on the lane's thread as its last act."""
        self.thread = threading.Thread(target=self.live, args=(scene, session, ended), name=self.name, daemon=True)
        self.thread.start()

    def live(self, scene: Scene, session: int, ended: Callable[[Runner], None]) -> None:
        """The thread's whole life."""
        context = None
        try:
            cores = realtime.place(list(self.config.lanes).index(self.name), self.section.cores, self.config.realtime)
            realtime.thread(cores, self.config.realtime)
            context = realtime.context(self.config.realtime, cores)
            node = f"{self.config.node}/{self.name}"
            self.lane.run(scene, Outbox(context, addresses(self.config, self.name), node, session, self.lane.ledger))
        except Exception as error:
            # A bug. No heart-beats any more: the actuators go safe; the daemon ends with 1 and systemd starts it anew.
            self.error = error
            self.lane.ledger.state = ledger.FAILED
            log.exception("lane %s: a bug", self.name)
        if context:
            context.destroy()  # also closes what a bug left open
        ended(self)

    @property
    def hung(self) -> bool:
        """Its thread does not come round: a driver is in a call that does not return."""
        alive = self.thread is not None and not self.ended and not self.retired
        return alive and time.monotonic_ns() - self.lane.ledger.cells[ledger.TURN] > health.STUCK_NS

    async def retire(self) -> None:
        """End it; its good-bye makes its actuators safe."""
        self.retired = True
        self.lane.stopping.set()
        if self.thread:
            await asyncio.to_thread(self.thread.join, LEAVING_S)

    def told(self) -> dict[str, Any]:
        """For `reflexd status`."""
        lane, section = self.lane, self.section
        return {
            "state": ledger.STATES[lane.ledger.state], "well": lane.well, "why": "" if lane.well else lane.why,
            "model": section.model, "then": section.then, "driver": section.source.driver, "critical": section.critical,
            "budget_ms": lane.limits.budget_ms,
        }  # fmt: skip


def make_lane(name: str, config: Config, beside: Path, samples: int) -> Lane:
    section = config.lanes[name]
    good = reference.read(beside / section.reference) if section.reference else None
    perception = open_models(section, beside, good)
    source = open_source(section.source.driver, section.source.options, name)
    budget = section.budget_ms or perception.package.manifest.budget_ms
    timeout_ns = int(getattr(source.options, "timeout_ms", 500.0) * 1e6)
    limits = Limits(timeout_ns, budget, section.critical, config.drop_late, samples)
    account = Ledger(config.run_dir / f"{name}.ledger", name, budget, section.critical)
    recorder = config.recorder
    reel = Reel(config.run_dir / f"{name}.tape", recorder.pictures) if recorder.enabled else None
    if reel:
        reel.path.unlink(missing_ok=True)  # an earlier daemon's would be recorded again; who still reads it has it open
    return Lane(name, source, perception, limits, account, reel)


def open_models(section: LaneConfig, beside: Path, good: Array | None = None) -> Perception:
    """Checked, loaded and warm. good: the picture of a good part. Raises PackageError."""

    def opened(model: str) -> Package:
        return package.open_package(package.find(model, beside), section.threads)

    fine = Fine(opened(section.fine.model), section.fine) if section.fine else None
    second = SecondModel(opened(section.then)) if section.then else None
    first = opened(section.model)
    first.set_hop(section.hop_ms)
    shrink = None if section.shrink == "auto" else section.shrink
    return Perception(first, gate=section.gate, reference=good, fine=fine, second=second, shrink=shrink)


def rules_of(config: Config) -> Rules:
    rules = {name: with_zones(rule, config) for name, rule in config.rules.items()}
    return Rules(rules, {name: one.rest for name, one in config.actuators.items()})


def with_zones(rule: RuleConfig, config: Config) -> RuleConfig:
    """The rule with polygons where it named zones of its lanes: a zone that was drawn anew makes it another rule."""

    def drawn(one: Condition) -> Condition:
        if not isinstance(one.zone, str) or not one.zone:
            return one
        return one.model_copy(update={"zone": config.lanes[one.lane].zones[one.zone]})

    return rule.model_copy(update={rule.kind: [drawn(one) for one in rule.conditions]})


def addresses(config: Config, lane: str) -> list[Address]:
    """Where the decisions go that this lane may bring."""
    found = []
    for name in rules_of(config).feeds.get(lane, ()):
        one = config.actuators[name]
        curve = keys.curve(config.keys, one.server_key)
        found.append(Address(name, config.endpoint(name), one.safe_after_ms, curve))
    return found
