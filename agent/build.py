"""Builds what a configuration describes: lanes with their models, rules, addresses of actuators, the actuator host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agent import endpoints, keys
from agent.box.lockfile import host_lock
from agent.commands import boxes
from agent.commands.guard import Bounds
from agent.commands.host import Access, Host, Hosted
from agent.commands.link import Address
from agent.commands.merge import Redundancy
from agent.commands.standby import Device
from agent.config.models import Config, LaneConfig
from agent.data import Array
from agent.errors import PackageError
from agent.keys import Curve
from agent.lane import Lane, Limits
from agent.ledger import Ledger
from agent.offload.lanes import attach
from agent.packages import package
from agent.packages.answers import keep_answers
from agent.packages.on_demand import make_on_demand
from agent.packages.package import Package
from agent.perception import Perception
from agent.rules.conditions import Condition, RuleConfig
from agent.rules.engine import Rules
from agent.tapes.tapes import Tapes
from agent.update.stored import StoredModels
from agent.vision import reference
from agent.vision.config import HeadConfig, RefineConfig
from agent.vision.heads import Heads
from agent.vision.poses import SecondModel
from agent.vision.refine import Refine
from drivers import base as drivers
from drivers.base import Actuator, Camera, open_source
from drivers.remote import RemoteEvidence
from drivers.sensor import _site_datagram as site_datagram


def make_lane(
    name: str, config: Config, base_folder: Path, samples: int, stored_models: StoredModels | None = None
) -> Lane:
    """stored_models: shared by the lanes of a daemon."""
    section = config.lanes[name]
    good_part = reference.read(base_folder / section.reference) if section.reference else None
    perception = open_models(section, base_folder, good_part, stored_models=stored_models, on_time=config.realtime)
    source = open_source(section.source.driver, section.source.options, name)
    if isinstance(source, Camera) and not section.refine:  # a part of the picture may need all of its pixels
        source.network = perception.package.picture_size
    if isinstance(source, RemoteEvidence):
        source.path = site_datagram.path(config.run_dir, name)
    budget = section.budget_ms or perception.package.manifest.budget_ms
    timeout_ns = int(getattr(source.options, "timeout_ms", 500.0) * 1e6)
    limits = Limits(timeout_ns, budget, section.critical, config.drop_late, samples)
    lane_ledger = Ledger(config.run_dir / f"{name}.ledger", name, budget, section.critical)
    attach(perception, name, config, base_folder, lane_ledger)
    recorder = config.recorder
    tapes = Tapes(config.run_dir, name, recorder.enabled, bool(recorder.pictures), site=config.site is not None)
    # An earlier daemon's tape would be recorded again; a recorder that still reads it has it open.
    tapes.path.unlink(missing_ok=True)
    return Lane(name, source, perception, limits, lane_ledger, tapes)


def open_models(
    section: LaneConfig,
    base_folder: Path,
    good_part: Array | None = None,
    engines: Sequence[str] | None = None,
    folders: Mapping[str, Path] | None = None,
    stored_models: StoredModels | None = None,
    on_time: bool = False,
) -> Perception:
    """The lane's models, checked, loaded and warm. Raises PackageError.

    good_part: a picture of one. engines, folders: those that a recording names, engines in the order of the lane's
    models, folders by model; None: the ones for this machine.
    stored_models: newer versions, which the updater installed. on_time: the lanes are on SCHED_FIFO.
    """

    def opened(number: int, chosen: str = "", shared: bool = section.share) -> Package:
        model = section.models[number]
        if stored_models and (stored := stored_models.folder(model)):
            try:
                return package.open_as(stored, package.read(stored), section.threads, chosen, shared, model)
            except PackageError as error:
                stored_models.report_damage(model, error)
        folder = (folders or {}).get(model) or package.find(model, base_folder)
        backend = chosen if engines is None else engines[number] or package.first_engine(folder)
        return package.open_package(folder, section.threads, backend, shared)

    def opened_head(number: int, head: HeadConfig) -> Package:
        """In a replay it stays: what was recorded says when it ran."""
        made = opened(number, shared=section.share and not head.when)
        if head.when and engines is None:
            make_on_demand(made, section.threads, on_time)
        return made

    def refining(number: int, config: RefineConfig) -> Refine:
        made = opened(number)
        if config.cache and engines is None:
            keep_answers(made)
        return Refine(made, config)

    refine = refining(len(section.first_models), section.refine) if section.refine else None
    second = SecondModel(opened(-1)) if section.then else None
    first = opened(0, section.backend)
    first.set_hop(section.hop_ms)
    heads = Heads(first, [(opened_head(number, head), head) for number, head in enumerate(section.heads.values(), 1)])
    return _perception(section, first, heads if section.heads else None, refine, second, good_part)


def _perception(
    section: LaneConfig,
    first: Package,
    heads: Heads | None,
    refine: Refine | None,
    second: SecondModel | None,
    good_part: Array | None,
) -> Perception:
    return Perception(
        first,
        gate=section.gate,
        reference=good_part,
        heads=heads,
        refine=refine,
        second=second,
        shrink=None if section.shrink == "auto" else section.shrink,
        every=section.every,
    )


def rules_of(config: Config) -> Rules:
    rules = {name: _with_zones(rule, config) for name, rule in config.rules.items()}
    return Rules(rules, {name: section.rest for name, section in config.actuators.items()})


def _with_zones(rule: RuleConfig, config: Config) -> RuleConfig:
    """The rule with polygons for the names of zones: a zone that was redrawn makes it another rule."""

    def with_polygon(condition: Condition) -> Condition:
        if not isinstance(condition.zone, str) or not condition.zone:
            return condition
        return condition.model_copy(update={"zone": config.lanes[condition.lane].zones[condition.zone]})

    return rule.model_copy(update={rule.kind: [with_polygon(condition) for condition in rule.conditions]})


def addresses(config: Config, lane: str) -> list[Address]:
    """The actuators that this lane's decisions may command. Raises OSError for a key file that cannot be used."""
    names = rules_of(config).feeds.get(lane, ())
    return [
        Address(name, config.endpoint(name), config.actuators[name].safe_after_ms, _curve(name, config))
        for name in names
    ]


