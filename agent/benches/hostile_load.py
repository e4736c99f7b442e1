"""One hostile program of `reflexd bench hostile`: a core's hog, idle peers or flooding peers of a TCP endpoint."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from typing import Any

import zmq

from agent.commands import wire
from agent.data import Command

PRIORITY = 60  # above every thread of reflexd
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)  # ZMTP 3.0, RFC 23
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
OPENED_AT_ONCE = 100  # below the backlog of the listening socket


def hog(core: int, priority: int) -> None:
    """Take a core. priority: of SCHED_FIFO; 0 for an ordinary program."""
    os.sched_setaffinity(0, [core])
    if priority:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    _begun()
    while True:
        pass


def idle(port: int, count: int) -> None:
    """Connections that say nothing: each second one not even the greeting of ZeroMQ's protocol."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    peers: list[socket.socket] = []
    for number in range(count):
        peer = socket.create_connection(("127.0.0.1", port))
        if number % 2:
            peer.sendall(GREETING + READY)
        peers.append(peer)
        if number % OPENED_AT_ONCE == 0:
            time.sleep(0.01)
    _begun()
    while True:
        time.sleep(60)


def flood(port: int, count: int) -> None:
    """Peers that send well-formed commands of a stranger as fast as they can."""
    context = zmq.Context()
    peers = []
    for _ in range(count):
        peer = context.socket(zmq.DEALER)
        peer.setsockopt(zmq.LINGER, 0)
        peer.connect(f"tcp://127.0.0.1:{port}")
        peers.append(peer)
    frame = wire.pack_command(_stranger())
    _begun()
    while True:
        for peer in peers:
            try:
                peer.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                continue


def _stranger() -> Command:
    now = time.monotonic_ns()
    names = {"node": "stranger/lane", "actuator": "robot", "verb": "go", "arguments": {}, "late": False}
    values: dict[str, Any] = {**dict.fromkeys(Command._fields, 1), **names}
    return Command(**{**values, "t_capture": now, "t_sent": now, "ttl": 1000})


def _begun() -> None:
    print("begun", flush=True)


if __name__ == "__main__":
    program, *numbers = sys.argv[1:]
    {"hog": hog, "idle": idle, "flood": flood}[program](*map(int, numbers))
