"""Foreign messages at a working actuator: refused, logged once for each kind, counted; its own lane is unaffected."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import zmq

from agent.commands import wire
from agent.data import Ack, Command
from tests.processes import Cell, Process, arm, robot
from tests.waiting import DEADLINE_S, until

SEED = 7


@contextmanager
def sockets(endpoint: str, kind: int) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(kind)
    try:
        (socket.bind if kind == zmq.ROUTER else socket.connect)(endpoint)
        yield socket
    finally:
        context.destroy(linger=0)


def recorded(cell: Cell, messages: int) -> list[bytes]:
    """Messages of the running daemon, received in place of its actuator."""
    cell.run_dir.mkdir(exist_ok=True)
    with sockets(f"ipc://{cell.run_dir}/robot.sock", zmq.ROUTER) as socket:
        frames: list[bytes] = []
        while len(frames) < messages:
            assert socket.poll(DEADLINE_S * 1000), "no message of the daemon"
            frame = socket.recv_multipart()[1]
            frames += [frame] if isinstance(wire.unpack(frame), Command) else []  # hellos come first
        return frames


def answer(socket: zmq.Socket[bytes], make_frame: Callable[[], bytes]) -> Ack:
    """What the actuator answers. Of a stranger it reads a few messages in 10 ms: one that was not read is repeated."""
    for _ in range(int(DEADLINE_S / 3)):
        socket.send(make_frame())
        if socket.poll(3000):
            ack = wire.unpack(socket.recv())
            assert isinstance(ack, Ack)
            return ack
    raise AssertionError("no answer")


def answers(socket: zmq.Socket[bytes], messages: Sequence[bytes | Command]) -> list[str]:
    """The verdict on each of these messages; commands are sent with proof."""

    def frame_of(message: bytes | Command) -> bytes:
        if isinstance(message, bytes):
            return message
        hello = wire.pack_hello(message.node, message.session)
        ack = answer(socket, lambda: hello)
        return wire.pack_command(message._replace(nonce=ack.nonce, t_echo=ack.t_ack))

    acks = [answer(socket, partial(frame_of, message)) for message in messages]
    return [wire.VERDICTS[ack.verdict] for ack in acks]


def summary(host: Process) -> dict[str, int]:
    """The counts in the host's last line."""
    assert host.stop() == 0
    words = [part.split(" ", 1) for part in host.lines("INFO    actuator robot: ")[-1].split("robot: ")[1].split(", ")]
    return {name: int(count) for count, name in words}


def garbage(genuine: bytes) -> Iterator[list[bytes]]:
    """Malformed messages: random bytes, commands cut short, too long ones, too many frames."""
    chance = random.Random(SEED)
    for _ in range(200):
        yield [chance.randbytes(chance.randrange(150))]
    for end in range(len(genuine)):
        yield [genuine[:end]]
    yield [bytes(151)]
    yield [bytes(4000)]
    yield [genuine, genuine]
    yield [b"", genuine]


