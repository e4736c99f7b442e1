"""What of a lane's models may leave this box: its `release` and `offload`, put on the packages that it uses."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent import ledger
from agent.backends.base import EngineError
from agent.config.models import Config
from agent.config.offload_checks import eligible
from agent.errors import PackageError
from agent.ledger import Ledger
from agent.offload import settings
from agent.offload.choose import Limits
from agent.offload.engine import Lane, OffloadEngine
from agent.offload.links import HttpLink, Link
from agent.offload.peers import View
from agent.offload.settings import server_of
from agent.open_inference.release import Release
from agent.packages.package import Package
from agent.perception import Perception

log = logging.getLogger("reflexd.offload")
NEWEST, RECENT_NS = 200, 2_000_000_000  # rows of the ledger, and how old they may be
FEWEST = 5


class Latency:
    """p99 of a lane in the last seconds, from capture to applied, ms; 0 where little is known."""

    def __init__(self, of: Ledger) -> None:
        self._ledger = of

    def __call__(self) -> float:
        rows = ledger.snapshot(self._ledger.memory, NEWEST).rows
        recent = rows[rows["decided"] > time.monotonic_ns() - RECENT_NS]
        return float(np.percentile(ledger.parts(recent)["total"], 99)) if len(recent) >= FEWEST else 0.0


def attach(perception: Perception, name: str, config: Config, base_folder: Path, lane_ledger: Ledger) -> None:
    """Before the lane runs; packages that replace these follow. Raises PackageError."""
    section = config.lanes[name]
    release = Release(section.release)
    links = _links(config, base_folder, section.release) if section.offload else {}
    chosen = section.offload.models or eligible(section) if section.offload else []
    for model, opened in zip(section.models, perception.packages):
        lane = None
        if section.offload and model in chosen:
            limits = Limits(section.offload.start, section.offload.stop)
            lane = Lane(name, model, limits, Latency(lane_ledger), len(os.sched_getaffinity(0)))
        refines = perception.refine is not None and opened is perception.refine.package
        opened.on_lane = partial(_attach, release, lane, View(config.run_dir), links, refines)
        opened.on_lane(opened)
    perception.engines_changed()


def status(perception: Perception) -> dict[str, dict[str, Any]]:
    """Of each model that peers may compute."""
    engines = {opened.name: opened.network for opened in perception.packages}
    return {name: engine.status() for name, engine in engines.items() if isinstance(engine, OffloadEngine)}


def _attach(
    release: Release, lane: Lane | None, view: View, links: Mapping[str, Link], refines: bool, opened: Package
) -> None:
    """Raises PackageError."""
    if lane:
        try:
            around = OffloadEngine(opened.network, opened.manifest.checksum, lane, view, links, may_skip=refines)
        except EngineError as error:
            raise PackageError(f"{opened.folder}: {error}") from error
        opened.put_around(around)
    opened.network.permit(release)


def _links(config: Config, base_folder: Path, names: list[str]) -> dict[str, Link]:
    """To those peers that are released. A peer whose certificate or token is missing is left out, and said."""
    links: dict[str, Link] = {}
    for peer in settings.peers_of(config, base_folder):
        if peer.name not in names:
            continue
        try:
            links[peer.name] = HttpLink(server_of(peer))
        except (OSError, ValueError) as error:
            log.error("nothing is handed to peer '%s': %s", peer.name, error)
    return links
