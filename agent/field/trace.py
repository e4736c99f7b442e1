"""`reflexd trace`: the slowest samples in the ledgers, stage by stage; also of a daemon that is dead."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from agent import ledger
from agent.errors import ConfigError
from agent.field import format, lanes, perfetto, snapshot
from agent.field.lanes import Rows
from agent.field.snapshot import View
from agent.ledger import PARTS, LedgerSnapshot

BAR = 48


class Slow(NamedTuple):
    """One sample. t: captured, CLOCK_MONOTONIC ns; clock: the same as time of day, s, None when of another boot."""

    lane: str
    sequence: int
    t: int
    clock: float | None
    total_ms: float
    budget_ms: float
    applied: bool
    parts: dict[str, float]


def show(path: Path, lane: str | None, worst: int, minutes: float, out: Path | None, as_json: bool) -> int:
    """0, or 1 where no ledger has a sample. Raises ConfigError: no such lane."""
    view = snapshot.look(path)
    chosen = _choose(view, lane)
    newest = {name: _recent(told, minutes, view.now) for name, told in chosen.items()}
    if out is not None:
        count = perfetto.write(out, perfetto.events(view.said.get("node") or view.config.node, newest))
        click.echo(json.dumps({"file": str(out), "events": count}) if as_json else perfetto.said(out, count))
        return 0 if count else 1
    found = sorted(
        (one for name in chosen for one in _slowest(chosen[name], newest[name], worst, view.now)), key=_slowness
    )
    if as_json:
        click.echo(json.dumps({"worst": [one._asdict() for one in found[:worst]], "troubles": view.troubles}, indent=2))
    else:
        click.echo("\n".join(text(found[:worst], view, minutes)))
    return 0 if found else 1


def _choose(view: View, lane: str | None) -> dict[str, LedgerSnapshot]:
    if lane is None:
        return view.snapshots
    if lane not in view.snapshots:
        there = ", ".join(view.snapshots) or "none"
        raise ConfigError([f"{view.run_dir}: no ledger of a lane '{lane}'; there is: {there}"])
    return {lane: view.snapshots[lane]}


def _recent(told: LedgerSnapshot, minutes: float, now: int) -> Rows:
    """Rows of the last minutes; of a daemon that is dead, or of another boot, the last minutes that it lived."""
    last = lanes.newest(told)
    end = now if now - last < 60e9 * minutes and last <= now else last
    # A row that was overwritten while the file was read may be out of order, or half new.
    whole = told.rows["decided"] >= told.rows["read"]
    rows = told.rows[(told.rows["read"] > end - int(60e9 * minutes)) & whole]
    ordered: Rows = rows[np.argsort(rows["capture"], kind="stable")]
    return ordered


def _slowness(one: Slow) -> float:
    return -one.total_ms


def _slowest(told: LedgerSnapshot, rows: Rows, count: int, now: int) -> list[Slow]:
    parts = ledger.parts(rows)
    found = []
    for at in np.argsort(-parts["total"], kind="stable")[:count]:
        row = rows[at]
        t = int(row["capture"])
        clock = lanes.wall_clock(t, now) if lanes.newest(told) <= now else None
        split = {name: round(float(parts[name][at]), 3) for name in PARTS}
        total = round(float(parts["total"][at]), 3)
        found.append(
            Slow(
                lane=told.lane,
                sequence=int(row["sequence"]),
                t=t,
                clock=clock,
                total_ms=total,
                budget_ms=told.budget_ms,
                applied=bool(row["applied"]),
                parts=split,
            )
        )
    return found


def text(found: list[Slow], view: View, minutes: float) -> list[str]:
    lines = [f"note: {trouble}" for trouble in view.troubles]
    if not found:
        return [*lines, f"no samples in the ledgers of {view.run_dir}: has the daemon run since boot?"]
    lines.append(f"the slowest of the last {minutes:g} minutes{'' if view.pid else ' that the daemon lived'}, ms")
    for one in found:
        lines += ["", *_sample_lines(one, view.now)]
    return lines


def _sample_lines(one: Slow, now: int) -> list[str]:
    """Each stage's bar begins where the one before ended."""
    over = "over" if one.total_ms > one.budget_ms else "of"
    end = "captured to applied" if one.applied else "captured to decided"
    lines = [format.plain(f"lane {one.lane}, sample {one.sequence}{_when(one, now)}")]
    begin = 0.0
    scale = BAR / one.total_ms if one.total_ms > 0 else 0.0
    for name, ms in one.parts.items():
        first = min(BAR - 1, int(begin * scale))
        length = min(BAR - first, max(1 if ms >= 0.0005 else 0, int(ms * scale + 0.5)))
        lines.append(f"  {name:<11}{ms:>9.3f}  {' ' * first}{'#' * length}".rstrip())
        begin += ms
    return [*lines, f"  {'total':<11}{one.total_ms:>9.3f}  {over} {one.budget_ms:g}, {end}"]


def _when(one: Slow, now: int) -> str:
    if one.clock is None:
        return ", of another boot"
    clock = time.strftime("%H:%M:%S", time.localtime(one.clock)) + f"{one.clock % 1:.3f}"[1:]
    return f", {clock}, {format.ago((now - one.t) / 1e9)} ago"
