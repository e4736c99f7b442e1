"""What the HTTP servers of this program share: an address that may come late, and a bounded number of connections."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable

from aiohttp import web

RETRY_S = 2.0  # for an address that is taken, or not there yet
COUNT_S = 5.0


async def serve(
    application: web.Application,
    host: str,
    port: int,
    log: logging.Logger,
    max_connections: int,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Until cancelled. An address that cannot be used is reported once, and tried again until it can.

    max_connections: beyond, the oldest is closed, which may wait for a request for ever.
    """
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    server = runner.server
    assert server is not None

    accepted = asyncio.Event()

    def close_oldest() -> None:
        for connection in server.connections[:-max_connections]:
            connection.force_close()

    def accept() -> asyncio.Protocol:
        close_oldest()
        accepted.set()
        return server()

    try:
        await _listen(accept, host.strip("[]"), port, log, tls)
        while True:  # those of one burst are accepted together, before any of them is counted
            await accepted.wait()
            accepted.clear()
            await asyncio.sleep(COUNT_S)
            close_oldest()
    finally:
        await runner.cleanup()


async def _listen(
    accept: Callable[[], asyncio.Protocol], host: str, port: int, log: logging.Logger, tls: ssl.SSLContext | None
) -> None:
    logged = ""
    while True:
        try:
            await asyncio.get_running_loop().create_server(accept, host, port, ssl=tls)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            if reason != logged:
                log.warning("cannot listen at %s port %d: %s; trying again until it can", host, port, reason)
            logged = reason
            await asyncio.sleep(RETRY_S)
            continue
        if logged:
            log.warning("listens at %s port %d", host, port)
        return
