"""Every model of one configuration or several, loaded and tried once, for `reflexd check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.config.models import Config, LaneConfig
from agent.errors import PackageError
from agent.modeltools.trial import trial
from agent.packages import heads, package
from agent.packages.package import Package


def try_models(configs: Sequence[Config], base_folder: Path) -> None:
    """Raises PackageError with a line for each that is wrong."""
    mistakes: list[str] = []
    lanes = [lane for config in configs for lane in config.lanes.values()]
    kept = {name for lane in lanes if lane.heads for name in lane.first_models}
    opened: dict[str, Package] = {}
    for name in dict.fromkeys(name for lane in lanes for name in lane.models):
        try:
            tried = package.open_package(package.find(name, base_folder))
            trial(tried)
            if name in kept:
                opened[name] = tried
        except PackageError as error:
            mistakes.append(str(error))
    mistakes += _heads_that_do_not_fit(lanes, opened)
    if mistakes:
        raise PackageError("\n".join(mistakes))


def _heads_that_do_not_fit(lanes: Sequence[LaneConfig], opened: Mapping[str, Package]) -> list[str]:
    mistakes = []
    for lane in lanes:
        for head in lane.heads:
            try:
                if lane.model in opened and head in opened:
                    heads.output_of(opened[lane.model], opened[head])
            except PackageError as error:
                mistakes.append(str(error))
    return list(dict.fromkeys(mistakes))
