"""What a browser gets to see of pictures: none without the token, on the canvas only what the configuration allows."""

from __future__ import annotations

from pathlib import Path

from agent.benches.programs import free_port
from agent.benches.web.browser import Browser
from agent.web import make_keys
from tests.browsing import LAST, browse, click, go, needs_chromium, says, share, shows
from tests.processes import Cell
from tests.waiting import until
from tests.web import FLOOR, web_cell

pytestmark = needs_chromium
CANVAS = "main canvas"
# The blank that boxes are drawn on, and the shade of a zone on it: nothing in between is from a picture.
BLANK = "(r === 28 && g === 28 && b === 28)"
SHADED = "(Math.hypot(r - 67, g - 48, b - 59) < 3)"

CHOOSE_ARM = """
(() => {
  const field = document.querySelector('.player select');
  field.value = 'arm';
  field.dispatchEvent(new Event('change'));
})()"""


def test_without_the_token_of_a_box_in_the_network_nothing_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    *_, token_file = make_keys.make(folder, [])
    with Cell(tmp_path, {"floor": FLOOR}) as cell:
        port = free_port()
        cell.config["web"] = {"port": port, "host": "0.0.0.0", "keys": str(folder)}
        _, daemon = cell.start_both()
        daemon.wait_for("the live view is at https")

        async def visit(page: Browser) -> None:
            await page.trust_any_certificate()
            await page.open(f"https://127.0.0.1:{port}/#/lane/floor", 390, 844)
            await page.until("document.activeElement?.id == 'token'")
            assert await page.value("document.querySelectorAll('canvas').length") == 0
            await page.type("a guess")
            await page.press_enter()
            await page.until(says("This is not the token of this box."))
            await page.type(token_file.read_text())  # in place of the guess, which is selected
            await page.press_enter()
            await page.until(f"({LAST}).boxes && ({LAST}).boxes.length && {share(CANVAS, BLANK)} > 0.3")
            assert await page.value(f"{says('pictures do not leave this box by this way')}")
            assert await page.value("document.cookie") == ""  # no script reads the session
            assert all("401" in error or "403" in error for error in page.errors)

        browse(tmp_path / "profile", visit)


def test_the_canvas_has_no_pixel_of_a_hidden_picture_and_only_lines_of_edges(tmp_path: Path) -> None:
    """The open page follows each change of the configuration."""
    with web_cell(tmp_path, pictures=True) as (cell, _, _daemon):
        web = cell.config["web"]

        def show(pictures: bool | str) -> None:
            web["pictures"] = pictures  # type: ignore[index]
            cell.write()

        async def visit(page: Browser) -> None:
            await page.open(f"http://127.0.0.1:{web['port']}/#/lane/floor")  # type: ignore[index]
            flat = share(CANVAS, f"{BLANK} || {SHADED}")
            await page.until(f"{flat} < 0.05 && {share(CANVAS, 'r > 90')} > 0.5")
            show("edges")
            await page.until(f"{says('only outlines are shown here')} && {share(CANVAS, 'r < 60 && r !== 28')} > 0.5")
            show(False)
            await page.until(f"{says('pictures do not leave this box')} && {flat} > 0.85")
            await go(page, "#/")
            await page.until(f"{share('.thumbnail.picture canvas', f'{BLANK} || {SHADED}')} > 0.7")
            assert page.errors == []

        browse(tmp_path / "profile", visit)


def test_a_clip_of_an_event_is_played_in_place(tmp_path: Path) -> None:
    recorder = {"events": {"rules": ["reach"], "before_s": 1, "after_s": 1}, "pictures": "clips"}
    with web_cell(tmp_path, recorder=recorder) as (cell, served, _daemon):
        base = served.base
        clips = until(lambda: served.get("/api/decisions")[1]["clips"], cell.logs)
        assert clips[0]["rule"] == "reach"

        async def visit(page: Browser) -> None:
            await page.open(f"{base}/#/decisions")
            await click(page, "Play")
            await page.until("document.querySelector('.player input[type=range]')?.value > 5")
            await page.until(f"{share('.player canvas', BLANK)} < 0.5")
            await page.until(shows("/robot: stop, reach: person/.test(document.querySelector('.player').innerText)"))
            await page.until("document.querySelector('.player button').textContent == 'Play'")  # it has come to its end
            await page.value(CHOOSE_ARM)
            await page.until(f"{share('.player canvas', 'r < 60 && b > 150')} > 0.005")  # the line of the readings
            await click(page, "Close")
            await page.until("!document.querySelector('.player')")
            assert page.errors == []

        browse(tmp_path / "profile", visit)
