"""Which lanes need each other and so run in one process, and how the others are spread over worker processes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from agent.config.models import Config

Key = tuple[str, str]


def groups(config: Config) -> list[list[str]]:
    """Lanes that belong together, in the order of the configuration.

    They feed the same actuator, which takes one sender's decisions in order; or share an engine (`share`); or have a
    model that is updated, whose versions are tried in all its lanes at once.
    """
    actuators: dict[str, set[str]] = {}
    for rule in config.rules.values():
        for condition in rule.conditions:
            actuators.setdefault(condition.lane, set()).add(rule.actuator)
    joined: list[tuple[set[Key], list[str]]] = []
    for lane in config.lanes:
        keys, lanes, apart = _keys(config, lane, actuators.get(lane, set())), [lane], []
        for other_keys, other_lanes in joined:
            if keys & other_keys:
                keys, lanes = keys | other_keys, other_lanes + lanes
            else:
                apart.append((other_keys, other_lanes))
        joined = [*apart, (keys, lanes)]
    order = {lane: number for number, lane in enumerate(config.lanes)}
    return sorted((sorted(lanes, key=order.__getitem__) for _, lanes in joined), key=lambda lanes: order[lanes[0]])


def _keys(config: Config, lane: str, actuators: set[str]) -> set[Key]:
    """What joins this lane with every other one that has the same."""
    section = config.lanes[lane]
    shared = {("engine", model) for model in section.models} if section.share else set()
    updated = {("update", model) for model in section.models if model in config.updatable}
    return {("actuator", actuator) for actuator in actuators} | shared | updated


def worker_count(config: Config) -> int:
    """Worker processes for the lanes; 0: they run in the daemon itself. auto: one for each core that can be used."""
    if config.workers != "auto":
        return int(config.workers)
    count = min(len(os.sched_getaffinity(0)), len(groups(config)))
    return count if count > 1 else 0


def spread(config: Config, count: int, before: Mapping[str, int] | None = None) -> list[Config]:
    """The part of the configuration of each worker. before: where lanes run already, and stay if they can."""
    workers: list[list[str]] = [[] for _ in range(count)]
    new = []
    for lanes in groups(config):
        homes = Counter(before[lane] for lane in lanes if before and lane in before)
        if homes:
            workers[homes.most_common(1)[0][0]] += lanes
        else:
            new.append(lanes)
    for lanes in sorted(new, key=len, reverse=True):
        min(workers, key=len).extend(lanes)
    return [part(config, lanes) for lanes in workers]


def part(config: Config, lanes: list[str]) -> Config:
    """The configuration of these lanes alone, which no rule joins with others."""
    rules = {name: rule for name, rule in config.rules.items() if any(each.lane in lanes for each in rule.conditions)}
    actuators = {rule.actuator for rule in rules.values()}
    sections = {name: section for name, section in config.lanes.items() if name in lanes}
    used = [model for model in config.updatable if any(model in section.models for section in sections.values())]
    return config.model_copy(
        update={
            "lanes": sections,
            "rules": rules,
            "actuators": {name: section for name, section in config.actuators.items() if name in actuators},
            "update": config.update.model_copy(update={"models": used}) if config.update and used else None,
        }
    )
