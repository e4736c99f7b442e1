"""One browser that watches one lane: it gets what it keeps up with, and is never waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from aiohttp import WSMsgType, web

MAX_UNANSWERED = 2  # messages of pictures or values that it has not drawn yet
MAX_TEXTS = 8
GONE_S = 20.0  # without an answer to a ping


class Viewer:
    """The server's end of its WebSocket."""

    def __init__(self, rate_hz: float, width: int) -> None:
        """rate_hz: pictures it wants a second. width: of them, in pixels; 0: as the lane has them."""
        self.width = width
        self._gap_s = 1.0 / rate_hz
        self._due = 0.0
        self._unanswered = 0
        self._texts: deque[str] = deque(maxlen=MAX_TEXTS)
        self._message: bytes | None = None
        self._waiting = asyncio.Event()

    def ready(self, now: float) -> bool:
        """It has drawn what it got, and wants the next. now: s of the event loop's clock."""
        return self._unanswered < MAX_UNANSWERED and self._message is None and now >= self._due

    def offer(self, message: bytes, now: float) -> None:
        self._due = max(self._due + self._gap_s, now)
        self._message = message
        self._waiting.set()

    def send(self, text: str) -> None:
        """Before the next message."""
        self._texts.append(text)
        self._waiting.set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Until it goes."""
        socket = web.WebSocketResponse(heartbeat=GONE_S, max_msg_size=64, compress=False)
        await socket.prepare(request)
        sender = asyncio.create_task(self._send(socket))
        try:
            async for message in socket:
                if message.type != WSMsgType.TEXT:
                    break
                self._unanswered = max(0, self._unanswered - 1)
        finally:
            sender.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await sender
        return socket

    async def _send(self, socket: web.WebSocketResponse) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self._texts:
                await socket.send_str(self._texts.popleft())
            if self._message is not None:
                message, self._message = self._message, None
                self._unanswered += 1
                await socket.send_bytes(message)
