"""A ledger as text: the table of a lane that `reflexd demo` and `diag` print, and the daemon's line of statistics."""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

from agent import ledger
from agent.ledger import COUNTERS, DROPS, PARTS, THINNED, TOTALS, LedgerSnapshot

OPTIONAL = COUNTERS[THINNED]  # shown where there are any
# Only rows with an acknowledgement count for these parts.
OF_COMMANDS = {"decision": "decoded to applied", "total": "captured to applied"}
STATS_ROWS = 2000


def counted(number: int, noun: str) -> str:
    """1 lane, 2 lanes."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def table(snapshot: LedgerSnapshot) -> str:
    """One lane: counts, drops by reason, the five parts of the latency, the parts of the slowest sample."""
    counts = snapshot.counts
    totals = ", ".join(_total(counts[name], name) for name in TOTALS if counts[name] or name != OPTIONAL)
    drops = ", ".join(f"{counts[name]} {name}" for name in DROPS if counts[name]) or "none"
    lines = [f"lane {snapshot.lane}: {totals}", f"  dropped: {drops}"]
    if not len(snapshot.rows):
        return "\n".join(lines)
    latencies, applied = ledger.parts(snapshot.rows), snapshot.rows["applied"] > 0
    lines.append(f"  {'ms':<16}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}   of")
    for name, values in latencies.items():
        values = values[applied] if name in OF_COMMANDS else values
        figures = "".join(f"{value:9.3f}" for value in ledger.quantiles(values).values())
        if figures:
            lines.append(f"  {name:<16}{figures}   {_population(name, len(values))}")
    return "\n".join([*lines, _slowest(snapshot, latencies)])


def _total(number: int, counter: str) -> str:
    """1 sample, 2 samples; 1 sent, 2 sent."""
    return counted(number, counter.removesuffix("s")) if counter.endswith("s") else f"{number} {counter}"


def _population(part: str, number: int) -> str:
    """What the figures of this part are of."""
    return f"{counted(number, 'command')}, {OF_COMMANDS[part]}" if part in OF_COMMANDS else counted(number, "sample")


def _slowest(snapshot: LedgerSnapshot, latencies: dict[str, npt.NDArray[np.float64]]) -> str:
    """The slowest sample in the ring, part by part, largest first."""
    index = int(latencies["total"].argmax())
    parts = sorted(((float(latencies[part][index]), part) for part in PARTS), reverse=True)
    listed = ", ".join(f"{part} {ms:.3f}" for ms, part in parts if ms > 0.0005)
    return f"  worst: sample {snapshot.rows['sequence'][index]}, {latencies['total'][index]:.3f} ms: {listed}"


def stats_line(memory: mmap.mmap) -> str:
    """Pairs of key=value over the newest rows of a ledger, for the log."""
    snapshot = ledger.snapshot(memory, STATS_ROWS)
    applied = snapshot.rows[snapshot.rows["applied"] > 0]
    ms = ledger.quantiles(ledger.parts(applied)["total"])
    drops = " ".join(f"{name}={snapshot.counts[name]}" for name in (*DROPS, OPTIONAL) if snapshot.counts[name])
    figures = f"p50_ms={ms['p50']:.2f} p99_ms={ms['p99']:.2f}" if ms else ""
    totals = f"samples={snapshot.counts['samples']} decisions={snapshot.counts['decisions']}"
    return f"lane={snapshot.lane} state={snapshot.state} {totals} {figures} {drops}".rstrip()
