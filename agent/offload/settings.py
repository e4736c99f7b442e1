"""What the daemon gives the processes of this room in files of run_dir: settings that are checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.box import private
from agent.open_inference import server as servers
from agent.open_inference.server import Server
from agent.packages import package

if TYPE_CHECKING:
    from agent.config.models import Config

SERVE, WATCH = "offload.serve", "offload.watch"


class ServeSettings(NamedTuple):
    """As `offload.serve` in the configuration. keys: folder with certificate and token, absolute, or empty.

    models: name -> folder of the package.
    """

    host: str
    port: int
    keys: str
    models: dict[str, str]
    busy: float
    queue: int


class PeerSettings(NamedTuple):
    """As `offload.peers` in the configuration. keys: a folder, absolute, or empty."""

    name: str
    url: str
    keys: str


def write(run_dir: Path, name: str, settings: Any) -> None:
    """Raises OSError."""
    private.write_settings(run_dir / name, {"settings": settings})


def read_serve(run_dir: Path) -> ServeSettings:
    """Raises OSError; ValueError where the file is damaged or of another version."""
    raw = _read(run_dir / SERVE)
    try:
        return ServeSettings(*raw)
    except TypeError as error:
        raise ValueError(f"{run_dir / SERVE}: damaged, or of another version: {error}") from error


def read_watch(run_dir: Path) -> list[PeerSettings]:
    """Raises OSError; ValueError where the file is damaged or of another version."""
    raw = _read(run_dir / WATCH)
    try:
        return [PeerSettings(*each) for each in raw]
    except TypeError as error:
        raise ValueError(f"{run_dir / WATCH}: damaged, or of another version: {error}") from error


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())["settings"]
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path}: damaged, or of another version: {error}") from error


def peers_of(config: Config, base_folder: Path) -> list[PeerSettings]:
    """base_folder: of the configuration, where paths start."""
    peers = config.offload.peers if config.offload else {}
    return [PeerSettings(name, each.url, _folder(each.keys, base_folder)) for name, each in peers.items()]


def _folder(keys: Path | None, base_folder: Path) -> str:
    return str(base_folder / keys) if keys else ""


def server_of(peer: PeerSettings) -> Server:
    """Raises OSError, ValueError."""
    return servers.of_peer(peer.name, peer.url, Path(peer.keys) if peer.keys else None)


def serve_of(config: Config, base_folder: Path) -> ServeSettings:
    """Of a configuration that serves. Raises PackageError for a model that is not there."""
    assert config.offload and config.offload.serve
    serve = config.offload.serve
    models = {name: str(package.find(name, base_folder).resolve()) for name in serve.models}
    return ServeSettings(serve.host, serve.port, _folder(serve.keys, base_folder), models, serve.busy, serve.queue)
