"""`reflexd check`, of one box or of all in one file, and `reflexd model roll`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent import redact
from agent.errors import ConfigError, PackageError
from agent.options import config_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.config.models import Config
    from agent.rollout.across import Box

OVER = "ssh -o BatchMode=yes -- {box}"


@click.command("check")
@config_option
@click.option("--site", is_flag=True, help="FILE has the configurations of several boxes, under 'boxes'.")
@click.option("--write", "folder", type=click.Path(path_type=Path), help="With --site: write each box's into FOLDER.")
@json_option
def check(path: Path, site: bool, folder: Path | None, as_json: bool) -> int:
    """Validate a configuration and load its models, without starting anything. Exit code 2 if something is wrong."""
    if folder and not site:
        raise click.UsageError("--write goes with --site")
    try:
        return _check_site(path, folder, as_json) if site else _check_box(path, as_json)
    except (ConfigError, PackageError) as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "mistakes": redact.lines(error)}))
        else:
            click.echo(redact.message(str(error)), err=True)
        return 2


def _check_box(path: Path, as_json: bool) -> int:
    """Raises ConfigError, PackageError."""
    from agent.box import realtime
    from agent.config.load import check_config
    from agent.modeltools.configured import try_models

    of_daemon = realtime.PARENT in os.environ  # which reloads, and needs the secrets
    if of_daemon:
        realtime.die_with_parent()
    config, warnings = check_config(path)
    try_models([config], path.resolve().parent)
    if as_json:
        content = config.model_dump(mode="json")
        shown = content if of_daemon else redact.tree(content)
        click.echo(json.dumps({"ok": True, "warnings": warnings, "config": shown}))
    else:
        click.echo("\n".join([*warnings, f"{path}: good: {_counts(config)}"]))
    return 0


def _check_site(path: Path, folder: Path | None, as_json: bool) -> int:
    """folder: where each box's configuration is written. Raises ConfigError, PackageError, OSError."""
    from agent.modeltools.configured import try_models
    from agent.rollout import site

    boxes, warnings = site.load_site(path)
    try_models([box.config for box in boxes], path.resolve().parent)
    written = site.write(boxes, folder) if folder else []
    if as_json:
        shown = {box.name: redact.tree(box.config.model_dump(mode="json")) for box in boxes}
        click.echo(json.dumps({"ok": True, "warnings": warnings, "boxes": shown}))
    else:
        click.echo("\n".join([*warnings, *_lines(path, boxes), *(f"wrote {file}" for file in written)]))
    return 0


def _lines(path: Path, boxes: Sequence[Box]) -> list[str]:
    number = "1 box" if len(boxes) == 1 else f"{len(boxes)} boxes"
    return [f"{path}: good: {number}", *(f"  {box.name}: {_counts(box.config)}" for box in boxes)]


def _counts(config: Config) -> str:
    from agent.ledger_text import counted

    parts = ((config.lanes, "lane"), (config.actuators, "actuator"), (config.rules, "rule"))
    return ", ".join(counted(len(part), noun) for part, noun in parts)


@click.command("roll")
@click.argument("name", metavar="MODEL")
@click.argument("version")
@click.option("--site", type=click.Path(path_type=Path), required=True, help="The file with the boxes, in this order.")
@click.option("--over", default=OVER, show_default=True, help="Command that runs its further arguments on a box.")
@click.option("--limit-s", default=7200.0, show_default=True, help="For each box, until the version is in use there.")
def roll_command(name: str, version: str, site: Path, over: str, limit_s: float) -> int:
    """Bring VERSION of MODEL to the boxes of a site, one after the other; stop at the first that refuses it.

    The boxes that wait are held at their version meanwhile. Exit code 1: stopped.
    """
    import re

    from agent.rollout.roll import Roll, roll
    from agent.rollout.site import load_site
    from agent.update.state import VERSION_PATTERN
    from agent.yamlfile import NAME

    if not re.fullmatch(NAME, name) or not re.fullmatch(VERSION_PATTERN, version):
        raise click.UsageError("MODEL and VERSION are names: letters, digits, '_', '.', '-'")
    boxes, _ = load_site(site)
    return roll(Roll(name, version, over, limit_s), [box.name for box in boxes], click.echo)
