"""What a changed configuration asks of a running daemon: which lanes stop and start, and what only a restart can change."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from agent.config import Config, ConfigError
from agent.rules import Rules

FIXED = ("node", "run_dir", "state_dir", "realtime", "keys", "insecure", "recorder")  # sockets, ledgers and threads hang on these


class Plan(NamedTuple):
    """stop, start: names of lanes; one that changed is in both. fixed: what changed and needs a restart of the daemon."""

    stop: list[str]
    start: list[str]
    fixed: list[str]


def compare(old: Config, new: Config) -> Plan:
    before, after = reach(old), reach(new)
    stop = [name for name in before if before[name] != after.get(name)]
    start = [name for name in after if after[name] != before.get(name)]
    fixed = [key for key in FIXED if getattr(old, key) != getattr(new, key)]
    return Plan(stop, start, fixed)


def reach(config: Config) -> dict[str, Any]:
    """All that a lane is made of: its own section, the lines to its actuators, and which late decisions it drops."""
    feeds = Rules(config.rules, {}).feeds
    lines = {name: [line(config, actuator) for actuator in feeds.get(name, ())] for name in config.lanes}
    return {name: (lane, lines[name], config.drop_late) for name, lane in config.lanes.items()}


def line(config: Config, actuator: str) -> tuple[Any, ...]:
    one = config.actuators[actuator]
    return actuator, config.endpoint(actuator), one.safe_after_ms, one.server_key


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
