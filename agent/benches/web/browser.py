"""A real Chromium without a screen, driven over its DevTools protocol (chromedevtools.github.io/devtools-protocol)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
START_S, ANSWER_S = 60.0, 60.0
ADDRESS = re.compile(rb"DevTools listening on (ws://\S+)")


class BrowserError(Exception):
    """The text is for people."""


def program() -> str:
    """Its path; "" where none is installed."""
    return next((path for path in map(shutil.which, NAMES) if path), "")


class Browser:
    """One page."""

    def __init__(self, socket: Any) -> None:
        """socket: a WebSocket of aiohttp."""
        self._socket = socket
        self.errors: list[str] = []  # of the page, as its console has them
        self._numbers = itertools.count(1)
        self._session = ""

    async def attach(self) -> None:
        """To a new page."""
        target = await self._send("Target.createTarget", url="about:blank")
        attached = await self._send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self._send(f"{domain}.enable")

    async def open(self, url: str, width: int = 1280, height: int = 800) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self._send("Emulation.setDeviceMetricsOverride", **size)
        await self._send("Page.navigate", url=url)

    async def prefer(self, scheme: str) -> None:
        """Colours: "light" or "dark"."""
        await self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def trust_any_certificate(self) -> None:
        """As a person does who accepts a box's own one."""
        await self._send("Security.setIgnoreCertificateErrors", ignore=True)

    async def freeze(self) -> None:
        """In the background; no timer and no event of the page runs."""
        await self._send("Page.setWebLifecycleState", state="frozen")

    async def thaw(self) -> None:
        """In the foreground again."""
        await self._send("Page.setWebLifecycleState", state="active")
        await self._send("Emulation.setFocusEmulationEnabled", enabled=True)

    async def value(self, script: str) -> Any:
        """Of a JavaScript expression, by way of JSON."""
        answer = await self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails'].get('text', '')}")
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """The first value that is true."""
        loop = asyncio.get_running_loop()
        end = loop.time() + ANSWER_S
        while not (value := await self.value(script)):
            if loop.time() > end:
                raise BrowserError(f"not within {ANSWER_S:g} s: {script}")
            await asyncio.sleep(0.05)
        return value

    async def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse, in pixels of the page; a click where both are the same."""
        await self._mouse("mouseMoved", start)
        await self._mouse("mousePressed", start)
        if start != end:
            await self._mouse("mouseMoved", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
            await self._mouse("mouseMoved", end)
        await self._mouse("mouseReleased", end)

    async def _mouse(self, kind: str, at: tuple[float, float]) -> None:
        pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        await self._send("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **pressed)

    async def type(self, text: str) -> None:
        """Into the field that has the focus."""
        await self._send("Input.insertText", text=text)

    async def press_enter(self) -> None:
        for kind in ("keyDown", "keyUp"):
            await self._send("Input.dispatchKeyEvent", type=kind, key="Enter", text="\r", windowsVirtualKeyCode=13)

    async def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode((await self._send("Page.captureScreenshot"))["data"])

    async def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **session})
        while True:
            message = await self._socket.receive(ANSWER_S)
            if message.type != aiohttp.WSMsgType.TEXT:
                raise BrowserError(f"{method}: the browser has ended")
            answer: dict[str, Any] = message.json()
            self._note(answer)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message', '')}")
                result: dict[str, Any] = answer["result"]
                return result

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what went wrong in the page."""
        content = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = content["exceptionDetails"]
            self.errors.append(str(details.get("exception", {}).get("description") or details.get("text")))
        elif event.get("method") == "Runtime.consoleAPICalled" and content["type"] == "error":
            self.errors.append(str([each.get("value", each.get("description")) for each in content["args"]]))
        elif event.get("method") == "Log.entryAdded" and content["entry"]["level"] == "error":
            self.errors.append(f"{content['entry']['text']} {content['entry'].get('url', '')}")


@asynccontextmanager
async def browser(folder: str) -> AsyncIterator[Browser]:
    """folder: for its profile. Raises BrowserError."""
    path = program()
    if not path:
        raise BrowserError("no Chromium is installed: apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run as root with one
    options = ["--headless=new", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={folder}", *sandbox]
    process = await asyncio.create_subprocess_exec(
        path, *options, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        address = await asyncio.wait_for(_address(process), START_S)
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=1 << 26) as socket:
            page = Browser(socket)
            await page.attach()
            yield page
    except asyncio.TimeoutError:
        raise BrowserError(f"{path} does not start within {START_S:g} s") from None
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr
    async for line in process.stderr:
        address = ADDRESS.search(line)
        if address:
            return address[1].decode()
    raise BrowserError("Chromium ended while it started")
