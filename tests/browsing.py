"""A visit to the live view in a real Chromium: what its pages say and draw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.benches.web import browser
from agent.benches.web.browser import Browser

needs_chromium = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.program(), reason="no Chromium here: apt-get install chromium"),
]
LAST = "(window.reflexd && reflexd.live) || {}"  # of the newest frame that was drawn
# Share of the pixels of a canvas for which an expression of r, g and b is true; NaN while there is none.
SHARE = """
(() => {
  const canvas = document.querySelector(%s), { width, height } = canvas || {};
  if (!width || !height) return NaN;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  let count = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    const [r, g, b] = pixels.subarray(at, at + 3);
    if (%s) count += 1;
  }
  return count / (width * height);
})()"""


def browse(profile: Path, visit: Callable[[Browser], Awaitable[None]]) -> None:
    async def run() -> None:
        async with browser.browser(str(profile)) as page:
            await visit(page)

    asyncio.run(run())


def shows(condition: str) -> str:
    """An expression that is true when the condition is, in which `text` is all text on the page."""
    return f"(() => {{ const text = document.body ? document.body.innerText : ''; return !!({condition}); }})()"


def says(text: str) -> str:
    return shows(f"text.includes({json.dumps(text)})")


def share(selector: str, pixel: str) -> str:
    """An expression: the share of the pixels of that canvas for which `pixel`, of r, g and b, is true."""
    return SHARE % (json.dumps(selector), pixel)


async def go(page: Browser, address: str) -> None:
    """To another page of the view that is open."""
    await page.value(f"location.hash = {json.dumps(address)}")


async def click(page: Browser, text: str) -> Any:
    """The first button whose text begins so, once it is there."""
    button = f"[...document.querySelectorAll('button')].find(each => each.textContent.startsWith({json.dumps(text)}))"
    await page.until(f"!!{button}")
    return await page.value(f"{button}.click()")
