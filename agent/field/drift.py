"""`reflexd drift`: what the monitor has learnt and found of each lane; and to learn a lane again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from agent.box import private
from agent.drift import published
from agent.drift.detector import DRIFTING
from agent.drift.store import Store
from agent.errors import ConfigError
from agent.field.outline import read_outline
from agent.ledger_text import counted

WITHOUT = "drift is not watched here: the configuration has no 'drift: {}', or the daemon does not run"


def show(path: Path, as_json: bool) -> int:
    """Exit code 1 where something drifts or a model's golden outputs are bad."""
    outline, mistakes = read_outline(path)
    lanes = published.read(outline.run_dir)
    if as_json:
        click.echo(json.dumps(lanes, indent=2))
    else:
        click.echo(
            "\n".join([*mistakes, *(line for name, lane in lanes.items() for line in lines(name, lane))] or [WITHOUT])
        )
    return int(any(lane["state"] == DRIFTING or lane["golden"]["state"] == "bad" for lane in lanes.values()))


def lines(name: str, lane: dict[str, Any]) -> list[str]:
    """One line, and one for each statistic that drifts or could soon."""
    learnt = f" {lane['learnt']:.0%}" if lane["state"] == "learning" else ""
    kept = lane["collected"]
    collected = f"; {kept['files']} cases kept, {kept['size'] / 1e6:.1f} MB" if kept else ""
    first = f"{name}: {lane['state']}{learnt}; golden outputs {lane['golden']['state']}{collected}"
    rows = [f"  {text}" for text in lane["drifts"]]
    rows += [
        f"  {statistic} at {each['level']:.0%} of its threshold"
        for statistic, each in lane["statistics"].items()
        if each["state"] != DRIFTING and each["level"] >= 0.5
    ]
    troubles = [f"  {name} {lane['trouble']}"] if lane["trouble"] else []
    causes = [f"  {text}" for text in [*lane["causes"], lane["accept"], *lane["golden"]["causes"]] if text]
    return [first, *rows, *troubles, *causes]


def relearn(path: Path, lane: str) -> int:
    """Ask the monitor for it. Raises ConfigError."""
    from agent.config.load import load_config

    config = load_config(path)
    if lane not in config.lanes:
        raise ConfigError([f"{path}: no lane '{lane}': there are {', '.join(config.lanes)}"])
    try:
        Store(config.state_dir).request_relearning(lane)
    except OSError as error:
        raise ConfigError([f"{error.filename}: {error.strerror}: try sudo"]) from error
    click.echo(f"{lane}: what is normal is learnt again, from now on, or from the daemon's next start")
    return 0


def unseal(folder: Path, key: Path) -> int:
    """Beside each sealed case its content, for its owner only. On the machine of the key's holder; no daemon is needed.

    Raises ConfigError.
    """
    from agent import keys
    from agent.drift.collect import SEALED
    from agent.recorder import seal

    try:
        secret = keys.read_secret(key)[1]
        sealed = sorted(folder.rglob(f"*{SEALED}"))
        for path in sealed:
            private.write(path.with_suffix(""), seal.decrypt(path.read_bytes(), secret))
    except OSError as error:
        raise ConfigError([f"{error.filename or key}: {error.strerror or error}"]) from error
    except seal.SealError as error:
        raise ConfigError([f"{path}: {error}"]) from error
    click.echo(f"{folder}: {counted(len(sealed), 'case')} decrypted")
    return 0 if sealed else 1
