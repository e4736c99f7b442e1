"""A lane's commands over real sockets: sent or counted, repeated, acknowledged, never waited for."""

import threading
import time

import pytest
import zmq

from agent.build import make_host
from agent.commands import wire
from agent.commands.link import NO_ROW, OPENING_NS, OVERRULED_NS, PENDING, START_NS, Address
from agent.commands.outbox import Outbox
from agent.config.models import Config
from agent.data import Ack, Command, Decision, Evidence
from agent.ledger import Ledger, snapshot
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from tests.waiting import DEADLINE_S, until

SAFE_AFTER_MS = 90.0
BEAT_NS = 22_500_000
TTL_US = 500_000
SESSION = 5


def decision(number=1, verb="run", deadline=0):
    return Decision(
        number=number,
        rule="r",
        actuator="belt",
        verb=verb,
        arguments={},
        evidence=(),
        t_capture=time.monotonic_ns(),
        deadline=deadline,
    )


class Lane:
    """The parts of a lane that send: a ledger, a scene with one rule, an outbox with one link."""

    def __init__(self, folder):
        self.endpoint = f"ipc://{folder}/belt.sock"
        self.context = zmq.Context()
        self.ledger = Ledger(None, "cam", 1.0)
        person = {"any": [{"lane": "cam", "label": "person"}], "actuator": "belt", "verb": "stop"}
        self.scene = Scene(Rules({"r": RuleConfig.model_validate(person)}, {"belt": "run"}))
        self.outbox = Outbox(
            self.context, [Address("belt", self.endpoint, SAFE_AFTER_MS)], "box/cam", SESSION, self.ledger
        )
        self.link = self.outbox.links["belt"]
        self.far = None

    def listen(self):
        """Bind the far end, for which the test answers."""
        self.far = self.context.socket(zmq.ROUTER)
        self.far.setsockopt(zmq.RCVTIMEO, int(DEADLINE_S * 1000))
        self.far.bind(self.endpoint)
        self.outbox.wait_connected(DEADLINE_S)

    def send(self, sent=None, row=NO_ROW, **more):
        sent = sent or decision()
        return self.link.send(sent, sent.t_capture, TTL_US, row, **more)

    def receive(self):
        self.peer, frame = self.far.recv_multipart()
        return wire.unpack(frame)

    def answer(self, sequence, verdict=wire.APPLIED, t_applied=0, session=SESSION, clock=None, nonce=9):
        ack = Ack(
            actuator="belt",
            session=session,
            sequence=sequence,
            verdict=verdict,
            t_applied=t_applied,
            clock=wire.clock_id() if clock is None else clock,
            nonce=nonce,
            t_ack=time.monotonic_ns(),
        )
        self.far.send_multipart([self.peer, wire.pack_ack(ack)])

    def heartbeat(self):
        self.outbox.heartbeat(time.monotonic_ns(), time.monotonic_ns(), TTL_US, self.scene.current)
        self.outbox.collect(time.monotonic_ns())

    def infer(self, person):
        """The lane detects a person or none; the decisions that follow are sent."""
        now = time.monotonic_ns()
        for decided in self.scene.decide("cam", now, [Evidence("cam", "person", float(person), now)]):
            self.link.send(decided, now, TTL_US, NO_ROW)

    @property
    def counts(self):
        return {name: number for name, number in snapshot(self.ledger.memory).counts.items() if number}

    def close(self):
        self.outbox.close()
        self.context.destroy(linger=0)
        self.ledger.close()


@pytest.fixture
def lane(tmp_path):
    lane = Lane(tmp_path)
    yield lane
    lane.close()


@pytest.fixture
def connected(lane):
    lane.listen()
    return lane


def read_answer(lane, now):
    """Once it has arrived: a link that expects nothing any more, as on a busy box after a while, reads nothing."""
    until(lambda: lane.link.socket.poll(0))
    lane.outbox.collect(now)
    assert lane.link.answered_at == now


@pytest.fixture
def known(connected):
    """With an actuator that has answered once."""
    connected.send()
    connected.answer(connected.receive().sequence)
    read_answer(connected, time.monotonic_ns())
    return connected


