"""Senders without the right key flood and command; the right key is removed, and added again."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from agent import keys
from agent.benches.attacks.outcome import Outcome
from agent.benches.programs import free_port, spawn, start_host, stop
from agent.commands.link import NO_ROW, Address, Link
from agent.data import Decision
from agent.keys import Curve
from agent.ledger import Ledger

BOUND_MS = 2000.0  # from the removal of a key to the safe state
LET_IN_S, TURN_S, TTL_US = 5.0, 0.01, 500_000
SAFE_AFTER_MS = 100.0
FLOODING_PEERS = 5
HONEST, IMPOSTOR, STRANGER = "honest", "impostor", "stranger"


class _Sender(NamedTuple):
    """verb: its own, so that the device's record shows who moved it."""

    link: Link
    verb: str


def measure(times: int) -> Outcome:
    """A stranger floods and commands, an authorized box commands as another; `times` times the key is taken away."""
    safe_ms: list[float] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reflexd-keys-") as name:
        folder = Path(name)
        with _site(folder) as record:
            key = folder / "authorized" / "a.key"
            for number in range(times):
                removed = time.monotonic_ns()
                key.rename(folder / "a.key")
                safe = _wait_for(record, "safe", removed, BOUND_MS / 500)
                safe_ms.append((safe - removed) / 1e6 if safe else math.inf)
                added = time.monotonic_ns()
                (folder / "a.key").rename(key)
                if not _wait_for(record, HONEST, added, LET_IN_S):
                    failures.append(f"repetition {number}: not let in again within {LET_IN_S:g} s")
        applied = [movement["verb"] for movement in _movements(record)]
        failures += [f"{verb} applied {applied.count(verb)} times" for verb in (IMPOSTOR, STRANGER) if verb in applied]
    return Outcome("keys", times, 0, 0, safe_ms, BOUND_MS, failures)


@contextmanager
def _site(folder: Path) -> Iterator[Path]:
    """The actuator and all its senders, until the block ends; the device's record."""
    port, record = free_port(), folder / "robot.jsonl"
    path = folder / "keys.yaml"
    path.write_text(json.dumps(_configuration(folder, record, port)), encoding="utf-8")
    host = start_host(path)
    flood = spawn(["agent.benches.hostile_load", "flood", str(port), str(FLOODING_PEERS)], stdout=subprocess.DEVNULL)
    context, stopping = zmq.Context(), threading.Event()
    senders = list(_senders(context, folder, port))
    thread = threading.Thread(target=_send, args=(senders, stopping))
    thread.start()
    try:
        if not _wait_for(record, HONEST, 0, LET_IN_S):
            raise RuntimeError("the authorized sender commands nothing")
        yield record
    finally:
        stopping.set()
        thread.join()
        flood.kill()
        flood.wait()
        stop(host)
        context.destroy(linger=0)


def _configuration(folder: Path, record: Path, port: int) -> dict[str, Any]:
    """Boxes a and b are authorized; the actuator goes by what a commands."""
    authorized = folder / "authorized"
    authorized.mkdir()
    for name in ("host", "a", "b"):
        keys.make(folder / name, name)
    for name in ("a", "b"):
        shutil.copy(folder / name / f"{name}.key", authorized)
    robot = {
        "device": {"driver": "actuator.log", "path": str(record)},
        "rest": HONEST,
        "verbs": [HONEST, IMPOSTOR, STRANGER],
        "endpoint": f"tcp://127.0.0.1:{port}",
        "safe_after_ms": SAFE_AFTER_MS,
        "senders": ["a/lane"],
    }
    own = {"own": str(folder / "host" / "host.key_secret"), "authorized": str(authorized)}
    return {"node": "host", "run_dir": str(folder), "keys": own, "actuators": {"robot": robot}}


def _senders(context: zmq.Context[zmq.Socket[bytes]], folder: Path, port: int) -> Iterator[_Sender]:
    """All three command as a/lane, each with a session of its own."""
    server = keys.read(folder / "host" / "host.key")[0]
    curves = {
        HONEST: Curve(*keys.read_secret(folder / "a" / "a.key_secret"), server),
        IMPOSTOR: Curve(*keys.read_secret(folder / "b" / "b.key_secret"), server),
        STRANGER: Curve(*zmq.curve_keypair(), server),
    }
    for session, (verb, curve) in enumerate(curves.items()):
        address = Address("robot", f"tcp://127.0.0.1:{port}", SAFE_AFTER_MS, curve)
        yield _Sender(Link(context, address, "a/lane", session + 1, Ledger(None, verb, 1.0)), verb)


def _send(senders: list[_Sender], stopping: threading.Event) -> None:
    """Every sender repeats its decision a hundred times a second."""
    while not stopping.wait(TURN_S):
        for sender in senders:
            now = time.monotonic_ns()
            sender.link.send(_decision(sender.verb, now), now, TTL_US, NO_ROW)
            sender.link.collect(now)
    for sender in senders:
        sender.link.close()


def _decision(verb: str, now: int) -> Decision:
    return Decision(
        number=1, rule="", actuator="robot", verb=verb, arguments={}, evidence=(), t_capture=now, deadline=0
    )


def _movements(record: Path) -> list[dict[str, Any]]:
    text = record.read_text() if record.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _wait_for(record: Path, verb: str, after_ns: int, within_s: float) -> int:
    """The time of the device's first `verb` after that moment, CLOCK_MONOTONIC ns; 0 where it does not come."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        for movement in _movements(record):
            if movement["verb"] == verb and movement["t_ns"] > after_ns:
                return int(movement["t_ns"])
        time.sleep(0.02)
    return 0
