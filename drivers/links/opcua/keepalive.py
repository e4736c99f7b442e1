"""Keeps an OPC UA session and the keys of its channel from running out, and notices a server that is gone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from drivers.base import DeviceFault

RENEW_SHARE = 0.75  # OPC 10000-4, OpenSecureChannel: a client renews it after 75 % of its lifetime
MIN_TICK_S = 0.05
MISSES = 3  # questions without an answer in time, after which an idle server counts as gone
SERVER_STATE = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_State))
RUNNING = 0  # of ServerState


async def keep_alive(client: Client, where: str, every_s: float, open_s: float) -> None:
    """Until an error: DeviceFault of a server that no longer runs, or asyncua's own."""
    opened, misses = time.monotonic(), 0
    while True:
        lifetime_s = client.secure_channel_timeout / 1e3
        await asyncio.sleep(max(MIN_TICK_S, min(every_s, lifetime_s * RENEW_SHARE / 2)))
        if time.monotonic() - opened > lifetime_s * RENEW_SHARE:
            await _renew(client, open_s)
            opened = time.monotonic()
        try:
            values = await client.uaclient.read_attributes([SERVER_STATE], AttributeIds.Value)
        except asyncio.TimeoutError:  # of a command's length, and nobody waits for this answer
            misses += 1
            if misses >= MISSES:
                raise
            continue
        misses, state = 0, values[0].Value.Value if values[0].Value else None
        if state not in (RUNNING, None):  # some servers do not let every user read it
            raise DeviceFault(f"{where}: does not run, state {state}: start it")


async def _renew(client: Client, open_s: float) -> None:
    """It takes as long as connecting; a command that waits meanwhile has its own time limit."""
    protocol: Any = client.uaclient.protocol
    answer_s, protocol.timeout = protocol.timeout, open_s
    await client.open_secure_channel(renew=True)
    client.uaclient.revolve_security_token()
    protocol.timeout = answer_s