@pytest.mark.slow
def test_foreign_messages_change_nothing(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["actuators"] = {"robot": {**cell.config["actuators"]["robot"], "limits": {"speed": [0, 1]}}}
        daemon = cell.run()
        old = recorded(cell, 3)
        genuine = wire.unpack(old[-1])
        assert isinstance(genuine, Command)
        host = cell.actuate()
        cell.wait_for("run")
        with sockets(f"ipc://{cell.run_dir}/robot.sock", zmq.DEALER) as foreign:
            sent = 0
            for frames in garbage(old[-1]):
                foreign.send_multipart(frames)
                sent += 1
            assert answers(foreign, old) == ["unproven"] * 3
            now = time.monotonic_ns()
            guest = genuine._replace(node="cell-1/guest", t_capture=now, t_sent=now, ttl=10_000_000)
            attempts = [
                guest._replace(sequence=7, decision=0),
                guest._replace(sequence=6, decision=9, verb="stop"),  # out of order
                guest._replace(sequence=8, decision=9, verb="stop", t_capture=now - 10**10, ttl=1000),  # late
                guest._replace(sequence=9, decision=9, verb="explode"),
                guest._replace(sequence=10, decision=9, arguments={"speed": 1.5}),
                guest._replace(sequence=11, decision=9, verb="stop", actuator="press"),
                guest._replace(sequence=12, decision=9, verb="stop", session=genuine.session ^ 1),
            ]
            verdicts = answers(foreign, [*attempts, genuine])
            assert verdicts == ["outdated", "replayed", "expired", "limit", "limit", "unknown", "unknown", "replayed"]
            foreign.send(wire.pack_goodbye("cell-1/arm", genuine.session ^ 1))
            foreign.send(bytes(5000))  # ZeroMQ itself disconnects its sender
            cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 200)
        # On a busy box the lane itself may be silent for 80 ms: safe and run again; the strangers say "stop".
        assert cell.verbs()[:2] == ["safe", "run"] and set(cell.verbs()) == {"safe", "run"}
        assert cell.counts("arm")["refused"] == 0
        assert daemon.popen.poll() is None
        for kind in ("malformed", "replayed", "outdated", "expired", "limit", "unknown"):
            assert len(host.lines(f"refuses a command as {kind}: ")) == 1
        counted = summary(host)
    assert counted["malformed"] + counted.get("flood", 0) >= sent
    assert counted["replayed"] == 2
    assert [counted[kind] for kind in ("outdated", "expired", "limit", "unknown")] == [1, 1, 2, 2]


@pytest.mark.slow
def test_one_master_at_a_time(tmp_path: Path) -> None:
    """A second box with the same actuator is refused, and takes over when the first has left."""
    with Cell(tmp_path, {"arm": arm()}) as cell:
        shared = {
            "robot": {
                **robot({"driver": "actuator.log", "path": str(cell.record)}),
                "endpoint": f"ipc://{tmp_path}/robot",
            }
        }
        cell.config["actuators"] = shared
        host = cell.start("actuate", "-c", str(cell.write("host.yaml", lanes={}, rules={})))
        host.wait_for("listens at")
        first = cell.run(cell.write("first.yaml"))
        cell.wait_for("run")
        second = cell.run(cell.write("second.yaml", node="cell-2", run_dir=str(tmp_path / "run2")))
        second.wait_for("WARNING actuator robot takes commands from another")
        host.wait_for("from cell-2/arm")
        cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 200)
        # A second daemon that starts can make a small box stall for 80 ms: then there was a silence, and the actuator
        # may obey either.
        done, stalled = cell.verbs(), bool(host.lines("is silent"))
        assert stalled or done == ["safe", "run"]
        assert stalled or len(second.lines("WARNING actuator robot takes commands from another")) == 1
        assert first.stop() == 0
        second.wait_for("INFO    actuator robot takes commands again")
        cell.wait_for("run", after=0 if stalled else 2)
        assert stalled or cell.verbs() == ["safe", "run", "safe", "run"]
        assert second.stop() == 0
        cell.run_dir = tmp_path / "run2"
        assert cell.counts("arm")["refused"] >= 1


@pytest.mark.slow
def test_a_master_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, first = cell.start_both()
        second = cell.run(
            cell.write(
                "second.yaml",
                run_dir=str(tmp_path / "run2"),
                actuators={
                    "robot": {**cell.config["actuators"]["robot"], "endpoint": f"ipc://{cell.run_dir}/robot.sock"}
                },
            )
        )
        second.wait_for("WARNING actuator robot takes commands from another")
        first.signal(signal.SIGSTOP)
        done = len(cell.verbs())  # a box that stalls has seen a silence before
        cell.wait_for("run", after=done)
        first.signal(signal.SIGCONT)
        # Whichever comes first after the silence: the guard's tick, or the other box's next message.
        assert cell.verbs()[done:] in (["safe", "run"], ["run"])
        # On a stalling box the second may fall silent in its turn, and lose to the first again.
        refused = "takes commands from another daemon"
        until(lambda: first.lines(refused) or len(second.lines(refused)) > 1, cell.logs)
