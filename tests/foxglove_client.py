"""A client of the WebSocket protocol `foxglove.sdk.v1`, written from the protocol, without the SDK."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.waiting import DEADLINE_S

MESSAGE = struct.Struct("<BIQ")  # opcode 1, subscription, log time in ns
Message = tuple[int, bytes]


class Client:
    """One connection. channels: by topic, as advertised and not withdrawn."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.channels: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[Message]] = {}

    async def run(self, topics: tuple[str, ...], enough: Callable[[], object]) -> None:
        """Subscribes to the topics as they are advertised, until it has enough."""
        ids: dict[int, str] = {}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{self.port}", protocols=("foxglove.sdk.v1",)) as socket,
        ):
            assert socket.protocol == "foxglove.sdk.v1"
            while not enough():
                message = await socket.receive(DEADLINE_S)
                if message.type == aiohttp.WSMsgType.BINARY:
                    opcode, subscription, log_time = MESSAGE.unpack_from(message.data)
                    assert opcode == 1
                    self.messages.setdefault(ids[subscription], []).append((log_time, message.data[MESSAGE.size :]))
                    continue
                assert message.type == aiohttp.WSMsgType.TEXT, message
                self._note(json.loads(message.data))
                new = [topic for topic in topics if topic in self.channels and topic not in ids.values()]
                for topic in new:
                    ids[self.channels[topic]["id"]] = topic
                pairs = [{"id": self.channels[topic]["id"], "channelId": self.channels[topic]["id"]} for topic in new]
                if pairs:
                    await socket.send_json({"op": "subscribe", "subscriptions": pairs})

    def _note(self, content: dict[str, Any]) -> None:
        for channel in content.get("channels", []):
            self.channels[channel["topic"]] = channel
        for number in content.get("channelIds", []):
            self.channels = {topic: each for topic, each in self.channels.items() if each["id"] != number}


def advertised(port: int, *expected: str) -> dict[str, dict[str, Any]]:
    """All channels, once the expected ones are among them."""
    client = Client(port)
    asyncio.run(client.run((), lambda: set(expected) <= client.channels.keys()))
    return client.channels


def received(port: int, *topics: str, count: int = 1) -> dict[str, list[Message]]:
    client = Client(port)
    asyncio.run(client.run(topics, lambda: all(len(client.messages.get(topic, ())) >= count for topic in topics)))
    return client.messages


def fields(message: bytes) -> dict[int, list[Any]]:
    """Of a protobuf message: number -> values, bytes where they are of a length."""
    content: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
        elif key & 7 == 1:
            value, at = struct.unpack_from("<d", message, at)[0], at + 8  # type: ignore[assignment]
        else:
            assert key & 7 == 2, key
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length  # type: ignore[assignment]
        content.setdefault(key >> 3, []).append(value)
    return content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
