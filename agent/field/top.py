"""`reflexd top`: `status` once a second, with the p99 of each of the newest seconds; `--once` prints it and exits."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from agent.field import format, status
from agent.field.board import BoardMonitor
from agent.field.top_lines import lines

INSTALL = "scripts/setup top, or pip install 'reflexd[top]'"
MISSING = f"reflexd top needs textual: {INSTALL} (without it: reflexd top --once)"
PLAIN_SPARKS = " .:-=+*#"  # a serial console has no block elements


def show(path: Path, once: bool) -> int:
    if once or not sys.stdout.isatty():
        current = status.read_status(path, BoardMonitor())
        click.echo("\n".join(printable(line.text for line in lines(current))))
        return status.exit_code(current)
    try:
        from agent.field import top_view
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise click.ClickException(MISSING) from error
    return top_view.run(path)


def printable(texts: Iterable[str]) -> list[str]:
    """Blocks as plain characters where the terminal's encoding has none."""
    encoding = (sys.stdout.encoding or "ascii").lower()
    table = {} if "utf" in encoding else str.maketrans(format.SPARKS, PLAIN_SPARKS)
    return [text.translate(table) for text in texts]
