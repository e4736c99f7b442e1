"""A session with an OPC UA server for blocking callers: asyncua on an event loop in a thread of its own.

Not asyncua.sync: a call of it that times out goes on in the loop, and may be carried out later.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaStatusCodeError

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.opcua.errors import explain, no_answer
from drivers.links.opcua.keepalive import keep_alive
from drivers.links.opcua.options import ServerOptions, parse_node
from drivers.links.opcua.protocol import make_client
from drivers.links.opcua.security import apply_security, refuse_clear_password

Result = TypeVar("Result")
CLOSE_S = 0.05  # for a farewell: a server allows few sessions, and keeps one that said none until it times out
JOIN_S = 0.05
CHANNEL_MS = 3_600_000  # of the security token; the server may shorten it
MIN_SESSION_MS = 10_000
IDLE = "idle"
NAMESPACES = ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray))
NO_LINGER = struct.pack("ii", 1, 0)  # closing discards what is not sent yet, and resets the connection

# Whatever asyncua logs is in the error that the driver raises, and a lane logs that once.
if logging.getLogger("asyncua").level == logging.NOTSET:
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)

_held: dict[str, threading.Thread] = {}  # the newest closed one of each server; a name server can hold it for 30 s


class Session:
    """One connection, used once: after an error it is closed and a new one is made, so nothing in it gets old."""

    def __init__(self, options: ServerOptions, keepalive_ms: float, lost: Callable[[DeviceError], None]) -> None:
        """lost: called at most once, in the thread of the loop, when the session has ended by itself."""
        self.options = options
        self.where = options.url
        self.keepalive_s = keepalive_ms / 1e3
        self.on_lost = lost
        self.lost: DeviceError | None = None
        self.step = IDLE
        self.tasks: list[asyncio.Task[None]] = []
        self.transport: Any = None  # asyncua's
        self.namespaces: list[str] = []
        self.client: Client | None = None
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: None)  # of tasks that a lost connection ended
        self.thread = threading.Thread(target=self._run_loop, name=f"opcua {self.where}"[:15], daemon=True)

    def open(self, limit_s: float, answer_s: float) -> None:
        """answer_s: of every request from then on. Raises DeviceError, and leaves nothing half open."""
        end = time.monotonic() + limit_s
        held = _held.get(self.where)
        if held is not None:
            held.join(limit_s)
        if held is not None and held.is_alive():
            self.close()
            raise DeviceTimeout(f"{self.where}: its name is still being looked up: write its IP address")
        try:
            client = make_client(self.where, limit_s, self._ended)
            client.session_timeout = max(MIN_SESSION_MS, int(4e3 * self.keepalive_s))
            client.secure_channel_timeout = CHANNEL_MS
            apply_security(client, self.options)
            self.transport = client.uaclient
            self.thread.start()
            self.run(lambda: self._start(client, answer_s), end - time.monotonic(), "connecting")
            self.client = client
            self.spawn(lambda: keep_alive(client, self.where, self.keepalive_s, limit_s))
        except DeviceError:
            self.close()
            raise

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]], limit_s: float, step: str) -> Result:
        """The result of `work` on the loop, within limit_s whatever the server does; else the connection is aborted.

        step: what is being done, for the message. Raises DeviceError.
        """
        self.step = step
        future = asyncio.run_coroutine_threadsafe(self._explained(work), self.loop)
        try:
            return future.result(max(0.0, limit_s))
        except concurrent.futures.TimeoutError:
            error = no_answer(self.options, self.step, f" within {1e3 * limit_s:.0f} ms")
            self._end(error)  # before it is cancelled: then it does not even begin where the loop was held up
            future.cancel()
            raise error from None
        finally:
            self.step = IDLE

    def node(self, name: str) -> ua.NodeId:
        """Its id; a namespace URI is looked up in the server's table. Raises DeviceFault."""
        node = parse_node(name)
        uri = getattr(node, "NamespaceUri", None)
        if uri is None:
            return node
        if uri not in self.namespaces:
            raise DeviceFault(f"{self.where}: has no namespace '{uri}', only {', '.join(self.namespaces)[:300]}")
        index = self.namespaces.index(uri)
        return ua.NodeId(node.Identifier, ua.Int16(index), node.NodeIdType)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A task on the loop that ends with the session; its error ends the session."""

        async def guarded() -> None:
            try:
                await self._explained(work)
            except DeviceError as error:
                self._lose(error)

        self.loop.call_soon_threadsafe(lambda: self.tasks.append(self.loop.create_task(guarded())))

    def close(self) -> None:
        """Within CLOSE_S + JOIN_S. A thread that a name server holds ends later, by itself."""
        if not self.thread.is_alive():
            if not self.loop.is_running() and not self.loop.is_closed():
                self.loop.close()
            return
        client = self.client
        if client is not None and self.lost is None:
            with suppress(DeviceError):
                self.run(lambda: self._farewell(client), CLOSE_S, "closing the session")
        self._end(DeviceMissing(f"{self.where}: not open"))
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(JOIN_S)
        _held[self.where] = self.thread

    async def _start(self, client: Client, answer_s: float) -> None:
        await self._connect(client)
        self.step = "opening the secure channel"
        await client.open_secure_channel()
        self.step = "creating a session"
        await client.create_session()
        refuse_clear_password(client, self.options)
        self.step = "logging in"
        await client.activate_session(self.options.user or None, self.options.password.get_secret_value() or None)
        self.step = "reading its namespaces"
        values = await client.uaclient.read_attributes([NAMESPACES], AttributeIds.Value)
        self.transport.protocol.timeout = answer_s  # of each request, and the hint to the server
        self.namespaces = [str(uri) for uri in (values[0].Value.Value if values[0].Value else None) or []]

    async def _connect(self, client: Client) -> None:
        # not through the loop: its resolver's threads would hold the end of this process for 30 s
        addresses = socket.getaddrinfo(*self.options.address, type=socket.SOCK_STREAM)
        for number, (_, _, _, _, address) in enumerate(addresses, 1):
            try:
                await client.uaclient.connect_socket(str(address[0]), int(address[1]))
                break
            except OSError:
                if number == len(addresses):
                    raise
        self.step = "greeting it"
        await client.send_hello()

    async def _farewell(self, client: Client) -> None:
        await client.uaclient.close_session(True)
        await client.uaclient.close_secure_channel()

    async def _explained(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """A refusal leaves the session as it is; after any other error nobody knows what the server has done."""
        if self.lost:
            raise self.lost
        try:
            return await work()
        except DeviceError:
            raise
        except Exception as error:  # the bytes of the peer decide which one asyncua ends with
            explained = explain(self.options, self.step, error, self._invalid)
            if not isinstance(error, UaStatusCodeError) or not isinstance(explained, DeviceFault):
                self._end(explained)
            raise explained from error

    @property
    def _invalid(self) -> str:
        return str(getattr(self.transport and self.transport.protocol, "invalid", ""))

    def _ended(self) -> None:
        """The connection is closed."""
        if self.client is not None:
            self._lose(explain(self.options, self.step, ConnectionError(), self._invalid))

    def _lose(self, error: DeviceError) -> None:
        if self.lost is None:
            self._end(error)
            self.on_lost(error)

    def _end(self, error: DeviceError) -> None:
        """From any thread. No byte that waits here is sent any more: a command must not arrive late."""
        self.lost = self.lost or error
        with suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        protocol = self.transport and self.transport.protocol
        transport = protocol and protocol.transport
        if transport is None:
            return
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