def test_a_command_has_its_sender_decision_and_times(connected):
    before = time.monotonic_ns()
    stop = decision(4, "stop")
    assert connected.send(stop, late=True)
    command = connected.receive()
    assert command == Command(
        node="box/cam",
        session=SESSION,
        sequence=1,
        decision=4,
        actuator="belt",
        verb="stop",
        arguments={},
        t_capture=stop.t_capture,
        t_sent=command.t_sent,
        ttl=TTL_US,
        clock=wire.clock_id(),
        late=True,
    )
    assert before <= command.t_sent <= time.monotonic_ns()


def test_sequences_rise_by_one(connected):
    for _ in range(3):
        connected.send()
    assert [connected.receive().sequence for _ in range(3)] == [1, 2, 3]


def test_an_acknowledgement_is_written_into_its_row(connected):
    row = connected.ledger.next_row()
    connected.send(row=row)
    connected.ledger.write(1, 2, 3, 4, 5, 6, 7, 8)
    connected.answer(connected.receive().sequence, t_applied=99)
    until(lambda: connected.outbox.collect(time.monotonic_ns()) or connected.counts)
    assert connected.counts == {"applied": 1}
    assert snapshot(connected.ledger.memory).rows["applied"][0] == 99
    assert not connected.link.pending


def test_an_answer_from_another_clock_counts_from_its_arrival(connected):
    row = connected.ledger.next_row()
    connected.send(row=row)
    connected.ledger.write(1, 2, 3, 4, 5, 6, 7, 8)
    connected.answer(connected.receive().sequence, t_applied=99, clock=wire.clock_id() ^ 1)
    before = time.monotonic_ns()
    until(lambda: connected.outbox.collect(time.monotonic_ns()) or connected.counts)
    assert before <= snapshot(connected.ledger.memory).rows["applied"][0] <= time.monotonic_ns()


@pytest.mark.parametrize("verdict", [wire.REPLAYED, wire.EXPIRED, wire.LIMIT, wire.UNKNOWN, wire.FAULT, wire.OUTDATED])
def test_a_refusal_is_counted_and_logged_once(connected, verdict, caplog):
    for _ in range(3):
        connected.send(row=connected.ledger.next_row())
        connected.answer(connected.receive().sequence, verdict)
    until(lambda: connected.outbox.collect(time.monotonic_ns()) or connected.counts.get("refused") == 3)
    (message,) = [record.message for record in caplog.records]
    assert message.startswith("actuator belt ") and message.endswith(f"({wire.VERDICTS[verdict]})")


def test_a_decision_that_another_box_overrules_is_counted_and_is_trouble_only_when_that_lasts(connected, caplog):
    """Redundant boxes differ for a moment at every event."""
    link, begun = connected.link, time.monotonic_ns()
    for number, at_ns in enumerate((0, OVERRULED_NS - 1, OVERRULED_NS, 2 * OVERRULED_NS)):
        connected.send(row=connected.ledger.next_row())
        connected.answer(connected.receive().sequence, wire.OVERRULED)
        read_answer(connected, begun + at_ns)
        assert bool(link.trouble) == bool(caplog.records) == (number > 1)
    assert connected.counts == {"overruled": 4}
    (record,) = caplog.records
    assert record.message.endswith("compare their sensors, models and rules (overruled)")
    caplog.set_level("INFO")
    connected.send()
    connected.answer(connected.receive().sequence, wire.REPEATED)
    read_answer(connected, begun + 3 * OVERRULED_NS)
    assert not link.trouble and caplog.text.count("(applied)") == 1


def test_an_actuator_that_waits_for_other_lanes_is_a_warning_once_they_take_longer_than_a_start(connected, caplog):
    """A lane of readings is there before a camera is open."""
    connected.send()
    begun = connected.link.begun
    for number, now in enumerate((begun + 1, begun + OPENING_NS - 1, begun + OPENING_NS, begun + OPENING_NS + 1)):
        connected.answer(connected.receive().sequence, wire.WAITING)
        read_answer(connected, now)
        assert len(caplog.records) == (number > 1)
        connected.send()
    assert caplog.records[0].levelname == "WARNING" and caplog.records[0].message.endswith("(waiting)")


def test_an_actuator_that_loses_one_of_its_lanes_is_a_warning_at_once(connected, caplog):
    for verdict in (wire.APPLIED, wire.WAITING):
        connected.send()
        connected.answer(connected.receive().sequence, verdict)
        read_answer(connected, time.monotonic_ns())
    assert [record.message[-9:] for record in caplog.records] == ["(waiting)"]


