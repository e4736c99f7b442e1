"""A vcan interface for actuator.can: the kernel is the counterpart. Needs root and the module vcan."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAME = "rxvcan{}"
FRAME = struct.Struct("=IB3x8s")  # struct can_frame of linux/can.h
CAN_ID = 0x123


def reason() -> str:
    """Why this machine cannot; empty where it can."""
    try:
        socket.socket(socket.PF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
    except OSError as error:
        return f"this kernel has no SocketCAN (modprobe can_raw): {error.strerror}"
    try:
        with interface():
            return ""
    except OSError as error:
        return str(error)


@contextmanager
def interface() -> Iterator[str]:
    """A vcan interface of its own. Raises OSError where it cannot be made."""
    name = NAME.format(os.getpid())
    _ip("link", "add", "dev", name, "type", "vcan")
    try:
        _ip("link", "set", name, "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    try:
        ended = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise OSError(errno.ENOENT, f"the program ip: {error}") from error
    if ended.returncode:
        raise OSError(errno.EOPNOTSUPP, f"no vcan interface (root? modprobe vcan): {ended.stderr.strip()}")


def driver_options(channel: str) -> dict[str, Any]:
    """Of actuator.can: one frame a command, acknowledged, without cycles that would disturb the timing."""
    frames = {verb: [{"id": CAN_ID, "data": data}] for verb, data in (("on", "01"), ("off", "00"))}
    return {"channel": channel, "verbs": frames, "safe": "off", "cycle_ms": 0, "timeout_ms": 2000}


@contextmanager
def server() -> Iterator[dict[str, Any]]:
    """Yields the driver's options."""
    with interface() as name:
        yield driver_options(name)


@contextmanager
def bare(options: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """What the driver does, by bare calls: send a frame, wait until the socket has it back.

    options: those that `server` yields.
    """
    with socket.socket(socket.PF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as can:
        can.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_RECV_OWN_MSGS, 1)
        can.bind((options["channel"],))
        frame = FRAME.pack(CAN_ID, 1, b"\1".ljust(8, b"\0"))
        ready = select.poll()
        ready.register(can, select.POLLIN)

        def send() -> None:
            can.send(frame)
            ready.poll(1000)
            can.recv(FRAME.size)

        yield send
