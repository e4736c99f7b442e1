"""Drift on the live view's overview and lane page, in a real Chromium, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.benches.web.browser import Browser
from agent.drift import published
from tests.browsing import browse, go, needs_chromium, says, shows
from tests.drift_fixtures import drifting_report
from tests.test_web_browser import SIDEWAYS, SIZES
from tests.web import Page, web_cell

pytestmark = needs_chromium
NAME = "<img src=x onerror=alert(1)> spread 1.5"
CAUSE = "Was the sensor exchanged, loosened, or set to another range or unit?"
Served = tuple[Path, Page, dict[str, Any]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """run_dir of a cell whose monitor is the test, its page, and the report of a lane that drifts."""
    report = drifting_report(tmp_path_factory.mktemp("watched"))
    with web_cell(tmp_path_factory.mktemp("drift")) as (cell, page, _):
        yield cell.run_dir, page, report


def publish(served: Served, **lanes: dict[str, Any]) -> None:
    run_dir, _, report = served
    published.write(run_dir, {name: {**report, **changes} for name, changes in lanes.items()})


def calm(state: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "drifts": [], "causes": [], "accept": "", **more}


@pytest.mark.parametrize("size", SIZES)
def test_what_drifts_is_shown_with_its_cause_and_fits(served: Served, tmp_path: Path, size: str) -> None:
    _, web, report = served
    publish(served, arm={}, floor=calm("learning", learnt=0.4))
    first = report["drifts"][0].replace("+-", "±")

    async def fits(page: Browser) -> None:
        assert await page.value("document.documentElement.scrollWidth <= innerWidth") and page.errors == []
        assert await page.value(SIDEWAYS) == []
        assert (await page.picture()).startswith(b"\x89PNG")

    async def visit(page: Browser) -> None:
        await page.open(web.base + "/", *SIZES[size])
        for part in ("drifting", first, CAUSE, "reflexd drift --relearn arm", "learning: 40% of what it needs"):
            await page.until(says(part))
        await page.until(says("Not as it was learnt, so that findings are less certain: arm."))
        await fits(page)
        await go(page, "#/lane/arm")
        for part in ("Drifting: not as it was learnt", first, CAUSE):
            await page.until(says(part))
        await fits(page)
        await go(page, "#/lane/floor")
        await page.until(says("drift learning: 40% of what it needs"))
        await page.until(shows("!text.includes('Drifting')"))

    browse(tmp_path, visit)


def test_the_end_of_a_drift_is_seen_without_a_reload_and_an_unwatched_lane_says_nothing(
    served: Served, tmp_path: Path
) -> None:
    run_dir, web, _ = served
    publish(served, arm={})

    async def visit(page: Browser) -> None:
        await page.open(web.base + "/")
        await page.until(says("drifting"))
        publish(served, arm=calm("normal"))
        await page.until(shows("!text.includes('drifting') && /Drift\\s+normal/.test(text)"))
        (run_dir / published.NAME).unlink()
        await page.until(shows("!/Drift\\s/.test(text)"))

    browse(tmp_path, visit)


def test_what_a_monitor_names_is_text_and_no_markup(served: Served, tmp_path: Path) -> None:
    """A statistic has the name of a channel, as the configuration gives it."""
    publish(served, arm={"drifts": [NAME] * 5})

    async def visit(page: Browser) -> None:
        await page.open(served[1].base + "/")
        await page.until(says(NAME))
        await page.until(says("and 2 others"))
        assert await page.value("document.querySelectorAll('main .drift img').length") == 0

    browse(tmp_path, visit)
