"""Options of more than one command."""

from __future__ import annotations

from pathlib import Path

import click

CONFIG_FOLDER = Path("/etc/reflexd")

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, readable=False),
    default=CONFIG_FOLDER / "reflexd.yaml",
    show_default=True,
    help="Configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
