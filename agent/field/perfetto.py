"""Ledgers as trace events that ui.perfetto.dev and chrome://tracing open: a process for the box, a track a lane.

The format is Chrome's "Trace Event Format": ph X is a span (ts, dur in us), i a moment, M a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.field.lanes import Rows

Event = dict[str, Any]
PROCESS = 1
# What a lane does one after the other; times are columns of the ledger's rows.
STAGES = (("transport", 3), ("preprocess", 4), ("inference", 5), ("decide", 6), ("send", 7))
LONGEST_NS = 60_000_000_000  # a row that was overwritten while it was read


def events(node: str, lanes: Mapping[str, Rows]) -> Iterator[Event]:
    """All of them on one clock, CLOCK_MONOTONIC. Nothing where no lane has a sample."""
    full = {name: rows for name, rows in lanes.items() if len(rows)}
    if full:
        yield _named("process_name", 0, f"reflexd {node}")
    for track, (name, rows) in enumerate(full.items(), 1):
        yield _named("thread_name", track, name)
        for row in rows:
            yield from sample(track, row.tolist())


def _named(what: str, track: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": PROCESS, "tid": track, "args": {"name": name}}


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
    found = [_span(track, f"sample {sequence}", begin, end, args)]
    for name, column in STAGES:
        if row[column]:  # 0: no command left
            found.append(_span(track, name, begin, row[column]))
            begin = row[column]
    if applied:
        found.append({"ph": "i", "name": "applied", "s": "t", "pid": PROCESS, "tid": track, "ts": applied / 1e3})
    return found


def _span(track: int, name: str, begin: int, end: int, args: Mapping[str, float] | None = None) -> Event:
    event: Event = {"ph": "X", "cat": "lane", "name": name, "pid": PROCESS, "tid": track}
    event |= {"ts": begin / 1e3, "dur": max(0, end - begin) / 1e3}
    return {**event, "args": dict(args)} if args else event


def write(path: Path, found: Iterable[Event]) -> int:
    """An event a line; how many. One after the other: all of them would take more memory than a small box has to spare."""
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[')
        for count, one in enumerate(found, 1):
            file.write(("\n" if count == 1 else ",\n") + json.dumps(one, separators=(",", ":")))
        file.write("\n]}\n")
    return count


def said(path: Path, count: int) -> str:
    if not count:
        return f"{path}: written, and empty: no ledger has a sample"
    size = path.stat().st_size / 1e6
    return f"{path}: {count} events, {size:.1f} MB; open it at https://ui.perfetto.dev (it stays in the browser)"
