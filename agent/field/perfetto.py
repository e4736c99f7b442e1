"""Ledgers as trace events that ui.perfetto.dev and chrome://tracing open: a process for the box, a track a lane.

The format is Chrome's "Trace Event Format": ph X is a span (ts, dur in us), i a moment, M a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.field.lanes import Rows

Event = dict[str, Any]
PROCESS = 1
# What a lane does one after the other; times are columns of the ledger's rows.
STAGES = (("transport", 3), ("preprocess", 4), ("inference", 5), ("decide", 6), ("send", 7))
LONGEST_NS = 60_000_000_000  # a row that was overwritten while it was read


def events(node: str, lanes: Mapping[str, Rows]) -> list[Event]:
    """All of them on one clock, CLOCK_MONOTONIC. Nothing where no lane has a sample."""
    found: list[Event] = []
    for track, (name, rows) in enumerate(lanes.items(), 1):
        found += named("thread_name", track, name)
        for row in rows.tolist():
            found += sample(track, row)
    return [*named("process_name", 0, f"reflexd {node}"), *found] if any(one["ph"] == "X" for one in found) else []


def named(what: str, track: int, name: str) -> list[Event]:
    return [{"ph": "M", "name": what, "pid": PROCESS, "tid": track, "args": {"name": name}}]


def sample(track: int, row: list[int]) -> list[Event]:
    """The sample as a span with its stages inside.

    It begins when the lane asked, or at the capture if that was later: before, the lane was busy with another sample,
    and spans of one track must not overlap.
    """
    sequence, capture, asked, _, _, _, decided, sent, applied = row
    begin, end = max(capture, asked), sent or decided
    if not 0 <= end - begin < LONGEST_NS:
        return []
    args = {"sequence": sequence, "captured_ms_before": (begin - capture) / 1e6}
    if applied:
        args["captured_to_applied_ms"] = (applied - capture) / 1e6
    found = [span(track, f"sample {sequence}", begin, end, args)]
    for name, column in STAGES:
        if row[column]:  # 0: no command left
            found.append(span(track, name, begin, row[column]))
            begin = row[column]
    if applied:
        found.append({"ph": "i", "name": "applied", "s": "t", "pid": PROCESS, "tid": track, "ts": applied / 1e3})
    return found


def span(track: int, name: str, begin: int, end: int, args: Mapping[str, float] | None = None) -> Event:
    event: Event = {"ph": "X", "cat": "lane", "name": name, "pid": PROCESS, "tid": track}
    event |= {"ts": begin / 1e3, "dur": max(0, end - begin) / 1e3}
    return {**event, "args": dict(args)} if args else event


def write(path: Path, found: list[Event]) -> None:
    """An event a line, so that it can be looked at."""
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in found)
    path.write_text(f'{{"displayTimeUnit":"ms","traceEvents":[\n{lines}\n]}}\n', encoding="utf-8")


def said(path: Path, count: int) -> str:
    if not count:
        return f"{path}: written, and empty: no ledger has a sample"
    size = path.stat().st_size / 1e6
    return f"{path}: {count} events, {size:.1f} MB; open it at https://ui.perfetto.dev (it stays in the browser)"
