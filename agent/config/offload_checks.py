"""Checks of what leaves for other boxes, and of what this one computes for others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent import web_keys
from agent.backends import remote
from agent.backends.base import EngineError, load_parameters
from agent.config.models import Config, LaneConfig
from agent.endpoints import is_local
from agent.errors import PackageError, about_file
from agent.open_inference import server as servers
from agent.packages import package
from agent.packages.checksums import file_inside
from agent.yamlfile import Document, Place, unknown

LEAST_BUDGET_MS = 5.0  # a critical lane below never waits for another box


def offload_mistakes(config: Config, document: Document) -> Iterator[str]:
    for name, lane in config.lanes.items():
        yield from _bad_remote(document, name, lane)
        if lane.offload:
            yield from _bad_offload(config, document, name, lane)
    if config.offload:
        yield from _bad_serve(config, document)
        yield from _bad_peers(config, document)


def eligible(lane: LaneConfig) -> list[str]:
    """Models of the lane that a peer may compute; a second model reads keypoints, and takes microseconds here."""
    return [*([lane.refine.model] if lane.refine else []), *([] if lane.critical else [lane.model])]


def _bad_remote(document: Document, name: str, lane: LaneConfig) -> Iterator[str]:
    """A model on a server gets the lane's pictures: the lane says that it may."""
    place = ("lanes", name)
    for model in lane.models:
        try:
            folder = package.find(model, document.path.resolve().parent)
            manifest = package.read(folder)
            if manifest.backend != "remote":
                continue
            parameters = load_parameters(file_inside(folder, manifest.file), remote.Parameters)
            server = servers.parse(parameters.server, parameters.url)
        except PackageError:
            continue  # reported at the model
        except (EngineError, ValueError) as error:
            yield f"{document.at((*place, 'model'))}: model '{model}': {error}"
            continue
        if server.name not in lane.release:
            yield (
                f"{document.at((*place, 'release'))}: model '{model}' runs on server '{server.name}', which then gets"
                f" what this lane's source delivers: if it may, add 'release: [{server.name}]' to the lane"
            )
        if lane.share:
            yield f"{document.at((*place, 'share'))}: model '{model}' runs on a server: remove 'share'"
        if not (server.encrypted or server.recipient.here):
            yield f"{document.at((*place, 'model'))}: {server} is not encrypted, so nothing is released to it: https://"


def _bad_offload(config: Config, document: Document, name: str, lane: LaneConfig) -> Iterator[str]:
    assert lane.offload
    place = ("lanes", name, "offload")
    budget_ms = _budget_ms(document, lane)
    if lane.critical and budget_ms < LEAST_BUDGET_MS:
        yield f"{document.at(place)}: a critical lane with {budget_ms:g} ms waits for no other box: remove this line"
        return
    allowed = eligible(lane)
    if not allowed:
        yield (
            f"{document.at(place)}: of a critical lane only the model of 'refine' may leave, and it has none: remove"
            " 'offload', or say 'critical: false'"
        )
    for index, model in enumerate(lane.offload.models):
        yield from unknown(
            document, (*place, "models", index), model, "model", dict.fromkeys(allowed), " that may leave"
        )
    peers = config.offload.peers if config.offload else {}
    if not any(peer in peers for peer in lane.release):
        yield (
            f"{document.at(place)}: no peer gets this lane's inputs: add 'release: [PEER]' to the lane, and PEER to"
            " 'offload: {peers: ...}'"
        )


def _budget_ms(document: Document, lane: LaneConfig) -> float:
    """Infinite where the model has a mistake, which is reported there."""
    try:
        manifest = package.read(package.find(lane.model, document.path.resolve().parent))
    except PackageError:
        return float("inf")
    return lane.budget_ms or manifest.budget_ms


def _bad_serve(config: Config, document: Document) -> Iterator[str]:
    serve = config.offload.serve if config.offload else None
    if serve is None:
        return
    place: Place = ("offload", "serve")
    base_folder = document.path.resolve().parent
    if serve.keys is None and not is_local(f"tcp://{serve.host}:0"):
        yield (
            f"{document.at((*place, 'host'))}: '{serve.host}' can be reached from the network, and inferences for"
            " others have no keys: set offload.serve.keys: FOLDER, made by 'reflexd keys --web FOLDER'"
        )
    elif serve.keys:
        yield from _bad_keys(document, (*place, "keys"), base_folder / serve.keys)
    for index, model in enumerate(serve.models):
        try:
            manifest = package.read(package.find(model, base_folder))
        except PackageError as error:
            yield f"{document.at((*place, 'models', index))}: {error}"
            continue
        if manifest.backend == "remote":
            yield f"{document.at((*place, 'models', index))}: model '{model}' runs on a server: ask that one"


def _bad_keys(document: Document, place: Place, folder: Path) -> Iterator[str]:
    try:
        web_keys.tls(folder)
        web_keys.read_token(folder)
    except PermissionError:
        return  # only the service's user may read it: `doctor` says so
    except (OSError, ValueError) as error:
        reason = f"{folder}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        yield about_file(folder, f"{document.at(place)}: {reason}: 'reflexd keys --web {folder}' makes what it needs")


def _bad_peers(config: Config, document: Document) -> Iterator[str]:
    assert config.offload
    base_folder = document.path.resolve().parent
    for name, peer in config.offload.peers.items():
        place: Place = ("offload", "peers", name)
        folder = base_folder / peer.keys if peer.keys else None
        try:
            server = servers.of_peer(name, peer.url, None)
            if not (server.encrypted or server.recipient.here):
                raise ValueError("the link is not encrypted, so nothing is released to it: use https://")
            if server.encrypted and folder is None:
                raise ValueError("add keys: FOLDER, with copies of its web.crt and web.token")
        except ValueError as error:
            yield f"{document.at((*place, 'url'))}: {error}"
            continue
        if folder:
            yield from _bad_peer_keys(document, (*place, "keys"), name, peer.url, folder)


def _bad_peer_keys(document: Document, place: Place, name: str, url: str, folder: Path) -> Iterator[str]:
    try:
        servers.tls(servers.of_peer(name, url, folder))
    except PermissionError:
        return  # only the service's user may read it: `doctor` says so
    except (OSError, ValueError) as error:
        reason = f"{folder}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        yield about_file(folder, f"{document.at(place)}: {reason}: copy web.crt and web.token of that box there")
