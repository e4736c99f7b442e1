"""What the live view costs the lanes, and how old a picture is when a real browser has drawn it."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from agent.benches.programs import spawn
from agent.benches.web import browser, idle
from agent.benches.web.browser import BrowserError
from agent.benches.web.served import LANE, Served, camera
from agent.box.machine import machine

FPS = 15
FAST_FPS = 60  # where p99 of the lane is compared: more samples in the same time
VIEWERS = 3
PATIENCE = 5
PAGE = Path(__file__).parents[2] / "web" / "page"
PAINT = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0] || 0"
HISTORY = "((window.reflexd && reflexd.live && reflexd.live.history) || [])"  # [captured, drawn] of each, ms


def measure(short: bool) -> dict[str, Any]:
    """Milliseconds; ratios are of the lane's p99 from capture to decided, in alternations."""
    drawn = 60 if short else 600
    seconds, times = (4.0, 3) if short else (10.0, 10)
    result: dict[str, Any] = {"machine": machine(), "page_kb": round(_page_bytes() / 1000, 1)}
    with Served(camera(FPS)) as served:
        result.update(asyncio.run(_in_a_browser(served, drawn)))
    with Served(camera(FAST_FPS)) as served:
        result["viewers3_ratio_p99"] = _ratio(served, times, seconds)
        result["rss_mb"] = served.rss_mb
    return {**result, **idle.measure(2 * times, seconds / 2)}


def _page_bytes() -> int:
    return sum(path.stat().st_size for path in PAGE.iterdir())


async def _in_a_browser(served: Served, drawn: int) -> dict[str, Any]:
    """canvas_ms: age of a picture when it is drawn. first_paint_ms: of the page, median of five; null without one."""
    base = f"http://127.0.0.1:{served.port}"
    try:
        with tempfile.TemporaryDirectory(prefix="reflexd-browser-") as profile:
            async with browser.browser(profile) as page:
                paints = []
                for number in range(5):
                    await page.open(f"{base}/?{number}#/")
                    paints.append(float(await page.until(PAINT)))
                await page.open(f"{base}/?lane#/lane/{LANE}")
                ages = await _ages(page, drawn)
    except BrowserError as error:
        return {"canvas_ms": None, "first_paint_ms": None, "why": str(error)}
    p50, p95 = np.percentile(ages, (50, 95))
    return {"canvas_ms": {"p50": round(p50, 1), "p95": round(p95, 1)}, "first_paint_ms": round(median(paints), 1)}


async def _ages(page: browser.Browser, count: int) -> list[float]:
    """Of so many pictures, without those of the first second."""
    await page.until(f"{HISTORY}.length >= {FPS}")
    seen: dict[float, float] = {}
    first = {t for t, _ in await page.value(HISTORY)}
    end = time.monotonic() + PATIENCE * count / FPS
    while len(seen) < count:
        if time.monotonic() > end:
            raise BrowserError(f"the browser drew {len(seen)} of {count} pictures in {PATIENCE} times their time")
        await asyncio.sleep(1.0)
        seen.update({t: drawn for t, drawn in await page.value(HISTORY) if t not in first})
    return [drawn - t for t, drawn in seen.items()]


def _viewers(served: Served) -> subprocess.Popen[bytes]:
    url = f"http://127.0.0.1:{served.port}/api/live?lane={LANE}"
    process = spawn(["agent.benches.web.viewers", url, str(VIEWERS)], stdout=subprocess.PIPE)
    assert process.stdout
    for _ in range(VIEWERS):
        process.stdout.readline()
    return process


def _ratio(served: Served, times: int, seconds: float) -> float:
    """Median p99 with viewers, over that without, in alternating runs."""
    figures: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * times):
        watched = number % 2 == 0
        process = _viewers(served) if watched else None
        figures[watched].append(served.p99_ms(seconds))
        if process:
            process.terminate()
            process.wait(20)
    return round(median(figures[True]) / median(figures[False]), 3)


def text(result: dict[str, Any]) -> str:
    canvas, paint = result["canvas_ms"], result["first_paint_ms"]
    drawn = f"p50 {canvas['p50']} ms, p95 {canvas['p95']} ms" if canvas else f"not measured: {result['why']}"
    return "\n".join(
        [
            result["machine"],
            f"camera to canvas, {FPS} fps: {drawn}",
            f"first paint: {paint} ms; page {result['page_kb']} kB; process {result['rss_mb']} MB",
            f"lane p99 with {VIEWERS} viewers: x{result['viewers3_ratio_p99']}",
            idle.text(result),
        ]
    )
