"""Ledgers as trace events that ui.perfetto.dev and chrome://tracing open: a process for the box, a track a lane.

The format is Chrome's "Trace Event Format": ph X is a span (ts, dur in us), i a moment, M a name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agent.box import private
from agent.field.lanes import Rows
from agent.ledger_text import counted

Event = dict[str, Any]
PROCESS = 1
# The stages of a lane in their order, each with the time stamp at its end.
STAGES = (
    ("transport", "read"),
    ("preprocess", "prepared"),
    ("inference", "inferred"),
    ("decide", "decided"),
    ("send", "sent"),
)
LONGEST_NS = 60_000_000_000  # a row that was overwritten while it was read


def events(node: str, lanes: Mapping[str, Rows]) -> Iterator[Event]:
    """Events of all lanes on one clock, CLOCK_MONOTONIC. None where no lane has a sample."""
    sampled = {name: rows for name, rows in lanes.items() if len(rows)}
    if sampled:
        yield _metadata("process_name", 0, f"reflexd {node}")
    for track, (name, rows) in enumerate(sampled.items(), 1):
        yield _metadata("thread_name", track, name)
        for row in rows:
            yield from sample(track, row)


def _metadata(kind: str, track: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": PROCESS, "tid": track, "args": {"name": name}}


def sample(track: int, row: np.void) -> list[Event]:
    """The sample as a span with its stages inside. row: of ledger.ROW_TYPE.

    It begins when the lane asked, or at the capture if that was later: before, the lane was busy with another sample,
    and spans of one track must not overlap.
    """
    stamps = dict(zip(row.dtype.names or (), row.item()))  # plain integers: a trace has many thousands of rows
    begin, end = max(stamps["capture"], stamps["asked"]), stamps["sent"] or stamps["decided"]
    if not 0 <= end - begin < LONGEST_NS:
        return []
    args = {"sequence": stamps["sequence"], "captured_ms_before": (begin - stamps["capture"]) / 1e6}
    applied = stamps["applied"]
    if applied:
        args["captured_to_applied_ms"] = (applied - stamps["capture"]) / 1e6
    spans = [_span(track, f"sample {stamps['sequence']}", begin, end, args)]
    for name, stamp in STAGES:
        if stamps[stamp]:  # 0: no command left
            spans.append(_span(track, name, begin, stamps[stamp]))
            begin = stamps[stamp]
    if applied:
        spans.append({"ph": "i", "name": "applied", "s": "t", "pid": PROCESS, "tid": track, "ts": applied / 1e3})
    return spans


def _span(track: int, name: str, begin: int, end: int, args: Mapping[str, float] | None = None) -> Event:
    event: Event = {"ph": "X", "cat": "lane", "name": name, "pid": PROCESS, "tid": track}
    event |= {"ts": begin / 1e3, "dur": max(0, end - begin) / 1e3}
    return {**event, "args": dict(args)} if args else event


def write(path: Path, events: Iterable[Event]) -> int:
    """An event a line; how many. Written one by one: all of them would take more memory than a small box can spare."""
    count = 0
    with os.fdopen(private.output(path), "w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[')
        for count, event in enumerate(events, 1):
            file.write(("\n" if count == 1 else ",\n") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")
    return count


def report(path: Path, count: int) -> str:
    if not count:
        return f"{path}: written, and empty: no ledger has a sample"
    size = f"{counted(count, 'event')}, {path.stat().st_size / 1e6:.1f} MB"
    return f"{path}: {size}; open it at https://ui.perfetto.dev (it stays in the browser)"
