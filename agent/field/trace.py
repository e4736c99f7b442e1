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
from agent.field import format, lanes, perfetto
from agent.field.lanes import Rows
from agent.field.snapshot import View, read_snapshot
from agent.ledger import PARTS, LedgerSnapshot

BAR = 48


class SlowSample(NamedTuple):
    """t: captured, CLOCK_MONOTONIC ns; clock: the same as time of day, s, None when of another boot. parts: ms."""

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
    view = read_snapshot(path)
    ledgers = _choose(view, lane)
    recent = {name: recent_rows(snapshot, minutes, view.now) for name, snapshot in ledgers.items()}
    if out is not None:
        return _write_perfetto(out, view, recent, as_json)
    samples = [sample for name in ledgers for sample in slowest(ledgers[name], recent[name], worst, view.now)]
    samples = sorted(samples, key=_slowness)[:worst]
    if as_json:
        worst_first = [sample._asdict() for sample in samples]
        click.echo(json.dumps({"worst": worst_first, "troubles": view.troubles}, indent=2))
    else:
        click.echo("\n".join(_text(samples, view, minutes)))
    return 0 if samples else 1


def _write_perfetto(out: Path, view: View, rows: dict[str, Rows], as_json: bool) -> int:
    count = perfetto.write(out, perfetto.events(view.reply.get("node") or view.outline.node, rows))
    click.echo(json.dumps({"file": str(out), "events": count}) if as_json else perfetto.report(out, count))
    return 0 if count else 1


def _choose(view: View, lane: str | None) -> dict[str, LedgerSnapshot]:
    if lane is None:
        return view.ledgers
    if lane not in view.ledgers:
        names = ", ".join(view.ledgers) or "none"
        raise ConfigError([f"{view.run_dir}: no ledger of a lane '{lane}'; there is: {names}"])
    return {lane: view.ledgers[lane]}


def recent_rows(snapshot: LedgerSnapshot, minutes: float, now: int) -> Rows:
    """Rows of the last minutes; of a daemon that has ended, or of another boot, the last minutes before its end."""
    last = lanes.newest(snapshot)
    end = now if now - last < 60e9 * minutes and last <= now else last
    # A row that was overwritten while the file was read may be out of order, or half of it new.
    whole = snapshot.rows["decided"] >= snapshot.rows["read"]
    rows = snapshot.rows[(snapshot.rows["read"] > end - int(60e9 * minutes)) & whole]
    ordered: Rows = rows[np.argsort(rows["capture"], kind="stable")]
    return ordered


def _slowness(sample: SlowSample) -> float:
    return -sample.total_ms


def slowest(snapshot: LedgerSnapshot, rows: Rows, count: int, now: int) -> list[SlowSample]:
    """The `count` slowest of these rows of its ledger, slowest first."""
    parts = ledger.parts(rows)
    of_this_boot = lanes.newest(snapshot) <= now
    return [
        SlowSample(
            lane=snapshot.lane,
            sequence=int(rows["sequence"][row]),
            t=int(rows["capture"][row]),
            clock=lanes.wall_clock(int(rows["capture"][row]), now) if of_this_boot else None,
            total_ms=round(float(parts["total"][row]), 3),
            budget_ms=snapshot.budget_ms,
            applied=bool(rows["applied"][row]),
            parts={name: round(float(parts[name][row]), 3) for name in PARTS},
        )
        for row in np.argsort(-parts["total"], kind="stable")[:count]
    ]


def _text(samples: list[SlowSample], view: View, minutes: float) -> list[str]:
    lines = [f"note: {trouble}" for trouble in view.troubles]
    if not samples:
        return [*lines, f"no samples in the ledgers of {view.run_dir}: start the daemon first"]
    lines.append(f"the slowest of the last {minutes:g} minutes{'' if view.pid else ' before the daemon ended'}, ms")
    for sample in samples:
        lines += ["", *_sample_lines(sample, view.now)]
    return lines


def _sample_lines(sample: SlowSample, now: int) -> list[str]:
    """Each stage's bar begins where the one before ended."""
    over = "over the budget of" if sample.total_ms > sample.budget_ms else "of a budget of"
    end = "captured to applied" if sample.applied else "captured to decided"
    lines = [format.plain(f"lane {sample.lane}, sample {sample.sequence}{_when(sample, now)}")]
    begin = 0.0
    scale = BAR / sample.total_ms if sample.total_ms > 0 else 0.0
    for name, ms in sample.parts.items():
        first = min(BAR - 1, int(begin * scale))
        length = min(BAR - first, max(1 if ms >= 0.0005 else 0, int(ms * scale + 0.5)))
        lines.append(f"  {name:<11}{ms:>9.3f}  {' ' * first}{'#' * length}".rstrip())
        begin += ms
    return [*lines, f"  {'total':<11}{sample.total_ms:>9.3f}  {over} {sample.budget_ms:g}, {end}"]


def _when(sample: SlowSample, now: int) -> str:
    if sample.clock is None:
        return ", of another boot"
    clock = time.strftime("%H:%M:%S", time.localtime(sample.clock)) + f"{sample.clock % 1:.3f}"[1:]
    return f", {clock}, {format.ago((now - sample.t) / 1e9)} ago"
