"""What a changed configuration asks of a running daemon: which lanes stop and start, and what only a restart can change."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent import package
from agent.build import rules_of
from agent.config.models import Config, LaneConfig
from agent.errors import ConfigError
from agent.lane import Lane
from agent.vision import reference

FIXED = (
    "node",
    "run_dir",
    "state_dir",
    "realtime",
    "keys",
    "insecure",
    "recorder",
)  # sockets, ledgers and threads hang on these


class Plan(NamedTuple):
    """stop, start: names of lanes; one that changed is in both. fixed: what changed and needs a restart of the daemon."""

    stop: list[str]
    start: list[str]
    fixed: list[str]


def compare(old: Config, new: Config, replaced: Collection[str] = ()) -> Plan:
    """replaced: lanes whose files changed while the configuration says the same."""
    before, after = _reach(old), _reach(new)
    stop = [name for name in before if name in replaced or before[name] != after.get(name)]
    start = [name for name in after if name in replaced or after[name] != before.get(name)]
    fixed = [key for key in FIXED if getattr(old, key) != getattr(new, key)]
    return Plan(stop, start, fixed)


def _reach(config: Config) -> dict[str, Any]:
    """All that a lane is made of: its section, the lines to its actuators, which late decisions it drops. Zones are for rules."""
    feeds = rules_of(config).feeds
    lines = {name: [_line(config, actuator) for actuator in feeds.get(name, ())] for name in config.lanes}
    blind = {name: lane.model_copy(update={"zones": {}}) for name, lane in config.lanes.items()}
    return {name: (lane, lines[name], config.drop_late) for name, lane in blind.items()}


def _line(config: Config, actuator: str) -> tuple[Any, ...]:
    one = config.actuators[actuator]
    return actuator, config.endpoint(actuator), one.safe_after_ms, one.server_key


def with_other_files(lanes: Iterable[Lane], new: Config, path: Path) -> set[str]:
    """Lanes that go on and hold what is not on the disk any more: a model or a reference was replaced under its old name.

    path: of the configuration. Raises PackageError.
    """
    beside = path.resolve().parent
    return {
        lane.name for lane in lanes if lane.name in new.lanes and not _still_there(lane, new.lanes[lane.name], beside)
    }


def _still_there(lane: Lane, section: LaneConfig, beside: Path) -> bool:
    ours = {"sound": {"hop"}} if section.hop_ms else None  # a lane's own hop is written over the manifest's
    held = [one.manifest.model_dump(exclude=ours) for one in lane.perception.packages]
    found = [package.read(package.find(model, beside)).model_dump(exclude=ours) for model in section.models]
    if held != found:  # with the sha256 of the model's file
        return False
    good = lane.perception.reference
    if section.reference is None or good is None:
        return section.reference is None and good is None
    return np.array_equal(good, reference.read(beside / section.reference))


async def read_checked(path: Path) -> Config:
    """The configuration, validated and its models loaded once in a process of its own. Raises ConfigError."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "check", "--json", "-c", str(path), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await child.communicate()
    try:
        answer = json.loads(told)
    except ValueError as error:
        raise ConfigError([f"{path}: the check of it ended with {child.returncode} and said nothing"]) from error
    if not answer["ok"]:
        raise ConfigError(answer["mistakes"])
    config = Config.model_validate(answer["config"])
    if not config.lanes:
        raise ConfigError([f"{path}: no lanes: there is nothing to do"])
    return config
