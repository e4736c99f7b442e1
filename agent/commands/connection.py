"""A lane's socket to one actuator, and why it is not connected."""

from __future__ import annotations

import os

import zmq
from zmq.utils.monitor import recv_monitor_message

from agent.endpoints import is_ipc, is_ipv6
from agent.keys import Curve

RETRY_NS = 500_000_000
FORGET_NS = 3 * RETRY_NS
PENDING = 256
REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL

_EVENTS, _READABLE = zmq.EVENTS, int(zmq.POLLIN)  # an & with a member of an enum takes as long as the whole question

UNKNOWN_KEY = (
    "refused: unknown key: put this box's public key file into keys.authorized of the actuator's box as NODE.key"
)
WRONG_SERVER_KEY = "no handshake: 'server_key' is not the public key of the actuator's box, or that box has no 'keys'"
WANTS_KEYS = "no handshake: it wants keys: set 'keys' and the actuator's 'server_key'"


class Connection:
    """A DEALER that queues nothing for an absent peer and little for a slow one. Only the lane's thread uses it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, curve: Curve | None) -> None:
        self.endpoint = endpoint
        self.curve = curve
        self.failure = 0  # the newest event
        self.failed_at = 0
        self.ended = False  # ZeroMQ does not try again after a refusal
        self.retry_at = 0
        self.socket = _dealer(context, endpoint, curve)
        self.monitor: zmq.Socket[bytes] = self.socket.get_monitor_socket(REFUSED | FAILED)
        self.socket.connect(endpoint)

    def trouble(self, now: int) -> str:
        """Why no message can be sent, for the log. Connects again where ZeroMQ has given up."""
        self._read_events(now)
        if self.ended and now >= self.retry_at:
            self.ended, self.retry_at = False, now + RETRY_NS
            self.socket.disconnect(self.endpoint)
            self.socket.connect(self.endpoint)
        if not self.failure or now - self.failed_at > FORGET_NS:
            return self._absent()
        if self.failure == REFUSED:
            return UNKNOWN_KEY
        return WRONG_SERVER_KEY if self.curve else WANTS_KEYS

    def _read_events(self, now: int) -> None:
        """ZeroMQ's thread waits while a thousand events are unread; a lane that sends reads them."""
        while is_readable(self.monitor):
            self.failure, self.failed_at = int(recv_monitor_message(self.monitor)["event"]), now
            self.ended |= self.failure in (REFUSED, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)

    def _absent(self) -> str:
        path = self.endpoint.removeprefix("ipc://")
        if is_ipc(self.endpoint) and os.path.exists(path) and not os.access(path, os.W_OK):
            return f"this user may not write {path}: run the daemon as the user of 'reflexd actuate'"
        return f"no peer connected at {self.endpoint} (is 'reflexd actuate' running?)"

    def close(self, linger_ms: int) -> None:
        self._read_events(0)  # room in the queue, or ZeroMQ's thread and this one would wait for each other
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """A message can be received without waiting."""
    return bool(int(socket.get(_EVENTS)) & _READABLE)


def _dealer(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, curve: Curve | None) -> zmq.Socket[bytes]:
    """Not CONFLATE: with it a later message would overwrite a stop that was not read yet."""
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IPV6, is_ipv6(endpoint))
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.SNDHWM, 16)
    socket.setsockopt(zmq.RCVHWM, 2 * PENDING)
    socket.setsockopt(zmq.MAXMSGSIZE, 1024)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    if curve:
        socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = curve
    if endpoint.startswith("tcp"):
        # A pulled cable closes no connection: the kernel does, once what was sent stays unacknowledged for so long.
        # Not ZeroMQ's own heartbeats: libzmq 4.3.5 ends the process that receives one on a connection that broke while
        # its queue was full ("Assertion failed: !_io_error").
        socket.setsockopt(zmq.TCP_MAXRT, 600)
    return socket
