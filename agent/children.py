"""The daemon's child processes, and what each is given."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.box.child import ChildProcesses
from agent.config.models import Config
from agent.drift import published
from agent.drift import settings as drift_settings
from agent.errors import PackageError
from agent.offload import settings as offload_settings
from agent.packages.loaded import LoadedModel
from agent.recorder import progress, settings
from agent.site import library as site_library
from agent.site import settings as site_settings
from agent.update import library as update_library
from agent.web.foxglove import library

log = logging.getLogger("reflexd")
METRICS, RECORDER, WEB = "agent.metrics", "agent.recorder.recorder", "agent.web.server"
DRIFT, SITE = "agent.drift.monitor", "agent.site.link"
SERVE, WATCH = "agent.offload.server", "agent.offload.watch"
FOXGLOVE, UPDATE = "agent.web.foxglove", "agent.update.updater"


class Running(NamedTuple):
    """What the recorder and the drift monitor must know of the daemon.

    path: of the configuration. models: of each lane, as they are loaded. together: lanes whose rules run in one
    process; empty: all of them. session: of the daemon.
    """

    path: Path
    models: Mapping[str, Sequence[LoadedModel]]
    together: Sequence[Sequence[str]]
    session: int


def start_all(children: ChildProcesses, config: Config, running: Running) -> None:
    start_metrics(children, config)
    start_web(children, config, running.path)
    start_foxglove(children, config, running.path)
    start_update(children, config, running.path)
    start_offload(children, config, running.path)
    start_recorder(children, config, running)
    start_drift(children, config, running)
    start_site(children, config, running)


async def change_all(children: ChildProcesses, old: Config, new: Config, running: Running) -> None:
    """After a reload."""
    await restart_changed(children, old, new, running.path)
    await change_drift(children, old, new, running)
    await change_site(children, old, new, running)
    give_settings(new, running)
    children.reload()


def start_metrics(children: ChildProcesses, config: Config) -> None:
    metrics = config.metrics
    if metrics.port:
        arguments = [str(config.run_dir), "--host", metrics.host, "--port", str(metrics.port)]
        children.start(METRICS, *arguments, advice="see its message above")


def start_web(children: ChildProcesses, config: Config, path: Path) -> None:
    """path: of the configuration."""
    if config.web.port:
        children.start(WEB, str(path.resolve()), advice="see its message above")


def start_foxglove(children: ChildProcesses, config: Config, path: Path) -> None:
    """path: of the configuration. Without its library one message, and the daemon goes on."""
    if config.web.foxglove and not library.installed():
        log.error("%s", library.MISSING)
    elif config.web.foxglove:
        children.start(FOXGLOVE, str(path.resolve()), advice="see its message above")


def start_update(children: ChildProcesses, config: Config, path: Path) -> None:
    """path: of the configuration. Without its libraries one message, and the daemon goes on."""
    if config.update and not update_library.installed():
        log.error("%s", update_library.MISSING)
    elif config.update:
        section = config.update
        arguments = ["--every-s", str(section.every_s), "--jitter", str(section.jitter), "--window", section.window]
        children.start(UPDATE, str(path.resolve()), *arguments, advice="see its message above")


async def restart_changed(children: ChildProcesses, old: Config, new: Config, path: Path) -> None:
    """After a reload: those whose section has changed, but for the recorder, which goes on. path: as above."""
    if old.metrics != new.metrics:
        await children.stop(METRICS)
        start_metrics(children, new)
    if old.web != new.web:
        await children.stop(WEB)
        start_web(children, new, path)
        await children.stop(FOXGLOVE)
        start_foxglove(children, new, path)
    if old.offload != new.offload:
        await children.stop(SERVE)
        await children.stop(WATCH)
        start_offload(children, new, path)
    if (old.update, old.updatable) != (new.update, new.updatable):
        await children.stop(UPDATE)
        start_update(children, new, path)


def start_offload(children: ChildProcesses, config: Config, path: Path) -> None:
    """What computes for other boxes, and what knows which of them are free. path: of the configuration."""
    offload, base_folder = config.offload, path.resolve().parent
    if offload is None:
        return
    try:
        if offload.serve:
            given = offload_settings.serve_of(config, base_folder)
            offload_settings.write(config.run_dir, offload_settings.SERVE, given)
            children.start(SERVE, str(config.run_dir), advice="see its message above")
        if offload.peers:
            offload_settings.write(
                config.run_dir, offload_settings.WATCH, offload_settings.peers_of(config, base_folder)
            )
            children.start(WATCH, str(config.run_dir), advice="see its message above")
    except (OSError, PackageError) as error:
        log.warning("no work is shared with other boxes: %s", error)


def start_recorder(children: ChildProcesses, config: Config, running: Running) -> None:
    if config.recorder.enabled:
        give_settings(config, running)
        arguments, written = [str(running.path), str(config.run_dir)], config.run_dir / progress.NAME
        children.start(RECORDER, *arguments, advice="the disk may be full", finishes=True, progress=written)


def give_settings(config: Config, running: Running) -> None:
    """To the recorder; what cannot be written stops the recording, not the lanes."""
    if not config.recorder.enabled:
        return
    try:
        settings.write(settings.of_config(config, running.path, running.models, running.session, running.together))
    except OSError as error:
        log.warning("nothing is recorded under this configuration: %s: %s", error.filename, error.strerror)


def models_changed(children: ChildProcesses, config: Config, running: Running) -> None:
    """A new recording says which version decides; what is normal is learnt again."""
    give_settings(config, running)
    if config.drift:
        give_drift_settings(config, running)
    if config.site:
        _give_site_settings(config, running)
    children.reload()


def start_drift(children: ChildProcesses, config: Config, running: Running) -> None:
    if config.drift:
        give_drift_settings(config, running)
        written = config.run_dir / published.NAME
        children.start(DRIFT, str(config.run_dir), advice="see its message above", progress=written)


async def change_drift(children: ChildProcesses, old: Config, new: Config, running: Running) -> None:
    """After a reload. One that goes on gets its settings here, and a signal with the other child processes."""
    if old.drift and new.drift:
        give_drift_settings(new, running)
    elif old.drift:
        await children.stop(DRIFT)
    else:
        start_drift(children, new, running)


def give_drift_settings(config: Config, running: Running) -> None:
    """What cannot be written stops the watch for drift, not the lanes."""
    try:
        drift_settings.write(drift_settings.of_config(config, running.models))
    except OSError as error:
        log.warning("drift is not watched under this configuration: %s: %s", error.filename, error.strerror)


def start_site(children: ChildProcesses, config: Config, running: Running) -> None:
    """Without its library one message, and the box is alone."""
    if config.site and not site_library.installed():
        log.error("%s", site_library.MISSING)
    elif config.site and _give_site_settings(config, running):
        children.start(SITE, str(config.run_dir), advice="see its message above")


async def change_site(children: ChildProcesses, old: Config, new: Config, running: Running) -> None:
    """After a reload. One that goes on gets its settings here, and a signal with the other child processes."""
    if old.site and new.site:
        _give_site_settings(new, running)
    elif old.site:
        await children.stop(SITE)
    else:
        start_site(children, new, running)


def _give_site_settings(config: Config, running: Running) -> bool:
    """False where they cannot be written: the box is alone, its lanes run."""
    try:
        site_settings.write(site_settings.of_config(config, running.models))
    except OSError as error:
        log.warning("no other box sees this one: %s: %s", error.filename, error.strerror)
        return False
    return True
