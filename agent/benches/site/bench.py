"""`reflexd bench site`: several boxes that share work. Each part is a module here with `measure(short) -> dict`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import click

from agent.box.machine import machine
from agent.errors import DataError

# Names of modules beside this one, in the order in which they run. `measure` gives the keys of the result that are its
# own, and raises DataError where this machine cannot do it; a part may have `text(result) -> str`, its own lines.
PARTS = ("compression", "forecast", "pool", "shed")


def measure(parts: Sequence[str], short: bool) -> dict[str, Any]:
    """Of these parts, or of all; `not_run` has the reasons of those that cannot run here. Raises click.UsageError."""
    if wrong := sorted(set(parts) - set(PARTS)):
        raise click.UsageError(f"no part '{wrong[0]}': there are {', '.join(PARTS)}")
    result: dict[str, Any] = {"machine": machine(), "short": short, "not_run": {}}
    for name in parts or PARTS:
        click.echo(f"{name} ...", err=True)
        try:
            result |= _part(name).measure(short)
        except DataError as error:
            result["not_run"][name] = str(error)
    return result


def _part(name: str) -> ModuleType:
    return import_module(f"agent.benches.site.{name}")


def text(result: dict[str, Any]) -> str:
    """The lines of each part that ran, and why others did not."""
    blocks = [result["machine"]]
    for name in PARTS:
        if name in result["not_run"]:
            blocks.append(f"{name}: not run: {result['not_run'][name]}")
        elif lines := _lines(_part(name), result):
            blocks.append(lines)
    return "\n\n".join(blocks)


def _lines(part: ModuleType, result: dict[str, Any]) -> str:
    """Empty where it did not run; of a part without a text its figures as they are."""
    figures = {key: result[key] for key in part.KEYS if key in result}
    if not figures:
        return ""
    return str(part.text(result)) if hasattr(part, "text") else json.dumps(figures, indent=1)
