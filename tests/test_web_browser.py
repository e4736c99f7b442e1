"""The pages of the live view in a real Chromium, on a desktop and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.benches.programs import free_port
from agent.benches.web.browser import Browser
from tests.browsing import LAST, browse, click, go, needs_chromium, shows
from tests.processes import Cell, Process
from tests.waiting import until
from tests.web import CELL, Page, web_cell

pytestmark = needs_chromium
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
# Of each page: its address, and what must be on it before it is whole.
PAGES = {
    "overview": ("#/", "document.querySelectorAll('canvas').length >= 2 && text.includes('robot')"),
    "camera": ("#/lane/floor", f"({LAST}).boxes && ({LAST}).lane == 'floor' && text.includes('person')"),
    "sensor": ("#/lane/arm", f"({LAST}).lane == 'arm' && text.includes('deviation')"),
    "decisions": ("#/decisions", "text.includes('reach')"),
    "zones": ("#/zones/floor", "document.querySelector('svg .corner')"),
    "models": ("#/models", "text.includes('arm-deviation') && text.includes('Apache-2.0')"),
    "doctor": ("#/doctor", "text.includes('python')"),
    "configuration": ("#/configuration", "text.includes('cell-1')"),
}
# Parts that a finger would have to move sideways, or that the edge of the screen cuts off.
SIDEWAYS = """
[...document.querySelectorAll('main *:not(svg *)')]
  .filter(each => {
    const scrolls = getComputedStyle(each).overflowX == 'auto' && each.scrollWidth > each.clientWidth + 1;
    return scrolls || each.getBoundingClientRect().right > innerWidth + 1;
  })
  .map(each => each.outerHTML.slice(0, 120))"""
Served = tuple[Cell, Page, Process]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with web_cell(tmp_path_factory.mktemp("browser")) as parts:
        yield parts


@pytest.mark.parametrize("size", SIZES)
def test_every_page_opens_without_an_error_and_fits(served: Served, tmp_path: Path, size: str) -> None:
    async def visit(page: Browser) -> None:
        await page.open(served[1].base + "/", *SIZES[size])
        for address, whole in PAGES.values():
            await go(page, address)
            await page.until(shows(whole))
            assert await page.value("document.documentElement.scrollWidth <= innerWidth"), f"{address} is too wide"
            assert await page.value(SIDEWAYS) == [], address
            assert (await page.picture()).startswith(b"\x89PNG")
        assert page.errors == []

    browse(tmp_path, visit)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_names_and_keyboard_pass_axe(served: Served, tmp_path: Path, scheme: str) -> None:
    """Deque's axe-core, the rules of WCAG 2 A and AA."""
    axe = pytest.importorskip("axe_core_python")
    program = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    violations = """
    axe.run(document, { runOnly: ["wcag2a", "wcag2aa"] }).then(({ violations }) =>
      violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`))"""

    async def visit(page: Browser) -> None:
        await page.prefer(scheme)
        await page.open(served[1].base + "/")
        await page.until(shows(PAGES["overview"][1]))
        await page.value(program + "; 0")
        for address, whole in PAGES.values():
            await go(page, address)
            await page.until(shows(whole))
            assert await page.value(violations) == [], address

    browse(tmp_path, visit)


def test_the_canvas_shows_the_picture_with_the_box_where_the_person_is(served: Served, tmp_path: Path) -> None:
    """The box's frame is drawn in the colour of what is detected or counted, at the shares that the evidence has."""
    coloured = """
    (() => {
      const [left, top, right] = reflexd.live.boxes[0], canvas = document.querySelector('main canvas');
      const { width, height } = canvas, y = Math.round(top * height), reach = Math.ceil(height / 60);
      const x = Math.round((left + right) / 2 * width);
      const pixels = canvas.getContext('2d').getImageData(x, Math.max(0, y - reach), 1, 2 * reach).data;
      const near = (at, r, g, b) => Math.hypot(pixels[at] - r, pixels[at + 1] - g, pixels[at + 2] - b) < 60;
      for (let at = 0; at < pixels.length; at += 4)
        if (near(at, 86, 180, 233) || near(at, 230, 159, 0)) return true;
      return false;
    })()"""

    async def visit(page: Browser) -> None:
        await page.open(served[1].base + "/#/lane/floor")
        await page.until(f"(({LAST}).boxes || []).length > 0")
        await page.until(f"(({LAST}).boxes || []).length > 0 && {coloured}")

    browse(tmp_path, visit)


def test_a_zone_drawn_with_the_mouse_and_written_decides(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "reflexd.yaml"
    folders = {"run_dir": json.dumps(str(tmp_path / "run")), "state_dir": json.dumps(str(tmp_path / "state"))}
    small = CELL.replace("[[0, 0], [0.01, 0], [0.01, 0.01]]", "[[0, 0], [0.2, 0], [0.2, 0.2]]")
    path.write_text(small.format(**folders, port=port, edit="true"))
    daemon = Process(tmp_path / "run.log", "run", "-c", str(path))
    where = "(([share_x, share_y]) => { const box = document.querySelector('.editor svg').getBoundingClientRect();"
    where += " return [box.left + share_x * box.width, box.top + share_y * box.height]; })"

    async def visit(page: Browser) -> None:
        await page.open(f"http://127.0.0.1:{port}/#/zones/floor", 1280, 1400)
        await page.until("document.querySelectorAll('svg .corner').length == 3")
        await page.until(f"({LAST}).t")  # the picture has its size
        for start, end in (([0.2, 0], [0.99, 0.99]), ([0.2, 0.2], [0.01, 0.99])):
            ends = [await page.value(f"{where}({json.dumps(at)})") for at in (start, end)]
            await page.drag(*((float(x), float(y)) for x, y in ends))
        await click(page, "Write into")
        await page.until(shows("text.includes('Written')"))
        assert page.errors == []

    try:
        served = Page(f"http://127.0.0.1:{port}")
        until(lambda: served.get("/api/status")[0] == 200, lambda: daemon.text)
        browse(tmp_path / "profile", visit)
        assert "0.99" in path.read_text() and list(tmp_path.glob("reflexd.yaml.*.bak"))
        until(lambda: '"verb": "stop"' in json.dumps(served.get("/api/decisions?rule=reach")[1]), lambda: daemon.text)
    finally:
        daemon.stop()
