"""Lines of JSON between the daemon and a worker, over a pair of sockets that only they have: secrets touch no disk."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from agent.errors import ConfigError, MissingPackage, PackageError, Pending

Message = dict[str, Any]
MAX_BYTES = 1 << 24  # of a line: a configuration, the status of many lanes


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, message: Message) -> None:
        """Without waiting; nothing happens where the other end has closed."""
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> Message | None:
        """None once the other end has closed."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):  # a line without end
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    async def drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError:
            pass  # the other end has closed

    def close(self) -> None:
        self._writer.close()


async def open_channel(end: socket.socket) -> Channel:
    return Channel(*await asyncio.open_connection(sock=end, limit=MAX_BYTES))


def packed_error(error: Exception) -> Message:
    """What a person must correct, or a disk that is late, as plain values; see `heals` in errors.py."""
    if isinstance(error, ConfigError):
        return {"mistakes": [[mistake, isinstance(mistake, Pending)] for mistake in error.mistakes]}
    if isinstance(error, PackageError):
        return {"package": str(error), "missing": isinstance(error, MissingPackage), "cause": _cause(error.__cause__)}
    assert isinstance(error, OSError)
    return {"cause": _cause(error)}


def _cause(error: BaseException | None) -> list[Any] | None:
    if not isinstance(error, OSError):
        return None
    return [error.errno, error.strerror or str(error), error.filename and str(error.filename)]


def unpacked_error(packed: Message) -> Exception:
    cause = packed.get("cause")
    system = OSError(cause[0], cause[1], cause[2]) if cause else None
    if "mistakes" in packed:
        return ConfigError([Pending(mistake) if pending else mistake for mistake, pending in packed["mistakes"]])
    if "package" not in packed:
        return system or OSError(str(packed))
    error = (MissingPackage if packed["missing"] else PackageError)(packed["package"])
    error.__cause__ = system
    return error
