"""Plain viewers at idle priority: they draw nothing, and answer each message at once. `... URL NUMBER`, until ended."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp


async def _view(session: aiohttp.ClientSession, url: str) -> None:
    async with session.ws_connect(url) as socket:
        print("watching", flush=True)
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                await socket.send_str("ok")


async def main(url: str, number: int) -> None:
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(_view(session, url) for _ in range(number)))


if __name__ == "__main__":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
