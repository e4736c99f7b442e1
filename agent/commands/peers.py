"""Who sent a message to an actuator, and whether that sender may speak for the node it names."""

from __future__ import annotations

import os
import socket
import struct
from collections import OrderedDict
from typing import Protocol

import zmq

from agent.commands.authentication import AuthorizedKeys
from agent.endpoints import is_ipc, is_local

REMEMBERED = 1024  # peers whose user is known
ROOT = 0
# linux/sock_diag.h, linux/inet_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, REQUEST, ANY = 4, 20, 1, 0xFFFFFFFF
UID_AT = 16 + 4 + 48 + 12  # netlink header; family, state, timer, retransmissions; addresses; expires and two queues


class Peers(Protocol):
    """Decides on every message; costs one lookup."""

    def refusal(self, peer: bytes, frame: zmq.Frame, node: str) -> str:
        """Why this sender may not speak for the node ("box/lane"); empty where it may. peer: its routing id."""


class KeyedPeers:
    """CURVE peers: their key must be authorized now, and for the node's box."""

    def __init__(self, authorized: AuthorizedKeys) -> None:
        self.authorized = authorized

    def refusal(self, peer: bytes, frame: zmq.Frame, node: str) -> str:
        boxes = self.authorized.boxes(frame.get("User-Id"))
        if node.partition("/")[0] in boxes:
            return ""
        if not boxes:
            return f"refused: unknown key: it is no longer in {self.authorized.folder}"
        return f"refused: the key of {', '.join(sorted(boxes))} may not command as {node}"


class LocalPeers:
    """Peers of this box without keys: processes of this user or of root, by what the kernel says of their socket."""

    def __init__(self, endpoint: str) -> None:
        self.user_of = _unix_user if is_ipc(endpoint) else _tcp_user
        self.allowed = {ROOT, os.geteuid()}
        self.known: OrderedDict[bytes, str] = OrderedDict()

    def refusal(self, peer: bytes, frame: zmq.Frame, node: str) -> str:
        refusal = self.known.get(peer)
        if refusal is None:
            refusal = self.known[peer] = self._refusal(frame)
            while len(self.known) > REMEMBERED:
                self.known.popitem(last=False)
        return refusal

    def _refusal(self, frame: zmq.Frame) -> str:
        try:
            user = self.user_of(frame)
        except (OSError, ValueError, IndexError, struct.error, zmq.ZMQError) as error:
            return f"refused: the user of its process is not known ({error}): set 'keys', or use an ipc endpoint"
        if user in self.allowed:
            return ""
        return (
            f"refused: its process belongs to user {user}, this one to {os.geteuid()}: run both as one, or set 'keys'"
        )


class AnyPeers:
    """Without keys on a network, which `insecure: true` allows."""

    def refusal(self, peer: bytes, frame: zmq.Frame, node: str) -> str:
        return ""


def peers_of(endpoint: str, authorized: AuthorizedKeys | None) -> Peers:
    """authorized: None where this box has no keys."""
    if authorized and not is_ipc(endpoint):
        return KeyedPeers(authorized)
    return LocalPeers(endpoint) if is_local(endpoint) else AnyPeers()


def _unix_user(frame: zmq.Frame) -> int:
    """ZeroMQ adds ":uid:gid:pid" (SO_PEERCRED) to the address of a Unix socket."""
    return int(str(frame.get("Peer-Address")).split(":")[-3])


def _tcp_user(frame: zmq.Frame) -> int:
    """The owner of the other end of a TCP connection inside this box."""
    with socket.socket(fileno=os.dup(int(frame.get(zmq.SRCFD)))) as connection:
        family, here, there = connection.family, connection.getsockname(), connection.getpeername()
    return user_of_tcp(family, there[:2], here[:2])


def user_of_tcp(family: int, source: tuple[str, int], destination: tuple[str, int]) -> int:
    """The user id that owns the socket bound to `source` and connected to `destination`. Raises OSError without one."""
    addresses = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (source, destination))
    identity = struct.pack("!HH", source[1], destination[1]) + addresses + struct.pack("=III", 0, ANY, ANY)
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, ANY) + identity
    header = struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(0.1)
        netlink.send(header + body)
        answer = netlink.recv(4096)
    if struct.unpack_from("=IH", answer)[1] != SOCK_DIAG_BY_FAMILY:
        raise OSError("the kernel knows no such connection")
    return int(struct.unpack_from("=I", answer, UID_AT)[0])
