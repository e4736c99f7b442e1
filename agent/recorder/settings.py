"""What the daemon gives its recorder in a file of run_dir: settings that are checked, and the header of recordings.

So the recorder reads no configuration, which takes longer than a recorder that died may be away, and which somebody may
have edited meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.box import private

if TYPE_CHECKING:
    from agent.config.models import Config
    from agent.packages.loaded import LoadedModel

NAME = "recorder.settings"


class ClipSettings(NamedTuple):
    """As `events` in the configuration. seal: a public key file, or empty."""

    rules: list[str]
    before_s: float
    after_s: float
    files: int
    seal: str


class Settings(NamedTuple):
    """header: what a replay needs: the configuration without passwords, its path, the models' checksums, versions and
    engines, the engines of each lane (two lanes may run one model on two), which lanes decide together, our version.

    pictures: of picture models, keep the inputs in recordings and clips, or in "clips" only. session: of the daemon.
    """

    node: str
    run_dir: Path
    state_dir: Path
    lanes: list[str]
    file_mb: float
    files: int
    pictures: bool | str
    clips: ClipSettings
    header: dict[str, str]
    session: int = 0


def of_config(
    config: Config,
    path: Path,
    lanes: Mapping[str, Sequence[LoadedModel]],
    session: int,
    together: Sequence[Sequence[str]] = (),
) -> Settings:
    """path: of the configuration. lanes: of each its models in their order, as they are loaded.

    together: lanes whose rules run in one process; empty: all of them.
    """
    from agent import redact  # compiles what the recorder's process does not need

    recorder, events = config.recorder, config.recorder.events
    clips = ClipSettings(
        rules=events.rules,
        before_s=events.before_s,
        after_s=events.after_s,
        files=events.files,
        seal=str(events.seal or ""),
    )
    models = {name: model for lane in lanes for name, model in zip(config.lanes[lane].models, lanes[lane])}
    header = {
        "config": json.dumps(redact.tree(config.model_dump(mode="json"))),
        "path": str(path.resolve()),
        "models": json.dumps({name: model.checksum for name, model in models.items()}),
        "versions": json.dumps({name: model.version for name, model in models.items()}),
        "engines": json.dumps({name: model.engine for name, model in models.items()}),
        "lane_engines": json.dumps({lane: [model.engine for model in lanes[lane]] for lane in lanes}),
        "together": json.dumps(together),
        "version": version("reflexd"),
    }
    return Settings(
        node=config.node,
        run_dir=config.run_dir,
        state_dir=config.state_dir,
        lanes=list(config.lanes),
        file_mb=recorder.file_mb,
        files=recorder.files,
        pictures=recorder.pictures,
        clips=clips,
        header=header,
        session=session,
    )


def write(settings: Settings) -> None:
    """Raises OSError."""
    private.write_settings(settings.run_dir / NAME, settings._asdict())


def read(run_dir: Path) -> Settings:
    """Raises OSError; ValueError where the file is damaged or of another version."""
    path = run_dir / NAME
    try:
        raw = json.loads(path.read_bytes())
        folders = {key: Path(raw[key]) for key in ("run_dir", "state_dir")}
        return Settings(**{**raw, **folders, "clips": ClipSettings(*raw["clips"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: of another version: {error}") from error