def test_kind_a_decision_that_a_heartbeat_brought_first_is_counted_as_applied(connected):
    """A heartbeat overtakes its decision: another lane's, or one that was sent while the proof was missing."""
    row = connected.ledger.next_row()
    connected.send(row=row)
    connected.ledger.write(1, 2, 3, 4, 5, 6, 7, 8)
    sent = connected.receive()
    connected.answer(sent.sequence, wire.REPEATED)
    until(lambda: connected.outbox.collect(time.monotonic_ns()) or not connected.link.pending)
    assert connected.counts == {"applied": 1}
    assert sent.t_sent <= snapshot(connected.ledger.memory).rows["applied"][0] <= time.monotonic_ns()


def collect(lane):
    lane.outbox.collect(time.monotonic_ns())
    return True


def answered(lane, verdict, nonce):
    """Answer the next command, and let the lane read that."""
    command = lane.receive()
    lane.answer(command.sequence, verdict, nonce=nonce)
    assert lane.link.socket.poll(DEADLINE_S * 1000) and collect(lane)
    return command


def test_a_command_echoes_the_newest_acknowledgement(connected):
    before = time.monotonic_ns()
    connected.send()
    first = answered(connected, wire.APPLIED, nonce=41)
    connected.send()
    second = connected.receive()
    assert (first.nonce, first.t_echo, first.held) == (0, 0, 0)
    assert second.nonce == 41
    assert before < second.t_echo <= second.t_sent - 1000 * second.held


def test_a_command_that_was_not_proven_is_repeated_at_once_with_its_row(connected, caplog):
    row = connected.ledger.next_row()
    connected.ledger.write(1, 2, 3, 4, 5, 6, 7, 8)
    connected.send(decision(4, "stop"), row=row)
    first = answered(connected, wire.UNPROVEN, nonce=42)
    again = answered(connected, wire.APPLIED, nonce=43)
    assert again == first._replace(
        sequence=first.sequence + 1, t_sent=again.t_sent, nonce=42, t_echo=again.t_echo, held=again.held
    )
    assert connected.counts == {"applied": 1}
    assert not caplog.records


def test_every_unproven_decision_is_repeated_in_order_and_heartbeats_once(connected, caplog):
    for number in (1, 2):
        connected.send(decision(number), row=connected.ledger.next_row())
    for number in (3, 3, 3):
        connected.send(decision(number))
    for command in [connected.receive() for _ in range(5)]:
        connected.answer(command.sequence, wire.UNPROVEN)
    until(lambda: collect(connected) and connected.link.sequence == 7)
    until(lambda: collect(connected) and not connected.link.due)
    connected.heartbeat()
    connected.heartbeat()
    assert [connected.receive().decision for _ in range(3)] == [1, 2, 3]
    assert connected.link.sequence == 8
    assert not caplog.records
    connected.answer(8, wire.UNPROVEN)
    until(lambda: collect(connected) and "gets no proof" in caplog.text)


def test_a_repetition_that_is_refused_again_is_counted_and_not_repeated(connected, caplog):
    connected.send(row=connected.ledger.next_row())
    for nonce in (1, 2):
        answered(connected, wire.UNPROVEN, nonce)
    assert connected.counts == {"refused": 1}
    assert connected.link.sequence == 2 and not connected.link.pending
    assert [r.message.split(":")[0] for r in caplog.records] == ["actuator belt gets no proof that commands are fresh"]


def test_the_first_command_is_proven_by_the_hello_before_it(connected):
    answerer = threading.Thread(target=lambda: connected.receive() and connected.answer(0, wire.UNPROVEN, nonce=77))
    answerer.start()
    connected.outbox.hello(DEADLINE_S)
    answerer.join()
    connected.send()
    assert connected.receive().nonce == 77


def test_a_hello_waits_for_no_absent_actuator(lane):
    before = time.monotonic()
    lane.outbox.hello(DEADLINE_S)
    assert time.monotonic() - before < DEADLINE_S


def test_malformed_and_foreign_answers_are_ignored(connected):
    connected.send(row=connected.ledger.next_row())
    sequence = connected.receive().sequence
    for junk in (b"", b"\xc1", bytes(500), wire.pack_goodbye("x", 1)):
        connected.far.send_multipart([connected.peer, junk])
    connected.answer(sequence, session=SESSION + 1)
    connected.far.send_multipart([connected.peer, b"two", b"frames"])
    until(lambda: connected.outbox.collect(time.monotonic_ns()) or connected.counts.get("faults", 0) >= 5)
    assert connected.counts.get("applied", 0) == 0
    connected.answer(sequence)
    until(lambda: connected.outbox.collect(time.monotonic_ns()) or connected.counts.get("applied") == 1)


