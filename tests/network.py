"""An actuator with keys on a TCP endpoint, and senders with keys of their own, over real CURVE sockets."""

import shutil
import time
from contextlib import contextmanager

import zmq

from agent import keys
from agent.benches.programs import free_port
from agent.build import make_host
from agent.commands.link import Address, Link
from agent.config.models import Config
from agent.data import Decision
from agent.ledger import Ledger

SAFE_AFTER_MS = 100.0


class Network:
    """`reflexd actuate` with one belt on the box `host`; the boxes a, b and stranger have keys, none is authorized."""

    def __init__(self, folder, address="0.0.0.0", **changes):
        self.folder = folder
        self.authorized = folder / "authorized"
        self.authorized.mkdir()
        for name in ("host", "a", "b", "stranger"):
            keys.make(folder / name, name)
        self.port = free_port()
        self.session = 0
        belt = {"device": {"driver": "actuator.sim"}, "rest": "run", "endpoint": f"tcp://{address}:{self.port}"}
        own = {"own": folder / "host" / "host.key_secret", "authorized": self.authorized}
        self.config = Config.model_validate(
            {"node": "host", "run_dir": folder, "realtime": False, "keys": own, "actuators": {"belt": belt}} | changes
        )
        self.host = make_host(self.config)
        self.host.start()

    @property
    def server(self):
        return self.host.servers[0]

    @property
    def counts(self):
        return self.server.counts

    @property
    def verbs(self):
        return [movement.verb for movement in list(self.server.driver.history)]

    def authorize(self, name, box=""):
        shutil.copy(self.folder / name / f"{name}.key", self.authorized / f"{box or name}.key")

    def revoke(self, box):
        (self.authorized / f"{box}.key").unlink()

    def curve(self, name, server="host"):
        return keys.curve(self.folder / name / f"{name}.key_secret", self.folder / server / f"{server}.key")

    @contextmanager
    def sender(self, curve, node="a/cam"):
        """A Sender with these keys, None for none, that commands as this node."""
        self.session += 1
        sender = Sender(self, curve, node, self.session)
        yield sender
        sender.close()

    def close(self):
        self.host.stop()
        assert not any(thread.is_alive() for thread in self.host.threads)


class Sender:
    """A lane's link, turned by calling it; its verbs are its own, so that the belt's history names it."""

    def __init__(self, network, curve, node, session):
        self.network = network
        self.node = node
        self.session = session
        self.number = 0
        self.context, self.ledger = zmq.Context(), Ledger(None, "cam", 1.0)
        address = Address("belt", f"tcp://127.0.0.1:{network.port}", SAFE_AFTER_MS, curve)
        self.link = Link(self.context, address, node, session, self.ledger)

    def __call__(self):
        """Send a new decision; True once one of them has moved the belt."""
        self.number += 1
        now = time.monotonic_ns()
        self.link.send(self.decision(now), now, 100_000, -1)
        self.link.socket.poll(20)
        self.link.collect(time.monotonic_ns())
        return any(verb.startswith(f"go-{self.session}-") for verb in self.network.verbs)

    def decision(self, now):
        return Decision(
            number=self.number,
            rule="r",
            actuator="belt",
            verb=f"go-{self.session}-{self.number}",
            arguments={},
            evidence=(),
            t_capture=now,
            deadline=0,
        )

    def moved_again(self):
        """Does a decision from now on move the belt?"""
        before = len(self.network.verbs)
        return lambda: self() and any(verb.startswith(f"go-{self.session}-") for verb in self.network.verbs[before:])

    def close(self):
        self.link.close()
        self.context.destroy(linger=0)
        self.ledger.close()
