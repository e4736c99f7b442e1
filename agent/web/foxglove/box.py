"""The server for Foxglove: topics of all lanes, /decisions, /ledger."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from foxglove import Context, set_log_level, start_server

from agent.web import pictures
from agent.web.description import Description
from agent.web.foxglove import topics
from agent.web.foxglove.lane import LaneTopics
from agent.web.messages import wall_offset_ns
from agent.web.state import State
from agent.web.timeline import Timeline

log = logging.getLogger("reflexd.web")
HOST = "127.0.0.1"  # of anywhere else it would need a token and TLS
BACKLOG = 256  # messages kept for a client that does not read; older ones are dropped
QUICK_S, CALM_S = 0.005, 0.05  # between two looks at the lanes: with a picture watched, without
REST_S = 0.5  # while nobody is subscribed
SYNC_S, DECISIONS_S, LEDGER_S = 1.0, 0.2, 1.0
FIRST, MOST = 20, 500  # decisions: sent at a first subscription; looked at each time
INFO = 2  # level of a foxglove.Log
LEDGER_FIELDS = ("name", "state", "rate_hz", "p50_ms", "p99_ms")


async def serve(path: Path, description: Description) -> None:
    """Until cancelled. path: of the configuration. Raises RuntimeError: the port cannot be opened."""
    set_log_level("WARNING")  # of the SDK, which logs each client that comes and goes
    context = Context()
    server = start_server(
        name=description.content["node"],
        host=HOST,
        port=description.content["web"]["foxglove"],
        context=context,
        message_backlog_size=BACKLOG,
    )
    log.info("Foxglove is served at ws://%s:%d", HOST, server.port)
    try:
        await asyncio.gather(
            description.keep_fresh(),
            _publish_lanes(context, description),
            _publish_decisions(context, description),
            _publish_ledger(context, State(path)),
        )
    finally:
        server.stop()


async def _publish_lanes(context: Context, description: Description) -> None:
    lanes: dict[str, LaneTopics] = {}
    synced_s = 0.0
    while True:
        now = time.monotonic()
        if now - synced_s >= SYNC_S:
            synced_s = now
            _sync(lanes, context, description)
        for lane in lanes.values():
            lane.step(now)
        await asyncio.sleep(_pause_s(lanes.values()))


def _pause_s(lanes: Collection[LaneTopics]) -> float:
    """By polling: with the SDK's listener the process hung where a client subscribed while topics were being made."""
    if any(lane.quick for lane in lanes):
        return QUICK_S
    return CALM_S if any(lane.subscribed for lane in lanes) else REST_S


def _sync(lanes: dict[str, LaneTopics], context: Context, description: Description) -> None:
    """As the newest configuration says, and the tapes that there are."""
    for name in lanes.keys() - description.lanes.keys():
        lanes.pop(name).close()
    settings = description.content["web"]
    # The SDK asks no page where it comes from: any site in a browser that reaches the port could read it.
    mode, _ = pictures.mode(settings["pictures"], local=False)
    for name in description.lanes:
        if name not in lanes:
            lanes[name] = LaneTopics(context, description.run_dir, name)
        lanes[name].sync(mode)


async def _publish_decisions(context: Context, description: Description) -> None:
    """The newest at a first subscription, then each."""
    channel, timeline = topics.json(context, "/decisions", topics.DECISION), Timeline()
    sent: set[tuple[Any, ...]] | None = None
    while True:
        await asyncio.sleep(REST_S if sent is None else DECISIONS_S)
        if not channel.has_sinks():
            sent = None
            continue
        rows = {_identity(row): row for row in timeline.newest(description.run_dir, MOST, None, None)}
        new = [row for identity, row in rows.items() if identity not in (sent or ())]
        for row in reversed(new[:FIRST] if sent is None else new):
            t_ns = wall_offset_ns() + row["t_capture"]
            channel.log(_decision(row, t_ns), log_time=t_ns)
        sent = set(rows)


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["t_capture"], row["number"], row["actuator"]


def _decision(row: dict[str, Any], t_ns: int) -> dict[str, Any]:
    by = f"by {row['rule']}" if row["rule"] else "at rest"
    return {
        "timestamp": {"sec": t_ns // 1_000_000_000, "nsec": t_ns % 1_000_000_000},
        "level": INFO,
        "name": row["lane"],
        "message": f"{row['actuator']}: {row['verb']} {by}: {row['explanation']}",
        "dropped": str(row["dropped"] or ""),
        **{name: row[name] for name in ("number", "lane", "rule", "actuator", "verb", "explanation")},
    }


async def _publish_ledger(context: Context, state: State) -> None:
    channel = topics.json(context, "/ledger", topics.LEDGER)
    while True:
        await asyncio.sleep(LEDGER_S)
        if channel.has_sinks():
            content = await state.read()
            channel.log({"lanes": [_figures(lane) for lane in content["lanes"]]}, log_time=time.time_ns())


def _figures(lane: dict[str, Any]) -> dict[str, Any]:
    figures = {name: lane[name] for name in LEDGER_FIELDS if lane[name] is not None}
    reasons = ", ".join(f"{count} {reason}" for reason, count in lane["drops"].items())
    return {**figures, "drops": sum(lane["drops"].values()), "reasons": reasons}
