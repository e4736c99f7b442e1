"""A changed configuration in a running daemon: which lanes stop and start, and what only a restart can change."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.box import realtime
from agent.build import rules_of
from agent.config.models import Config, LaneConfig
from agent.errors import ConfigError
from agent.isolated import python, sacrifice
from agent.lane import Lane
from agent.packages import package
from agent.update.stored import StoredModels
from agent.vision import reference

LOAD_S = 30.0  # for the configuration and its models, in a child process and then here
# Sockets, ledgers and threads depend on these.
FIXED = ("node", "run_dir", "state_dir", "realtime", "keys", "insecure", "recorder", "workers")


class Plan(NamedTuple):
    """stop, start: names of lanes; a changed lane is in both, and so is one that goes to another worker.

    fixed: changed keys that need a restart of the daemon.
    """

    stop: list[str]
    start: list[str]
    fixed: list[str]


def compare(old: Config, new: Config, replaced: Collection[str] = ()) -> Plan:
    """replaced: lanes whose files changed while their configuration did not."""
    before, after = _parts(old), _parts(new)
    stop = [name for name in before if name in replaced or before[name] != after.get(name)]
    start = [name for name in after if name in replaced or after[name] != before.get(name)]
    fixed = [key for key in FIXED if getattr(old, key) != getattr(new, key)]
    return Plan(stop, start, fixed)


def _parts(config: Config) -> dict[str, Any]:
    """Everything a lane is made of: its section, the links to its actuators, the rules whose late decisions it drops,
    and whether other boxes may want its evidence.

    Without its zones, which belong to the rules, and its priority: these change without a restart of the lane.
    """
    feeds = rules_of(config).feeds
    links = {name: [_link(config, actuator) for actuator in feeds.get(name, ())] for name in config.lanes}
    sections = {name: section.model_copy(update={"zones": {}, "priority": 5}) for name, section in config.lanes.items()}
    others = config.site is not None
    return {
        name: (section, links[name], config.drop_late, others, _peers(config, section))
        for name, section in sections.items()
    }


def _peers(config: Config, section: LaneConfig) -> Any:
    """Those to which the lane keeps connections."""
    return config.offload.peers if config.offload and section.offload else None


def _link(config: Config, actuator: str) -> tuple[Any, ...]:
    section = config.actuators[actuator]
    return actuator, config.endpoint(actuator), section.safe_after_ms, section.server_key


def summary(plan: Plan, old: Config, new: Config) -> str:
    """What changed, and what that did to the lanes, in words."""
    changes = [
        *_listed("rules changed", _changed(old.rules, new.rules)),
        *_listed("zones changed", _changed(_zones(old), _zones(new))),
        *_listed("actuators changed", _changed(old.actuators, new.actuators)),
        *(["metrics changed"] if old.metrics != new.metrics else []),
        *(["offload changed"] if old.offload != new.offload else []),
        *(["drift changed"] if old.drift != new.drift else []),
        *(["site changed"] if old.site != new.site else []),
    ]
    lanes = [
        *_listed("lanes restarted", [name for name in plan.start if name in plan.stop]),
        *_listed("lanes started", [name for name in plan.start if name not in plan.stop]),
        *_listed("lanes stopped", [name for name in plan.stop if name not in plan.start]),
    ]
    return "; ".join([*(changes or ([] if lanes else ["nothing changed"])), *(lanes or ["no lane restarted"])])


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of what is added, removed or other than before."""
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def _zones(config: Config) -> dict[str, Any]:
    """Of each lane that has some."""
    return {name: lane.zones for name, lane in config.lanes.items() if lane.zones}


def _listed(what: str, names: Sequence[str]) -> list[str]:
    """One part of the summary; none without names."""
    return [f"{what}: {', '.join(names)}"] if names else []


def with_other_files(lanes: Iterable[Lane], new: Config, path: Path) -> set[str]:
    """Lanes whose loaded model or reference differs from the disk: the file was replaced under the same name.

    path: of the configuration. Raises PackageError.
    """
    base_folder, sections = path.resolve().parent, new.lanes
    return {
        lane.name
        for lane in lanes
        if lane.name in sections and not _files_same(lane, sections[lane.name], base_folder, StoredModels(new))
    }


def _files_same(lane: Lane, section: LaneConfig, base_folder: Path, stored_models: StoredModels) -> bool:
    overwritten = {"sound": {"hop"}} if section.hop_ms else None  # by the lane's own hop
    loaded = [opened.manifest.model_dump(exclude=overwritten) for opened in lane.perception.packages]
    folders = [stored_models.folder(model) or package.find(model, base_folder) for model in section.models]
    on_disk = [package.read(folder).model_dump(exclude=overwritten) for folder in folders]
    if loaded != on_disk:  # with the sha256 of the model's file
        return False
    loaded_reference = lane.perception.reference
    if section.reference is None or loaded_reference is None:
        return section.reference is None and loaded_reference is None
    return np.array_equal(loaded_reference, reference.read(base_folder / section.reference))


def not_loaded(path: Path) -> ConfigError:
    """Where LOAD_S have passed."""
    cause = "one of its files is a pipe, or on a disk that does not answer"
    return ConfigError([f"{path}: its models were not loaded within {LOAD_S:g} s: {cause}"])


async def read_changed(path: Path, old: Config) -> Config:
    """The file's configuration. Raises ConfigError, also where it differs from the old one in what cannot change."""
    try:
        new = await _read_checked(path)
    except asyncio.TimeoutError:
        raise not_loaded(path) from None
    if fixed := compare(old, new).fixed:
        raise ConfigError([f"{path}: a change of {', '.join(fixed)} needs a restart of reflexd"])
    return new


async def _read_checked(path: Path) -> Config:
    """The configuration, validated, and its models loaded once, by a child process.

    Raises ConfigError, asyncio.TimeoutError.
    """
    command = python("agent", "check", "--json", "-c", str(path))
    # In a session of its own: a SIGHUP for the daemon's process group would end it.
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, realtime.PARENT: str(os.getpid())},
    )
    sacrifice(child.pid)
    try:
        stdout, _ = await asyncio.wait_for(child.communicate(), LOAD_S)
    finally:
        if child.returncode is None:
            child.kill()
    return _checked(path, stdout, child.returncode)


def _checked(path: Path, stdout: bytes, code: int | None) -> Config:
    """What `reflexd check` reports, and its exit code. Raises ConfigError."""
    try:
        report = json.loads(stdout)
    except ValueError as error:
        raise ConfigError([f"{path}: `reflexd check` ended with {code} and no report"]) from error
    if not report["ok"]:
        raise ConfigError(report["mistakes"])
    config = Config.model_validate(report["config"])
    if not config.lanes:
        raise ConfigError([f"{path}: no lanes: there is nothing to do"])
    return config
