"""`reflexd actuate`: hosts actuator drivers, one thread and one socket each."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator

from agent import keys, realtime, wire
from agent.config import Config
from agent.guard import Bounds, Guard
from agent.leaving import Leave
from agent.lockfile import lock
from agent.mistakes import is_local
from agent.post import STUCK_NS, Post
from drivers import base as drivers
from drivers.base import Actuator

log = logging.getLogger("reflexd.actuate")


class Host:
    """All actuators of a config that have a device here."""

    def __init__(self, config: Config, only: Iterable[str] = ()) -> None:
        """Raises OSError when an address cannot be bound or a key file not be read."""
        self.config = config
        chosen = set(only) or {name for name, one in config.actuators.items() if one.device}
        self.contexts: list[zmq.Context[zmq.Socket[bytes]]] = []
        self.porters: list[ThreadAuthenticator] = []
        self.locks: list[lock] = []
        self.cores = [realtime.place(number, [], config.realtime) for number in range(len(chosen))]
        self.posts = [self.post(name, cores) for name, cores in zip(sorted(chosen), self.cores)]
        self.threads = [
            threading.Thread(target=self.serve, args=(post, cores), name=post.name, daemon=True)
            for post, cores in zip(self.posts, self.cores)
        ]
        self.failed = False

    def post(self, name: str, cores: list[int]) -> Post:
        one, endpoint = self.config.actuators[name], self.config.endpoint(name)
        assert one.device is not None
        module = drivers.load(one.device.driver)
        driver: Actuator = module.Driver(module.Options.model_validate(one.device.options), name)
        verbs = frozenset(one.verbs or driver.verbs)
        bounds = Bounds(frozenset(self.config.senders(name)), int(one.safe_after_ms * 1e6), verbs, one.limits)
        context = realtime.context(self.config.realtime, cores)
        self.contexts.append(context)
        if not is_local(endpoint) and self.config.keys:
            self.porters.append(keys.porter(context, self.config.keys))
        if endpoint.startswith("ipc://"):
            # A second host would take the socket's name away from the first without a word.
            self.locks.append(lock(Path(endpoint[6:] + ".lock"), f"another 'reflexd actuate' already serves {endpoint}"))
        socket = bind(context, endpoint, self.config)
        log.info("actuator %s (%s) listens at %s", name, one.device.driver, endpoint)
        return Post(name, driver, Guard(name, bounds, wire.clock_id()), socket)

    def serve(self, post: Post, cores: list[int]) -> None:
        realtime.thread(cores, self.config.realtime, realtime.ACTUATOR_PRIORITY)
        try:
            post.run()
        except Exception:
            # A bug. The device was made safe on the way out; the others go safe when the process ends.
            log.exception("actuator %s: a bug in its thread", post.name)
            self.failed = True

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        for post in self.posts:
            post.stopping.set()
        for thread in self.threads:
            thread.join(2.0)
        for porter in self.porters:
            porter.stop()
        for context in self.contexts:
            context.destroy(linger=0)
        for held in self.locks:
            held.release()

    def stuck(self) -> str:
        """Name of an actuator whose driver does not return, or nothing."""
        now = time.monotonic_ns()
        return next((p.name for p in self.posts if p.busy_since and now - p.busy_since > STUCK_NS), "")


def bind(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, config: Config) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, 4096)  # ZeroMQ drops the peer of a longer one
    socket.setsockopt(zmq.RCVHWM, 64)
    socket.setsockopt(zmq.SNDHWM, 64)
    if not is_local(endpoint) and config.keys:
        keys.serve(socket, config.keys)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise OSError(error.errno, f"cannot listen at {endpoint}: {error.strerror}") from error
    return socket


def run(config: Config, only: Iterable[str], leave: Leave) -> int:
    """Serve until it is time to leave; the exit code."""
    host = Host(config, only)
    locked = realtime.lock_memory()
    if not locked.on:
        log.warning("%s is off: %s", locked.name, locked.note)
    realtime.settle()  # or the collector walks all modules between two commands: 12 to 17 ms were measured
    host.start()
    while not leave.wait(0.1):
        stuck = host.stuck()
        if stuck:
            # Not the log: its thread would be gone before it has written this.
            print(
                f"actuator {stuck}: its driver has not returned for over 1 s; ending for a restart",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)
        if host.failed:
            break
    host.stop()
    for post in host.posts:
        log.info("actuator %s: %s", post.name, summary(post.counts))
    return 1 if host.failed else 0


def summary(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no commands"
