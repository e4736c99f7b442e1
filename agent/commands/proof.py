"""Proof that a command is fresh, both ends: it echoes an acknowledgement that its actuator sent a moment ago.

A command that echoes an acknowledgement was made after it. So the actuator's time in that acknowledgement, plus the
time for which the sender held it, is the earliest time at which the command can have been sent: on the actuator's own
clock, whatever the sender's clock shows. Delay on the way there or back makes it look older, never younger.
"""

from __future__ import annotations

import os
from hashlib import blake2s

from agent.data import Ack, Command

PROOF_NS = 300_000_000  # an acknowledgement proves nothing after this time
KEPT_NS = 100_000_000  # the sender echoes a newer one after this time
DRIFT_NS = 1_000_000  # the sender's clock may run faster than ours by this within PROOF_NS


class Nonces:
    """The actuator's end.

    A nonce is a keyed hash of the sender and of the actuator's time (as in DTLS's stateless cookie, RFC 6347 section
    4.2.1). So nothing is remembered of any sender, a flood of strangers displaces none, and a restart voids them all.
    """

    def __init__(self) -> None:
        self.key = os.urandom(16)

    def nonce(self, node: str, session: int, t_ack: int) -> int:
        """32 bits, for an acknowledgement to this sender at this time."""
        sender = b"%d %d %b" % (t_ack, session, node.encode())
        return int.from_bytes(blake2s(sender, digest_size=4, key=self.key).digest(), "big")

    def earliest(self, command: Command, now: int) -> int | None:
        """Earliest time at which it can have been sent, on this clock; None where it proves nothing."""
        if not 0 <= now - command.t_echo <= PROOF_NS:
            return None
        if command.nonce != self.nonce(command.node, command.session, command.t_echo):
            return None
        earliest = command.t_echo + command.held * 1000
        return min(earliest, now) if earliest <= now + DRIFT_NS else None


class Echo:
    """The sender's end: what its commands echo.

    Of the acknowledgements of the last KEPT_NS the one that came back fastest: the others prove a command younger than
    a longer time only.
    """

    def __init__(self) -> None:
        self.nonce = 0
        self.t_ack = 0
        self.t_read = 0  # on our clock

    def take(self, ack: Ack, now: int, demanded: bool) -> None:
        """demanded: the actuator does not know the one in use, for instance after its restart."""
        if demanded or now - self.t_read > KEPT_NS or now - ack.t_ack <= self.t_read - self.t_ack:
            self.nonce, self.t_ack, self.t_read = ack.nonce, ack.t_ack, now

    def is_fresh(self, now: int) -> bool:
        return self.t_read > 0 and now - self.t_read < KEPT_NS
