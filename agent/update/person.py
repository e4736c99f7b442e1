"""`reflexd model history|rollback|hold`: what a person asks of the versions on a box."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from agent.config.load import load_config
from agent.config.models import Config
from agent.control import client as control
from agent.errors import ConfigError
from agent.update import progress
from agent.update.state import CONFIGURED, State
from agent.update.store import FOLDER, STATE, Store, StoreError

ASK_S = 5.0


def show_history(path: Path, names: tuple[str, ...], as_json: bool) -> None:
    """path: of the configuration. names: models; empty for all that have versions. Raises ConfigError."""
    config = load_config(path)
    stores = [_store(config, name) for name in names or _all(config)]
    if as_json:
        click.echo(json.dumps({store.name: _as_dict(store) for store in stores}, indent=2))
        return
    for store in stores:
        click.echo("\n".join(_lines(store)))
    if not stores:
        click.echo("no versions on this box: every model is the one that the configuration names")
    refused = progress.read(config.run_dir).message if config.update else ""
    if refused:
        click.echo(f"no update: {refused}")


def roll_back(path: Path, name: str, reason: str) -> int:
    """The exit code: 1 where the running daemon does not take the version before. Raises ConfigError."""
    config = load_config(path)
    try:
        current = _store(config, name).rollback(reason)
    except StoreError as error:
        raise ConfigError([str(error)]) from error
    shown = current or f"{CONFIGURED} (the package that the configuration names)"
    answer = control.ask(config.run_dir, {"do": "swap", "model": name, "version": current}, ASK_S)
    if answer is None:
        click.echo(f"model {name}: {shown} from the next start on; no daemon runs in {config.run_dir}")
        return 0
    if not answer.get("ok"):
        mistake = (answer.get("mistakes") or [answer.get("error", "no reason given")])[0]
        click.echo(f"model {name}: {shown} from the next start on; the running daemon refuses: {mistake}", err=True)
        return 1
    click.echo(f"model {name}: back to {shown}; 'reflexd status' shows when it runs")
    return 0


def hold(path: Path, name: str, version: str | None, release: bool) -> None:
    """Raises ConfigError."""
    store = _store(load_config(path), name)
    try:
        state = store.state()
        pinned = None if release else version or state.current or CONFIGURED
        store.hold(pinned)
    except StoreError as error:
        raise ConfigError([str(error)]) from error
    if pinned is None:
        click.echo(f"model {name}: newer versions are taken again")
        return
    click.echo(f"model {name}: held at {pinned}")
    if pinned != (state.current or CONFIGURED):
        how = "'reflexd model rollback' goes there" if pinned == CONFIGURED else "the next check goes there"
        click.echo(f"  in use until then: {state.current or CONFIGURED}; {how}")


def _store(config: Config, name: str) -> Store:
    """Raises ConfigError for a name that no lane uses and of which there is nothing."""
    used = {model for lane in config.lanes.values() for model in lane.models}
    try:
        store = Store(config.state_dir, name)
    except StoreError as error:
        raise ConfigError([str(error)]) from error
    if name not in used and not os.path.isdir(store.path):
        raise ConfigError([f"no lane uses a model '{name}'; there is {', '.join(sorted(used)) or 'none'}"])
    return store


def _all(config: Config) -> list[str]:
    try:
        names = sorted(os.listdir(config.state_dir / FOLDER))
    except FileNotFoundError:
        return []
    return [name for name in names if os.path.lexists(config.state_dir / FOLDER / name / STATE)]


def _as_dict(store: Store) -> dict[str, Any]:
    return {**store.state().model_dump(mode="json"), "versions": store.versions()}


def _lines(store: Store) -> list[str]:
    state = store.state()
    lines = [f"{store.name}: {', '.join(_summary(state))}; on this box: {', '.join(store.versions()) or 'none'}"]
    lines += [f"  rejected {version}: {reason}" for version, reason in state.rejected.items()]
    for event in state.history:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        lines.append(f"  {when}  {event.version}  {event.event}" + (f": {event.reason}" if event.reason else ""))
    return lines


def _summary(state: State) -> list[str]:
    parts = [f"{state.current or CONFIGURED} in use"]
    if state.current:
        parts.append(f"before it {state.previous or CONFIGURED}")
    if state.trial:
        parts.append(f"{state.trial.version} on trial ({state.trial.stage})")
    if state.hold:
        parts.append(f"held at {state.hold}")
    return parts