def test_a_missing_answer_is_counted_and_logged_once(known, caplog):
    for _ in range(3):
        known.send(row=known.ledger.next_row())
    known.outbox.collect(time.monotonic_ns())
    assert "unacknowledged" not in known.counts
    known.outbox.collect(time.monotonic_ns() + int(SAFE_AFTER_MS * 1e6))
    assert known.counts["unacknowledged"] == 3
    assert [r.message for r in caplog.records] == ["actuator belt: does not answer; it goes safe by itself"]


def test_an_actuator_that_starts_within_a_second_of_its_sender_is_no_warning(connected, caplog):
    """It is counted and shown by `status` all the same, and said after a second."""
    connected.send(row=connected.ledger.next_row())
    begun = connected.link.begun
    connected.outbox.collect(begun + START_NS - 1)
    assert connected.counts == {"unacknowledged": 1} and connected.link.trouble == "does not answer"
    connected.send()
    connected.outbox.collect(begun + START_NS - 1 + int(SAFE_AFTER_MS * 1e6))
    assert [r.message for r in caplog.records] == ["actuator belt: does not answer; it goes safe by itself"]
    connected.send()
    assert [connected.receive().sequence for _ in range(3)] == [1, 2, 3]
    connected.answer(3)
    read_answer(connected, time.monotonic_ns())
    assert "answers again" in caplog.text and connected.link.trouble == ""


def test_one_that_answers_within_the_first_second_is_never_named(connected, caplog):
    connected.send()
    connected.outbox.collect(connected.link.begun + int(SAFE_AFTER_MS * 1e6))
    connected.send()
    connected.receive()
    connected.answer(connected.receive().sequence)
    read_answer(connected, time.monotonic_ns())
    assert caplog.records == [] and connected.link.answering


def test_a_lost_message_among_answered_ones_is_counted_and_no_warning(known, caplog):
    """As those that were sent before the actuator's host answered: each was a warning of its own."""
    known.send(row=known.ledger.next_row())
    known.receive()
    known.send()
    newest = known.receive().sequence
    known.answer(newest)
    end = time.monotonic_ns() + int(SAFE_AFTER_MS * 1e6)
    read_answer(known, end)
    known.outbox.collect(end + 1)
    assert known.counts["unacknowledged"] == 1 and caplog.records == []


def test_the_number_of_pending_answers_is_bounded(connected):
    for _ in range(PENDING + 50):
        connected.send(row=connected.ledger.next_row())
        connected.receive()
        connected.outbox.collect(time.monotonic_ns())
    assert len(connected.link.pending) <= PENDING


def test_an_absent_actuator_is_counted_and_logged_once(lane, caplog):
    lane.link.begun = 1  # since the box was started
    for number in range(3):
        assert not lane.send(decision(number + 1), row=lane.ledger.next_row())
    assert lane.counts == {"undelivered": 3}
    assert len(caplog.records) == 1
    assert f"actuator belt: no peer connected at {lane.endpoint} (is 'reflexd actuate' running?)" in caplog.text


def test_a_lost_decision_is_sent_with_the_next_heart_beat(lane):
    lane.send(decision(7, "stop"))
    lane.listen()
    lane.outbox.heartbeat(time.monotonic_ns() + BEAT_NS, time.monotonic_ns(), TTL_US, lane.scene.current)
    command = lane.receive()
    assert (command.decision, command.verb) == (7, "stop")


def test_an_actuator_that_connects_late_gets_nothing_old(lane):
    for number in range(5):
        lane.send(decision(number))
    lane.listen()
    lane.send(decision(9))
    assert lane.receive().decision == 9


def test_a_full_connection_is_not_waited_for(connected):
    """The far end reads nothing: a command that does not fit is counted, at once."""
    sent = next(number for number in range(1_000_000) if not connected.send(row=connected.ledger.next_row()))
    assert sent >= 16
    assert connected.counts["undelivered"] == 1


