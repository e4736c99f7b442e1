"""A lane's commands to its actuators: one ZeroMQ socket for each, heartbeats, acknowledgements.

A heartbeat is the last command again with a newer sequence and capture time. So every message carries the state that
holds as of that capture, the next heartbeat replaces a lost message, and an actuator that restarts learns the state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import zmq

from agent.commands.link import NO_ROW, Address, Link
from agent.data import Decision
from agent.ledger import Ledger


class Outbox:
    """All links of one lane."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        addresses: Sequence[Address],
        node: str,
        session: int,
        lane_ledger: Ledger,
        sequences: Mapping[str, int] | None = None,
    ) -> None:
        """sequences: of each actuator, the newest that this lane has sent there in this session."""
        sent = sequences or {}
        self.links = {
            address.actuator: Link(context, address, node, session, lane_ledger, sent.get(address.actuator, 0))
            for address in addresses
        }
        self.all = list(self.links.values())
        # How long a lane may sleep before a heartbeat is due.
        self.wait_s = min((link.heartbeat_ns for link in self.all), default=100_000_000) / 2e9

    def send(self, decision: Decision, t_capture: int, ttl: int, row: int, late: bool = False) -> bool:
        """To the decision's actuator, now or not at all; see Link.send."""
        return self.links[decision.actuator].send(decision, t_capture, ttl, row, late)

    def heartbeat(self, now: int, t_capture: int, ttl: int, current: Callable[[str], Decision | None]) -> None:
        """Repeat the decision in force where nothing was sent for a quarter of safe_after_ms.

        Without a decision, or without a capture (t_capture is 0): a hello, so that the first command is proven.
        """
        for link in self.all:
            if now >= (link.due if t_capture else link.hello_due):
                decision = current(link.address.actuator) or link.in_force
                if decision is not None and t_capture:
                    link.send(decision, t_capture, ttl, NO_ROW)
                else:
                    link.hello(now)

    def wait_connected(self, timeout_s: float) -> None:
        """Wait for the connections before the first command; an absent actuator is reported at the first send."""
        end = time.monotonic() + timeout_s
        for link in self.all:
            link.socket.poll(max(0, int((end - time.monotonic()) * 1000)), zmq.POLLOUT)

    def hello(self, timeout_s: float) -> None:
        """Ask every connected actuator for what the first command must echo, and wait for the answers."""
        end = time.monotonic() + timeout_s
        for link in [link for link in self.all if link.hello(time.monotonic_ns())]:
            while not link.echo.is_fresh(time.monotonic_ns()):
                if not link.socket.poll(max(0, int((end - time.monotonic()) * 1000))):
                    break
                link.collect(time.monotonic_ns())

    def collect_other_clocks(self, now: int) -> None:
        """Before an inference: on another clock an acknowledgement proves less the longer it waits to be read."""
        for link in self.all:
            if link.other_clock:
                link.collect(now)

    def collect(self, now: int) -> None:
        for link in self.all:
            link.collect(now)

    def goodbye(self) -> None:
        """Leave without closing: the actuators do not wait for this lane until it sends again."""
        for link in self.all:
            link.goodbye()

    def close(self) -> None:
        for link in self.all:
            link.close()
