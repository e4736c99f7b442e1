"""`reflexd site`: the boxes of the site as this one sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from agent.field import format
from agent.field.outline import read_outline
from agent.site import published
from agent.site.published import THERE

WITHOUT = "this box is alone: the configuration has no section 'site', or the daemon or its link does not run"
MISSING = 1


def show(path: Path, as_json: bool) -> int:
    """Exit code 1 where a box is missing, or something is wrong with one."""
    outline, mistakes = read_outline(path)
    site = published.read(outline.run_dir)
    if as_json:
        click.echo(json.dumps(site, indent=2))
    else:
        click.echo("\n".join(map(format.plain, [*mistakes, *(lines(site) if site else [WITHOUT])])))
    boxes = site.get("boxes", {}).values()
    troubled = any(box["state"] != THERE or box["troubles"] for box in boxes)
    return MISSING if not site or not site["linked"] or site["troubles"] or troubled else 0


def lines(site: dict[str, Any]) -> list[str]:
    """Of this box, then a line for each other one, and one for each trouble."""
    busy = f", {site['busy']:.0%} busy" if site.get("busy") is not None else ""
    rows = [f"site {site['site']}: this box is {site['node']}, {site['version']}{busy}"]
    rows += [f"  {trouble}" for trouble in site["troubles"]]
    for name, box in site["boxes"].items():
        rows += [_box(name, box), *(f"  {trouble}" for trouble in box["troubles"])]
    return rows


def _box(name: str, box: dict[str, Any]) -> str:
    if box["state"] != THERE:
        return f"{name}: {box['state']} for {format.ago(box['for_s'])}"
    parts = [f"{name}: there for {format.ago(box['for_s'])}"]
    if box["trip_ms"] is not None:
        parts.append(f"round trip {box['trip_ms']:.1f} ms")
    if box["busy"] is not None:
        parts.append(f"{box['busy']:.0%} busy")
    parts += [f"{model} p99 {p99:.1f} ms" for model, p99 in box["p99_ms"].items()]
    others = [f"{other} {trip:.1f} ms" for other, trip in box["links"].items()]
    if others:
        parts.append(f"its links: {', '.join(others)}")
    if box["version"]:
        parts.append(box["version"])
    return ", ".join(parts)
