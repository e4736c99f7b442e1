"""What the daemon gives the drift monitor in a file of run_dir: settings that are checked, and the models that run.

So the monitor reads no configuration, which somebody may have edited meanwhile, and loads no package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.box import private
from agent.drift.detector import Limits

if TYPE_CHECKING:
    from agent.config.drift import Collect
    from agent.config.models import Config, LaneConfig
    from agent.packages.loaded import LoadedModel

NAME = "drift.settings"


class Model(NamedTuple):
    """A package of a lane. engine: what runs it. checksum: of what its outputs depend on."""

    folder: str
    engine: str
    checksum: str


class LaneSettings(NamedTuple):
    """model: a checksum of all its models together. source: of the driver and its options."""

    model: str
    source: str
    models: list[Model]


class CollectSettings(NamedTuple):
    """As `drift.collect` in the configuration. seal: a public key file, or empty."""

    keep: str
    uncertain: tuple[float, float]
    files: int
    mb: float
    seal: str


class Settings(NamedTuple):
    """lanes: those that are watched. collect: None where nothing is kept."""

    node: str
    run_dir: Path
    state_dir: Path
    limits: Limits
    golden_h: float
    lanes: dict[str, LaneSettings]
    collect: CollectSettings | None


def of_config(config: Config, loaded: Mapping[str, Sequence[LoadedModel]]) -> Settings:
    """loaded: of each lane."""
    drift = config.drift
    assert drift
    names = [name for name in config.lanes if name not in drift.skip and name in loaded]
    return Settings(
        node=config.node,
        run_dir=config.run_dir,
        state_dir=config.state_dir,
        limits=Limits(drift.learn, drift.recover),
        golden_h=drift.golden_h,
        lanes={name: _lane(config.lanes[name], loaded[name]) for name in names},
        collect=_collect(drift.collect) if drift.collect else None,
    )


def _collect(collect: Collect) -> CollectSettings:
    return CollectSettings(collect.keep, collect.uncertain, collect.files, collect.mb, str(collect.seal or ""))


def _lane(section: LaneConfig, loaded: Sequence[LoadedModel]) -> LaneSettings:
    models = [Model(model.folder, model.engine, model.checksum) for model in loaded]
    source = json.dumps(section.source.model_dump(mode="json"), sort_keys=True, default=str)
    return LaneSettings(_digest("".join(model.checksum for model in models)), _digest(source), models)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write(settings: Settings) -> None:
    """Raises OSError."""
    private.write_settings(settings.run_dir / NAME, settings._asdict())


def read(run_dir: Path) -> Settings:
    """Raises OSError; ValueError where the file is damaged or of another version."""
    path = run_dir / NAME
    try:
        return _parsed(json.loads(path.read_bytes()))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: damaged, or of another version: {error}") from error


def _parsed(raw: dict[str, Any]) -> Settings:
    collect = raw["collect"] and CollectSettings(*raw["collect"])
    lanes = {
        name: LaneSettings(model, source, [Model(*each) for each in models])
        for name, (model, source, models) in raw["lanes"].items()
    }
    folders = {key: Path(raw[key]) for key in ("run_dir", "state_dir")}
    return Settings(**{**raw, **folders, "limits": Limits(*raw["limits"]), "lanes": lanes, "collect": collect})
