"""What the live view costs the lanes, and how old a picture is when a real browser has drawn it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from agent import ledger
from agent.benches.programs import free_port, spawn
from agent.benches.web import browser
from agent.benches.web.browser import BrowserError
from agent.box.machine import machine

LANE, FPS = "camera", 15
FAST_FPS = 60  # where p99 of the lane is compared: more samples in the same time
VIEWERS = 3
PATIENCE = 5
PAGE = Path(__file__).parents[2] / "web" / "page"
PAINT = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0] || 0"
HISTORY = "((window.reflexd && reflexd.live && reflexd.live.history) || [])"  # [captured, drawn] of each, ms


def measure(short: bool) -> dict[str, Any]:
    """Milliseconds; ratios are medians of alternations, of the lane's p99 from capture to decided."""
    drawn = 60 if short else 600
    seconds, times = (4.0, 3) if short else (10.0, 10)
    result: dict[str, Any] = {"machine": machine(), "page_kb": round(_page_bytes() / 1000, 1)}
    with Served(FPS) as served:
        result.update(asyncio.run(_in_a_browser(served, drawn)))
    with Served(FAST_FPS) as served:
        result["viewers3_ratio_p99"] = _ratio(served, times, seconds, lambda: _viewers(served))
        result["idle_ratio_p99"] = _ratio(served, times, seconds, lambda: _nothing(served), _stopped)
        result["rss_mb"] = served.rss_mb
    return result


def _page_bytes() -> int:
    return sum(path.stat().st_size for path in PAGE.iterdir())


class Served:
    """A daemon with one camera lane, and the live view beside it."""

    def __init__(self, fps: int) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reflexd-bench-")))
        self.port = free_port()
        self.rss_mb = 0.0
        source = {"driver": "camera.sim", "width": 640, "height": 480, "fps": fps, "timeout_ms": 1000}
        lane = {"source": source, "model": "person-coarse"}
        config = {"run_dir": str(self.folder), "recorder": {"enabled": False}, "lanes": {LANE: lane}}
        self._path = self.folder / "reflexd.yaml"
        self._path.write_text(json.dumps(config), encoding="utf-8")

    def __enter__(self) -> Served:
        self._daemon = spawn(["agent", "run", "-c", str(self._path)], stderr=subprocess.DEVNULL)
        command = ["agent.web.server", str(self._path), "--port", str(self.port)]
        self.web = spawn(command, stderr=subprocess.DEVNULL)
        _until(lambda: self.samples > 2 * FPS, "the lane runs")
        _until(self._answers, "the live view answers")
        return self

    def _answers(self) -> bool:
        return any(each.laddr.port == self.port for each in psutil.Process(self.web.pid).net_connections())

    @property
    def samples(self) -> int:
        return next((each.head for each in ledger.read_all(self.folder)), 0)

    def p99_ms(self, seconds: float) -> float:
        """Of the lane, captured to decided, from now on for so long."""
        began = time.monotonic_ns()
        time.sleep(seconds)
        rows = ledger.read(self.folder / f"{LANE}.ledger").rows
        self.rss_mb = max(self.rss_mb, round(psutil.Process(self.web.pid).memory_info().rss / 1e6, 1))
        return float(np.percentile(ledger.parts(rows[rows["capture"] >= began])["total"], 99))

    def __exit__(self, *_: object) -> None:
        for process in (self.web, self._daemon):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(20)
        self._stack.close()


def _until(condition: Callable[[], object], awaited: str, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit_s:g} s: {awaited}")
        time.sleep(0.05)


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


def _nothing(_: Served) -> None:
    return None


def _stopped(served: Served) -> None:
    """The live view's process as if there were none."""
    os.kill(served.web.pid, signal.SIGSTOP)


def _ratio(
    served: Served,
    times: int,
    seconds: float,
    start: Callable[[], subprocess.Popen[bytes] | None],
    without: Callable[[Served], None] = _nothing,
) -> float:
    """Median p99 with what `start` starts, over that without, in alternating runs."""
    figures: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * times):
        with_it = number % 2 == 0
        process = start() if with_it else None
        if not with_it:
            without(served)
        figures[with_it].append(served.p99_ms(seconds))
        os.kill(served.web.pid, signal.SIGCONT)
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
            f"lane p99 with {VIEWERS} viewers: x{result['viewers3_ratio_p99']}; with none: x{result['idle_ratio_p99']}",
        ]
    )
