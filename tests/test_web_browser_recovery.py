"""The open page through what happens to the box and to the browser: it says what is old, and recovers by itself."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.benches.programs import free_port
from agent.benches.web.browser import Browser
from tests.browsing import LAST, browse, go, needs_chromium, says, shows
from tests.processes import Cell, Process, never
from tests.waiting import until
from tests.web import Page

pytestmark = needs_chromium
ARM = {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}
LIVE = f"({LAST}).lane == 'arm' && ({LAST}).t"
HOUR_LATER = """
(() => {
  const now = Date.now;
  Date.now = () => now() + 3600e3;
})()"""


@contextmanager
def viewed(folder: Path) -> Iterator[tuple[Cell, Process, list[str], str]]:
    """(cell, daemon, command of the live view beside it, its address); the view does not run yet."""
    with Cell(folder, {"arm": ARM}) as cell:
        port = free_port()
        _, daemon = cell.start_both()
        command = ["web", "-c", str(cell.folder / "reflexd.yaml"), "--port", str(port)]
        yield cell, daemon, command, f"http://127.0.0.1:{port}"


def _serve(cell: Cell, command: list[str], base: str) -> Process:
    view = cell.start(*command)
    until(lambda: Page(base).get("/api/status")[0] == 200, lambda: view.text)
    return view


def test_a_stopped_daemon_is_said_to_be_old_and_the_page_recovers(tmp_path: Path) -> None:
    with viewed(tmp_path) as (cell, daemon, command, base):
        view = _serve(cell, command, base)

        async def visit(page: Browser) -> None:
            await page.open(base)
            await page.until(says("running"))
            daemon.stop()
            await page.until(shows("/stopped|not run/i.test(text)"))
            cell.run()
            await page.until(shows("text.includes('running') && !/not run/i.test(text)"))
            view.stop()
            await page.until(shows("/old|no answer/i.test(text)"))
            cell.start(*command)
            await page.until(shows("text.includes('running') && !/no answer/i.test(text)"))

        browse(tmp_path / "profile", visit)


def test_a_reload_with_other_lanes_shows_on_every_open_page(tmp_path: Path) -> None:
    with viewed(tmp_path) as (cell, daemon, command, base):
        _serve(cell, command, base)

        def reload(old: str, new: str) -> None:
            lanes = cell.config["lanes"]
            lanes[new] = lanes.pop(old)  # type: ignore[index,attr-defined]
            cell.config["rules"] = {f"{new}-never": never(new, "arm-deviation")}
            cell.write()
            daemon.signal(signal.SIGHUP)

        async def visit(page: Browser) -> None:
            await page.open(f"{base}/#/lane/arm")
            await page.until(LIVE)
            reload("arm", "press")
            await page.until(says("There is no lane ‘arm’ now. This box has press."))
            await go(page, "#/")
            await page.until(shows("text.includes('press') && !text.includes('arm\\n')"))
            await go(page, "#/lane/arm")
            await page.until(says("There is no lane ‘arm’ now."))
            reload("press", "arm")
            await page.until(f"{shows('!text.includes(`no lane`)')} && {LIVE}")
            assert all("404" in error for error in page.errors)  # asked for in the second of the reload

        browse(tmp_path / "profile", visit)


@pytest.mark.parametrize("frozen", [False, True], ids=["computer asleep", "page frozen"])
def test_a_browser_that_slept_an_hour_says_that_all_is_old_and_recovers(tmp_path: Path, frozen: bool) -> None:
    """The clock has moved, and the connection is dead without a word: the live view hangs, and closes nothing."""
    with viewed(tmp_path) as (cell, _, command, base):
        view = _serve(cell, command, base)

        async def visit(page: Browser) -> None:
            await page.open(f"{base}/#/lane/arm")
            before = float(await page.until(LIVE))
            if frozen:
                await page.freeze()
            view.signal(signal.SIGSTOP)
            await page.value(HOUR_LATER)
            if frozen:
                await page.thaw()
            await page.until(says("No answer for 60 min: what you see is old."))
            await page.until(says("Old: "))
            view.signal(signal.SIGCONT)
            await page.until(f"({LAST}).t > {before} + 1000 && {shows('!/old:/i.test(text)')}")

        browse(tmp_path / "profile", visit)


def test_an_empty_box_says_on_each_page_that_there_is_nothing_and_what_to_do(tmp_path: Path) -> None:
    """No lane, no actuator, and no daemon has ever made the folders."""
    path, port = tmp_path / "reflexd.yaml", free_port()
    path.write_text(json.dumps({name: str(tmp_path / name) for name in ("run_dir", "state_dir")}))
    view = Process(tmp_path / "web.log", "web", "-c", str(path), "--port", str(port))
    pages = {
        "#/": "This box has no lanes and no actuators yet.",
        "#/lane/arm": "There is no lane ‘arm’ now. This box has no lanes.",
        "#/decisions": "No actuator has had a decision yet.",
        "#/zones": "This box has no lane with a camera",
        "#/models": "No lane uses a model yet",
        "#/doctor": "good",
        "#/configuration": "No mistakes.",
    }

    async def visit(page: Browser) -> None:
        await page.open(f"http://127.0.0.1:{port}/", 390, 844)
        for address, text in pages.items():
            await go(page, address)
            await page.until(says(text))
        assert page.errors == []

    try:
        until(lambda: Page(f"http://127.0.0.1:{port}").get("/api/status")[0] == 200, lambda: view.text)
        browse(tmp_path / "profile", visit)
    finally:
        view.stop()
