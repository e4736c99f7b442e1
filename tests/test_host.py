"""The actuator host over real sockets: applies and acknowledges, goes safe on silence, survives malformed messages."""

import random
import threading
import time

import msgpack
import pytest
import zmq

from agent.build import make_host
from agent.commands import host, server, wire
from agent.commands.guard import TICKS
from agent.commands.wire import VERDICTS
from agent.config.models import Config
from agent.data import Ack, Command
from tests.waiting import DEADLINE_S, until

SAFE_AFTER_MS = 100
TTL_US = 500_000


class Belt:
    """A host with one simulated belt, and a sender beside it."""

    def __init__(self, folder, senders=("box/cam",), limits=None, section=None, **device):
        """section: more keys of the actuator."""
        belt = {
            "device": {"driver": "actuator.sim"} | device,
            "rest": "run",
            "senders": list(senders),
            "limits": limits or {},
        }
        self.config = Config.model_validate(
            {
                "realtime": False,
                "run_dir": folder,
                "actuators": {
                    "belt": belt | {"verbs": ["run", "stop"], "safe_after_ms": SAFE_AFTER_MS} | (section or {})
                },
            }
        )
        self.context = zmq.Context()
        self.sequence = 0
        self.session = 1
        self.peers = []
        self.serve()
        self.line = self.dial()

    def serve(self):
        self.host = make_host(self.config)
        (self.server,) = self.host.servers
        self.host.start()

    def dial(self):
        peer = self.context.socket(zmq.DEALER)
        peer.setsockopt(zmq.RCVTIMEO, int(DEADLINE_S * 1000))
        peer.setsockopt(zmq.RECONNECT_IVL, 10)
        peer.connect(self.config.endpoint("belt"))
        self.peers.append(peer)
        return peer

    def command(self, **more):
        self.sequence += 1
        now = time.monotonic_ns()
        command = Command(
            node="box/cam",
            session=self.session,
            sequence=self.sequence,
            decision=1,
            actuator="belt",
            verb="run",
            arguments={},
            t_capture=now,
            t_sent=now,
            ttl=TTL_US,
            clock=wire.clock_id(),
        )
        return self.proven(command._replace(**more))

    def proven(self, command, line=None):
        """With an echo that this sender has just got in answer to a hello."""
        line = line or self.line
        line.send(wire.pack_hello(command.node, command.session))
        while True:
            ack = wire.unpack(line.recv())
            if (ack.session, ack.sequence) == (command.session, 0):
                break
        held = max(0, (command.t_sent - time.monotonic_ns()) // 1000)
        return command._replace(nonce=ack.nonce, t_echo=ack.t_ack, held=held)

    def request(self, message=None, line=None, **more):
        """Send a command and wait for its verdict."""
        message = message or self.command(**more)
        line = line or self.line
        line.send(wire.pack_command(message))
        while True:
            ack = wire.unpack(line.recv())
            assert isinstance(ack, Ack)
            if (ack.session, ack.sequence) == (message.session, message.sequence):
                self.ack = ack
                return VERDICTS[ack.verdict]

    @property
    def verbs(self):
        return [movement.verb for movement in list(self.server.driver.history)]

    def close(self):
        for peer in self.peers:
            peer.close(linger=0)
        self.host.stop()
        self.context.destroy(linger=0)
        assert not any(thread.is_alive() for thread in self.host.threads)


@pytest.fixture
def make(tmp_path):
    belts = []

    def make(**options):
        belts.append(Belt(tmp_path, **options))
        return belts[-1]

    yield make
    for belt in belts:
        belt.close()


def undisturbed(make, scenario, **options):
    """Run a scenario on a new belt; repeat it where a busy machine let the sender fall silent in its middle."""
    for attempt in range(5):
        belt = make(**options)
        try:
            scenario(belt)
            return
        except AssertionError:
            if not belt.server.counts["silence"] or attempt == 4:
                raise
        belt.close()


@pytest.fixture
def belt(make):
    return make()


@pytest.mark.parametrize("start_s", [3600, 0])
def test_what_has_waited_for_the_start_is_counted_and_no_flood_in_the_log(make, monkeypatch, caplog, start_s):
    monkeypatch.setattr(server, "START_NS", start_s * 1_000_000_000)
    belt = make()
    assert belt.request(verb="run") == "applied"  # its first turn has ended
    monkeypatch.setattr(belt.server.intake, "admit", lambda peer, now: False)
    belt.line.send(b"one of many")
    until(lambda: belt.server.counts["flood"])
    monkeypatch.undo()
    assert belt.request(verb="stop", decision=2) == "applied"
    assert ("refuses a command as flood" in caplog.text) == (start_s == 0)


def test_a_command_is_applied_and_acknowledged_with_its_time(belt):
    before = time.monotonic_ns()
    assert belt.request(verb="run") == "applied"
    movement = belt.server.driver.history[-1]
    assert movement.verb == "run"
    assert before < movement.t_applied <= belt.ack.t_applied < time.monotonic_ns()
    assert (belt.ack.actuator, belt.ack.clock) == ("belt", wire.clock_id())


def test_it_starts_and_ends_in_the_safe_state(make):
    belt = make()
    until(lambda: belt.verbs == ["stop"])
    belt.request(verb="run")
    belt.host.stop()
    assert belt.verbs == ["stop", "run", "stop"]


def test_every_message_has_its_verdict(make):
    undisturbed(make, every_verdict, senders=["box/cam", "box/mic"], limits={"speed": (0, 1)})


def every_verdict(belt):
    assert belt.request() == "waiting"
    assert belt.request(node="box/mic") == "applied"
    assert belt.request() == "repeated"
    assert belt.request(decision=3) == "applied"
    assert belt.request(decision=2) == "outdated"
    assert belt.request(sequence=1) == "replayed"
    assert belt.request(decision=4, t_capture=time.monotonic_ns() - 2 * TTL_US * 1000) == "expired"
    assert belt.request(decision=4, verb="reverse") == "limit"
    assert belt.request(decision=4, arguments={"speed": 2}) == "limit"
    assert belt.request(actuator="arm") == "unknown"
    assert belt.request(session=2) == "unknown"
    assert belt.ack.t_applied == 0
    assert belt.server.counts == {
        "waiting": 1,
        "applied": 2,
        "repeated": 1,
        "outdated": 1,
        "replayed": 1,
        "expired": 1,
        "limit": 2,
        "unknown": 2,
    }


def test_silence_means_safe_and_once(belt):
    assert belt.request(verb="run") == "applied"
    until(lambda: belt.verbs == ["stop", "run", "stop"])
    until(lambda: belt.server.counts["silence"] == 1)
    turns, silent = [], belt.server.guard.silent
    belt.server.guard.silent = lambda now: turns.append(now) or silent(now)
    until(lambda: len(turns) > 3 * TICKS)  # three times the silence that means safe
    assert belt.verbs == ["stop", "run", "stop"] and belt.server.counts["silence"] == 1


def test_heart_beats_keep_it_going(belt):
    def nothing_moves():
        """Through three times the silence that means safe."""
        belt.request(verb="run")
        before, end = belt.verbs, time.monotonic() + 3 * SAFE_AFTER_MS / 1000
        while time.monotonic() < end:
            belt.request(verb="run")
        return belt.verbs == before

    until(nothing_moves)
    assert belt.verbs[-1] == "run"


def test_malformed_messages_are_no_heart_beats(belt):
    """Nor does a flood of them, faster than it can be read, delay the safe state."""
    assert belt.request(verb="run") == "applied"
    done = threading.Event()

    def flood(peer):
        while not done.is_set():
            peer.send(b"\xdc\x00\x13\x02\x01")

    flooder = threading.Thread(target=flood, args=(belt.dial(),))
    flooder.start()
    try:
        until(lambda: belt.server.counts["malformed"] > 100 and belt.verbs == ["stop", "run", "stop"])
        assert flooder.is_alive()  # so the safe state came during the flood
    finally:
        done.set()
        flooder.join()


def test_a_goodbye_means_safe_without_waiting_for_silence(make, caplog):
    def goodbye(belt):
        caplog.clear()
        assert belt.request(verb="run") == "applied"
        belt.line.send(wire.pack_goodbye("box/cam", 1))
        until(lambda: belt.verbs == ["stop", "run", "stop"])
        until(lambda: "actuator belt is safe" in caplog.text)
        assert "box/cam has left" in caplog.text and "is silent" not in caplog.text

    undisturbed(make, goodbye)


def test_a_restarted_daemon_takes_over_after_the_silence_of_the_old_one(make):
    undisturbed(make, restarted)


def restarted(belt):
    assert belt.request(verb="run") == "applied"
    assert belt.request(session=2, verb="run") == "unknown"
    until(lambda: belt.request(session=2, verb="run") == "applied")
    belt.server.counts.clear()
    assert belt.request(session=1) == "unknown"


def test_malformed_messages_are_refused_and_counted_while_good_commands_pass(belt):
    dice = random.Random(1)
    good = wire.pack_command(belt.command())
    malformed = [dice.randbytes(dice.randrange(200)) for _ in range(100)]
    malformed += [good[:-1], good + b"\0", b"", bytes(151), bytes(4000), b"\x9e" + bytes(100)]
    stranger = belt.dial()
    for frame in malformed:
        stranger.send(frame)
        assert belt.request(verb="run") in ("repeated", "applied")
    until(lambda: belt.server.counts["malformed"] + belt.server.counts["flood"] == len(malformed))
    assert set(belt.verbs) == {"stop", "run"}
    assert belt.host.failed is False


def test_a_command_that_proves_nothing_is_refused_and_its_answer_gives_the_proof(belt, caplog):
    blank = belt.command()._replace(nonce=0, t_echo=0, held=0)
    assert belt.request(blank) == "unproven"
    assert "refuses a command" not in caplog.text  # every sender's first one is like this
    now = time.monotonic_ns()
    held = (now - belt.ack.t_ack) // 1000
    proven = blank._replace(sequence=50, t_sent=now, nonce=belt.ack.nonce, t_echo=belt.ack.t_ack, held=held)
    assert belt.request(proven) == "applied"
    assert belt.request(proven._replace(sequence=51, t_echo=proven.t_echo - 10**9)) == "unproven"
    assert "refuses a command as unproven: run from box/cam, sequence 51" in caplog.text


def test_a_hello_is_no_sign_of_life(belt):
    assert belt.request(verb="run") == "applied"
    until(lambda: belt.proven(belt.command()) and belt.server.counts["silence"] == 1)
    assert belt.verbs == ["stop", "run", "stop"]


def test_acknowledgements_of_before_a_restart_prove_nothing(make):
    belt = make()
    before = belt.command()
    belt.host.stop()
    belt.serve()
    belt.sequence = 100
    until(lambda: belt.server.opened)
    assert belt.request(before) == "unproven"
    assert belt.request(verb="run") == "applied"


def test_version_1_of_the_protocol_is_refused_with_one_clear_line(belt, caplog):
    for number in range(20):  # some are dropped as a flood
        old = (1, 1, "box/old", 5, number, 1, "belt", "run", {}, 1, 2, 500_000, 7, False)
        belt.line.send(msgpack.packb(old))
    until(lambda: belt.server.counts["incompatible"] + belt.server.counts["flood"] == 20)
    assert belt.server.counts["incompatible"] > 1
    (record,) = [record for record in caplog.records if "version" in record.message]
    assert record.message.endswith("box/old speaks version 1 of the protocol, not 2; update the box 'box'")
    assert belt.verbs == ["stop"]


@pytest.mark.parametrize("before, after", [(0, 1), (1, 0), (2, 1), (50, 0)])
def test_a_message_of_many_frames_is_refused(belt, before, after):
    good = wire.pack_command(belt.command())
    stranger = belt.dial()
    stranger.send_multipart([b""] * before + [good] + [b""] * after)
    until(lambda: belt.server.counts["malformed"] == 1)
    assert belt.verbs == ["stop"]
    assert belt.request(verb="run") == "applied"


def test_the_sender_of_an_oversized_message_is_disconnected(belt):
    stranger = belt.dial()
    stranger.setsockopt(zmq.RECONNECT_IVL, -1)
    monitor = stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    stranger.send(bytes(5000))
    assert monitor.poll(DEADLINE_S * 1000)
    assert belt.request(verb="run") == "applied"
    assert belt.server.counts["malformed"] == 0


def test_an_ack_or_the_goodbye_of_another_sender_changes_nothing(make):
    undisturbed(make, foreign)


def foreign(belt):
    assert belt.request(verb="run") == "applied"
    stranger = belt.dial()
    ack = Ack(actuator="belt", session=1, sequence=99, verdict=wire.APPLIED, t_applied=5, clock=1)
    stranger.send(wire.pack_ack(ack))
    stranger.send(wire.pack_goodbye("box/cam", 2))
    stranger.send(wire.pack_goodbye("box/none", 1))
    stranger.send(b"the end")
    while not belt.server.counts["malformed"]:
        assert belt.request(verb="run") == "repeated"
    assert belt.verbs == ["stop", "run"]


def with_fault(kind, at_s, for_s):
    return {"faults": [{"kind": kind, "at_s": at_s, "for_s": for_s}]}


@pytest.mark.parametrize("kind", ["refuse", "unplug"])
def test_a_device_that_fails_is_a_fault_and_comes_back_safe(make, kind, caplog):
    belt = make(**with_fault(kind, 0.2, 0.3))
    assert belt.request(verb="run") == "applied"
    decision = 1

    def verdict():
        nonlocal decision
        decision += 1  # a new decision each time, so that the device is called
        return belt.request(verb="run", decision=decision)

    until(lambda: verdict() == "fault")
    assert belt.ack.t_applied == 0
    failed = len(belt.verbs)
    until(lambda: verdict() == "applied")
    assert belt.verbs[failed] == "stop"  # opened again, it is made safe first
    assert belt.verbs[failed + 1] == "run"
    assert caplog.text.count("trying again until it is back") == 1
    assert caplog.text.count("the device is back, and safe") == 1


def test_a_device_that_is_missing_at_start_is_opened_later(make):
    belt = make(**with_fault("unplug", 0.0, 0.3))
    assert belt.request(verb="run") == "fault"
    for _ in range(20):  # at once: what the device does makes no stranger of a good sender
        assert belt.request(verb="run") in ("fault", "applied", "repeated")
    until(lambda: belt.request(verb="run") in ("applied", "repeated"))
    assert belt.verbs == ["stop", "run"] and not belt.server.counts["flood"]


def test_a_driver_call_that_does_not_return_is_detected(make):
    belt = make(**with_fault("stuck", 0.3, 2.0))
    until(lambda: belt.server.opened)
    until(lambda: "stuck" in belt.server.driver.faults.active(time.monotonic_ns()))
    belt.line.send(wire.pack_command(belt.command(verb="run")))
    assert until(belt.host.overdue) == "belt"
    until(lambda: not belt.host.overdue())


def test_an_actuator_that_restarts_learns_the_state_from_heart_beats(make):
    belt = make()
    assert belt.request(verb="run", decision=7) == "applied"
    belt.host.stop()
    belt.serve()
    # The same decision again, like a heartbeat.
    until(lambda: belt.request(verb="run", decision=7) == "applied")
    assert belt.verbs == ["stop", "run"]


def test_only_the_requested_actuators_are_served(tmp_path):
    device = {"device": {"driver": "actuator.sim"}, "rest": "run"}
    config = Config.model_validate(
        {
            "run_dir": tmp_path,
            "realtime": False,
            "actuators": {"a": device, "b": device, "far": {"rest": "run", "endpoint": "tcp://far:1"}},
        }
    )
    for only, served in ((["b"], ["b"]), ([], ["a", "b"])):
        host = make_host(config, only)
        assert [server.name for server in host.servers] == served
        host.start()
        host.stop()


def test_an_address_in_use_is_reported(belt, tmp_path):
    other = zmq.Context()
    taken = other.socket(zmq.ROUTER)
    port = taken.bind_to_random_port("tcp://127.0.0.1")
    config = belt.config.model_copy(
        update={
            "run_dir": tmp_path / "other",
            "actuators": {
                "belt": belt.config.actuators["belt"].model_copy(update={"endpoint": f"tcp://127.0.0.1:{port}"})
            },
        }
    )
    with pytest.raises(OSError, match=f"cannot listen at tcp://127.0.0.1:{port}"):
        make_host(config)
    other.destroy(linger=0)


def test_a_bug_in_a_driver_leaves_it_safe_and_ends_the_host(belt):
    def broken(verb, arguments):
        belt.server.driver.apply = type(belt.server.driver).apply.__get__(belt.server.driver)
        raise ZeroDivisionError

    assert belt.request(verb="run") == "applied"
    belt.server.driver.apply = broken
    belt.line.send(wire.pack_command(belt.command(decision=2, verb="run")))
    until(lambda: belt.host.failed)
    assert belt.verbs == ["stop", "run", "stop"]


def test_run_serves_until_asked_to_stop(tmp_path, caplog):
    caplog.set_level("INFO")
    config = Config.model_validate(
        {
            "run_dir": tmp_path,
            "realtime": False,
            "actuators": {"belt": {"device": {"driver": "actuator.sim"}, "rest": "run"}},
        }
    )
    stop = threading.Event()
    stop.set()
    assert host.run(make_host(config), stop) == 0
    assert "actuator belt: no commands" in caplog.text