def _curve(name: str, config: Config) -> Curve | None:
    """Keys for an actuator. One on this box that names no server_key has this box's own key."""
    endpoint, section = config.endpoint(name), config.actuators[name]
    if config.keys is None or endpoints.is_ipc(endpoint):
        return None
    here = section.device is not None or endpoints.is_local(endpoint)
    return keys.curve(config.keys.own, section.server_key or (config.keys.own if here else None))


def make_host(config: Config, only: Iterable[str] = ()) -> Host:
    """A host, bound and not yet started. only: actuators; empty: all that have a device here. Raises OSError."""
    names = sorted(set(only) or {name for name, section in config.actuators.items() if section.device})
    access = Access(config.node, config.keys.own, config.keys.authorized) if config.keys else None
    return Host([_hosted(name, config) for name in names], access, config.realtime)


def _hosted(name: str, config: Config) -> Hosted:
    section = config.actuators[name]
    assert section.device is not None
    module = drivers.load(section.device.driver)
    driver: Actuator = module.Driver(module.Options.model_validate(section.device.options), name)
    bounds = Bounds(
        senders=frozenset(config.senders(name)),
        safe_after_ns=int(section.safe_after_ms * 1e6),
        verbs=frozenset(section.verbs or driver.verbs),
        limits=section.limits,
    )
    endpoint = config.endpoint(name)
    device = Device(name, section.device.driver, section.device.options)
    redundancy = Redundancy(section.boxes, section.strongest, int(section.disagree_ms * 1e6)) if section.boxes else None
    lock, state = host_lock(name, endpoint, config.run_dir), boxes.path(config.run_dir, name)
    return Hosted(device, driver, bounds, endpoint, lock, redundancy, state)
