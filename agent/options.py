"""Options of more than one command."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

CONFIG_FOLDER = Path("/etc/reflexd")
DEFAULT = CONFIG_FOLDER / "reflexd.yaml"
SUFFIXES = (".yaml", ".yml", ".json")

Command = Callable[..., Any]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, readable=False),
    help=f"Configuration file (or give it as FILE).  [default: {DEFAULT}]",
)


def config_option(command: Command) -> Command:
    """The configuration as `-c FILE` or FILE, for a command without other arguments."""

    @_option
    @click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
    @wraps(command)
    def with_path(*, path: Path | None, file: Path | None, **others: Any) -> Any:
        return command(path=_either(path, file) or DEFAULT, **others)

    return with_path


def config_beside(argument: str, default: Path | None = DEFAULT) -> Callable[[Command], Command]:
    """The configuration as `-c FILE`, or as that `argument`, or its first of several, where it ends in .yaml."""

    def decorate(command: Command) -> Command:
        @_option
        @wraps(command)
        def with_path(*, path: Path | None, **others: Any) -> Any:
            given = others[argument]
            first = (given[0] if given else None) if isinstance(given, tuple) else given
            if first and first.endswith(SUFFIXES):
                path = _either(path, Path(first))
                others[argument] = given[1:] if isinstance(given, tuple) else None
            return command(path=path or default, **others)

        return with_path

    return decorate


def _either(path: Path | None, file: Path | None) -> Path | None:
    if path and file and path != file:
        raise click.UsageError(f"two configurations: -c {path} and {file}")
    return path or file