def test_a_heart_beat_is_due_when_nothing_was_sent_for_a_quarter_of_safe_after_ms(connected):
    connected.send()
    due = connected.link.due
    connected.outbox.heartbeat(due - 1, 5, TTL_US, connected.scene.current)
    connected.outbox.heartbeat(due, 6, TTL_US, connected.scene.current)
    first, second = connected.receive(), connected.receive()
    assert (second.sequence, second.decision, second.t_capture) == (first.sequence + 1, first.decision, 6)
    assert due - first.t_sent == BEAT_NS
    assert connected.outbox.wait_s == pytest.approx(BEAT_NS / 2e9)


def test_no_heart_beat_before_there_is_a_decision(connected):
    connected.heartbeat()
    connected.send(decision(3))
    assert connected.receive() == wire.Hello("box/cam", SESSION)
    assert connected.receive().decision == 3


def test_a_heart_beat_carries_the_decision_in_force_also_of_another_lane(connected):
    connected.send(decision(1, "run"))
    (stop,) = connected.scene.decide("cam", 1, [Evidence("cam", "person", 1.0, 1)])
    connected.outbox.heartbeat(connected.link.due, 2, TTL_US, connected.scene.current)
    assert [connected.receive().verb for _ in range(2)] == ["run", stop.verb]


def test_heart_beats_are_not_in_the_ledger(connected):
    connected.send(row=NO_ROW)
    connected.answer(connected.receive().sequence, wire.REPEATED)
    connected.outbox.collect(time.monotonic_ns() + int(SAFE_AFTER_MS * 2e6))
    assert connected.counts == {}


def test_a_goodbye_when_it_closes(tmp_path):
    lane = Lane(tmp_path)
    lane.listen()
    lane.send(row=lane.ledger.next_row())
    lane.outbox.close()
    assert isinstance(lane.receive(), Command)
    assert lane.receive() == ("box/cam", SESSION)
    assert lane.counts == {"unacknowledged": 1}
    lane.context.destroy(linger=0)
    lane.ledger.close()


def test_without_actuators_a_lane_may_sleep():
    context = zmq.Context()
    assert 0 < Outbox(context, [], "box/cam", 1, Ledger(None, "cam", 1.0)).wait_s < 1
    context.term()


@pytest.fixture
def serve(tmp_path, lane):
    belt = {"device": {"driver": "actuator.sim"}, "rest": "run", "senders": ["box/cam"], "safe_after_ms": SAFE_AFTER_MS}
    config = Config.model_validate({"realtime": False, "run_dir": tmp_path, "actuators": {"belt": belt}})
    hosts = []

    def serve():
        hosts.append(make_host(config))
        hosts[-1].start()
        return hosts[-1]

    yield serve
    for host in hosts:
        host.stop()


def verbs(host):
    return [movement.verb for movement in list(host.servers[0].driver.history)]


def test_an_actuator_that_restarts_learns_the_state_from_heart_beats(lane, serve, caplog):
    host = serve()
    lane.outbox.wait_connected(DEADLINE_S)
    lane.infer(person=True)
    until(lambda: lane.heartbeat() or len(verbs(host)) >= 2)
    lane.infer(person=False)
    until(lambda: lane.heartbeat() or verbs(host)[-1] == "run")
    host.stop()
    until(lambda: lane.heartbeat() or "it goes safe by itself" in caplog.text)
    restarted = serve()
    until(lambda: lane.heartbeat() or verbs(restarted)[:2] == ["stop", "run"])
    until(lambda: lane.heartbeat() or "actuator belt answers again" in caplog.text)


def test_an_actuator_that_starts_last_learns_the_state(lane, serve):
    lane.infer(person=False)
    lane.heartbeat()
    host = serve()
    until(lambda: lane.heartbeat() or verbs(host)[:2] == ["stop", "run"])


def test_an_actuator_runs_with_heart_beats_and_stops_without(lane, serve):
    host = serve()
    lane.outbox.wait_connected(DEADLINE_S)
    lane.infer(person=False)
    until(lambda: lane.heartbeat() or verbs(host)[-1:] == ["run"])

    def nothing_moves():
        """Through three times the silence that means safe."""
        before, end = verbs(host), time.monotonic() + 3 * SAFE_AFTER_MS / 1000
        until(lambda: lane.heartbeat() or time.monotonic() > end)
        return verbs(host) == before

    until(nothing_moves)
    until(lambda: verbs(host)[-1] == "stop")
    until(lambda: lane.heartbeat() or verbs(host)[-1] == "run")
