"""What the daemon gives the site's link in a file of run_dir: so it reads no configuration and loads no package."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.box import private

if TYPE_CHECKING:
    from agent.config.models import Config
    from agent.packages.loaded import LoadedModel

NAME = "site.settings"
REMOTE = "sensor.site"  # the driver of a lane over other boxes' evidence


class Settings(NamedTuple):
    """As `site` in the configuration. keys: a folder, or empty.

    lanes: whose evidence others may have. regions: of each lane over remote evidence, its sources BOX/LANE.
    models: sha256 of each that runs here. model_of: of each lane its first model. version: of this program.
    """

    node: str
    run_dir: Path
    site: str
    boxes: list[str]
    listen: list[str]
    peers: list[str]
    discovery: bool
    keys: str
    lanes: list[str]
    regions: dict[str, list[str]]
    models: dict[str, str]
    model_of: dict[str, str]
    version: str

    @property
    def identity(self) -> tuple[object, ...]:
        """What a session is opened with; the rest may change while it is open."""
        return self.node, self.site, self.boxes, self.listen, self.peers, self.discovery, self.keys

    @property
    def root(self) -> str:
        """Of all keys of the site."""
        return f"reflexd/{self.site}"

    def key(self, box: str, rest: str) -> str:
        return f"{self.root}/{box}/{rest}"


def of_config(config: Config, loaded: Mapping[str, Sequence[LoadedModel]]) -> Settings:
    """loaded: models of each lane."""
    site = config.site
    assert site
    remote = {name: lane for name, lane in config.lanes.items() if lane.source.driver == REMOTE}
    models = {
        model: opened.checksum
        for lane, of_lane in loaded.items()
        if lane not in remote
        for model, opened in zip(config.lanes[lane].models, of_lane)
    }
    return Settings(
        node=config.node,
        run_dir=config.run_dir,
        site=site.name,
        boxes=site.boxes,
        listen=site.listen,
        peers=site.peers,
        discovery=site.discovery,
        keys=os.path.abspath(site.keys) if site.keys else "",
        lanes=list(config.lanes),
        regions={name: list(lane.source.options.get("from", ())) for name, lane in remote.items()},
        models=models,
        model_of={name: lane.model for name, lane in config.lanes.items() if name not in remote},
        version=version("reflexd"),
    )


def write(settings: Settings) -> None:
    """Raises OSError."""
    private.write_settings(settings.run_dir / NAME, settings._asdict())


def read(run_dir: Path) -> Settings:
    """Raises OSError; ValueError where the file is damaged or of another version."""
    path = run_dir / NAME
    try:
        raw: dict[str, Any] = json.loads(path.read_bytes())
        return Settings(**{**raw, "run_dir": Path(raw["run_dir"])})
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: damaged, or of another version: {error}") from error
