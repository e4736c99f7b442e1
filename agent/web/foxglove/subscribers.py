"""Whether a client is subscribed to anything: while none is, this process rests."""

from __future__ import annotations

import asyncio

from foxglove.websocket import ChannelView, Client, ServerListener


class Subscribers(ServerListener):
    """The SDK calls it on threads of its own. To be made in the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscriptions: set[tuple[int, int]] = set()
        self._any = asyncio.Event()

    def on_subscribe(self, client: Client, channel: ChannelView) -> None:
        self._loop.call_soon_threadsafe(self._add, (client.id, channel.id))

    def on_unsubscribe(self, client: Client, channel: ChannelView) -> None:
        self._loop.call_soon_threadsafe(self._remove, (client.id, channel.id))

    def _add(self, subscription: tuple[int, int]) -> None:
        self._subscriptions.add(subscription)
        self._any.set()

    def _remove(self, subscription: tuple[int, int]) -> None:
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            self._any.clear()

    async def present(self, limit_s: float | None = None) -> bool:
        """Wait for a subscription; False where none has come within limit_s."""
        try:
            await asyncio.wait_for(self._any.wait(), limit_s)
        except asyncio.TimeoutError:
            return False
        return True
