"""Commands out of a lane, over real sockets: sent or counted, repeated, acknowledged, never waited for."""

import time

import pytest
import zmq

from agent.build import make_host
from agent.commands import wire
from agent.commands.outbox import NO_ROW, PENDING, Address, Outbox
from agent.config.models import Config
from agent.data import Ack, Command, Decision, Evidence
from agent.ledger import Ledger, snapshot
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from tests.waiting import DEADLINE_S, until

SAFE_AFTER_MS = 90.0
BEAT_NS = 30_000_000
TTL_US = 500_000
SESSION = 5


def decision(number=1, verb="run", deadline=0):
    return Decision(number, "r", "belt", verb, {}, (), time.monotonic_ns(), deadline)


class Lane:
    """What a lane has: a ledger, a scene with one rule, an outbox with one link."""

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
        """A far end that a test speaks for."""
        self.far = self.context.socket(zmq.ROUTER)
        self.far.setsockopt(zmq.RCVTIMEO, int(DEADLINE_S * 1000))
        self.far.bind(self.endpoint)
        self.outbox.wait_connected(DEADLINE_S)

    def send(self, what=None, row=NO_ROW, **more):
        what = what or decision()
        return self.link.send(what, what.t_capture, TTL_US, row, **more)

    def heard(self):
        self.peer, frame = self.far.recv_multipart()
        return wire.unpack(frame)

    def answer(self, sequence, verdict=wire.APPLIED, t_applied=0, session=SESSION, clock=None):
        ack = Ack("belt", session, sequence, verdict, t_applied, wire.clock_id() if clock is None else clock)
        self.far.send_multipart([self.peer, wire.pack_ack(ack)])

    def heartbeat(self):
        self.outbox.heartbeat(time.monotonic_ns(), time.monotonic_ns(), TTL_US, self.scene.current)
        self.outbox.collect(time.monotonic_ns())

    def see(self, person):
        """What the lane saw; what follows is sent."""
        now = time.monotonic_ns()
        for one in self.scene.decide("cam", now, [Evidence("cam", "person", float(person), now)]):
            self.link.send(one, now, TTL_US, NO_ROW)

    @property
    def counts(self):
        return {name: number for name, number in snapshot(self.ledger.memory).counts.items() if number}

    def close(self):
        self.outbox.close()
        self.context.destroy(linger=0)
        self.ledger.close()


@pytest.fixture
def lane(tmp_path):
    made = Lane(tmp_path)
    yield made
    made.close()


@pytest.fixture
def heard(lane):
    lane.listen()
    return lane


def test_a_command_says_who_what_and_when(heard):
    before = time.monotonic_ns()
    what = decision(4, "stop")
    assert heard.send(what, late=True)
    told = heard.heard()
    assert told == Command(
        "box/cam", SESSION, 1, 4, "belt", "stop", {}, what.t_capture, told.t_sent, TTL_US, wire.clock_id(), True
    )
    assert before <= told.t_sent <= time.monotonic_ns()


def test_sequences_rise_by_one(heard):
    for _ in range(3):
        heard.send()
    assert [heard.heard().sequence for _ in range(3)] == [1, 2, 3]


def test_an_acknowledgement_is_booked_in_its_row(heard):
    row = heard.ledger.next_row()
    heard.send(row=row)
    heard.ledger.write(1, 2, 3, 4, 5, 6, 7, 8)
    heard.answer(heard.heard().sequence, t_applied=99)
    until(lambda: heard.outbox.collect(time.monotonic_ns()) or heard.counts)
    assert heard.counts == {"applied": 1}
    assert snapshot(heard.ledger.memory).rows["applied"][0] == 99
    assert not heard.link.pending


def test_an_answer_from_another_clock_is_booked_when_it_came(heard):
    row = heard.ledger.next_row()
    heard.send(row=row)
    heard.ledger.write(1, 2, 3, 4, 5, 6, 7, 8)
    heard.answer(heard.heard().sequence, t_applied=99, clock=wire.clock_id() ^ 1)
    before = time.monotonic_ns()
    until(lambda: heard.outbox.collect(time.monotonic_ns()) or heard.counts)
    assert before <= snapshot(heard.ledger.memory).rows["applied"][0] <= time.monotonic_ns()


@pytest.mark.parametrize(
    "verdict", [wire.REPLAYED, wire.EXPIRED, wire.LIMIT, wire.UNKNOWN, wire.FAULT, wire.OUTDATED, wire.WAITING]
)
def test_a_refusal_is_counted_and_told_once(heard, verdict, caplog):
    for _ in range(3):
        heard.send(row=heard.ledger.next_row())
        heard.answer(heard.heard().sequence, verdict)
    until(lambda: heard.outbox.collect(time.monotonic_ns()) or heard.counts.get("refused") == 3)
    (told,) = [record.message for record in caplog.records]
    assert told.startswith("actuator belt ") and told.endswith(f"({wire.VERDICTS[verdict]})")


def test_rubbish_and_foreign_answers_are_no_answers(heard):
    heard.send(row=heard.ledger.next_row())
    sequence = heard.heard().sequence
    for junk in (b"", b"\xc1", bytes(500), wire.pack_goodbye("x", 1)):
        heard.far.send_multipart([heard.peer, junk])
    heard.answer(sequence, session=SESSION + 1)
    heard.far.send_multipart([heard.peer, b"two", b"frames"])
    until(lambda: heard.outbox.collect(time.monotonic_ns()) or heard.counts.get("faults", 0) >= 5)
    assert heard.counts.get("applied", 0) == 0
    heard.answer(sequence)
    until(lambda: heard.outbox.collect(time.monotonic_ns()) or heard.counts.get("applied") == 1)


def test_an_answer_that_does_not_come_is_counted_and_told_once(heard, caplog):
    for _ in range(3):
        heard.send(row=heard.ledger.next_row())
    heard.outbox.collect(time.monotonic_ns())
    assert heard.counts == {}
    heard.outbox.collect(time.monotonic_ns() + int(SAFE_AFTER_MS * 1e6))
    assert heard.counts == {"unacknowledged": 3}
    assert [r.message for r in caplog.records] == ["actuator belt: does not answer; it goes safe by itself"]


def test_it_does_not_wait_for_more_answers_than_it_remembers(heard):
    for _ in range(PENDING + 50):
        heard.send(row=heard.ledger.next_row())
        heard.heard()
        heard.outbox.collect(time.monotonic_ns())
    assert len(heard.link.pending) <= PENDING


# -- nobody there ---------------------------------------------------------------------------------------------------------


def test_nobody_there_is_counted_and_told_once(lane, caplog):
    for number in range(3):
        assert not lane.send(decision(number + 1), row=lane.ledger.next_row())
    assert lane.counts == {"undelivered": 3}
    assert len(caplog.records) == 1
    assert f"actuator belt: no peer connected at {lane.endpoint}: is 'reflexd actuate' running?" in caplog.text


def test_what_was_lost_goes_out_with_the_next_heart_beat(lane):
    lane.send(decision(7, "stop"))
    lane.listen()
    lane.outbox.heartbeat(time.monotonic_ns() + BEAT_NS, time.monotonic_ns(), TTL_US, lane.scene.current)
    told = lane.heard()
    assert (told.decision, told.verb) == (7, "stop")


def test_nothing_old_is_delivered_to_one_who_comes_late(lane):
    for number in range(5):
        lane.send(decision(number))
    lane.listen()
    lane.send(decision(9))
    assert lane.heard().decision == 9


def test_a_line_that_is_full_is_not_waited_for(heard):
    """The far end reads nothing: what does not fit is counted, at once."""
    sent = next(number for number in range(1_000_000) if not heard.send(row=heard.ledger.next_row()))
    assert sent >= 16
    assert heard.counts["undelivered"] == 1


# -- heart-beats ----------------------------------------------------------------------------------------------------------


def test_a_heart_beat_is_due_when_nothing_was_sent_for_a_third_of_the_silence_allowed(heard):
    heard.send()
    due = heard.link.due
    heard.outbox.heartbeat(due - 1, 5, TTL_US, heard.scene.current)
    heard.outbox.heartbeat(due, 6, TTL_US, heard.scene.current)
    first, second = heard.heard(), heard.heard()
    assert (second.sequence, second.decision, second.t_capture) == (first.sequence + 1, first.decision, 6)
    assert due - first.t_sent == BEAT_NS
    assert heard.outbox.wait_s == pytest.approx(BEAT_NS / 2e9)


def test_no_heart_beat_before_there_is_a_decision(heard):
    heard.heartbeat()
    heard.send(decision(3))
    assert heard.heard().decision == 3


def test_a_heart_beat_carries_the_decision_in_force_also_of_another_lane(heard):
    heard.send(decision(1, "run"))
    (stop,) = heard.scene.decide("cam", 1, [Evidence("cam", "person", 1.0, 1)])
    heard.outbox.heartbeat(heard.link.due, 2, TTL_US, heard.scene.current)
    assert [heard.heard().verb for _ in range(2)] == ["run", stop.verb]


def test_heart_beats_are_not_in_the_ledger(heard):
    heard.send(row=NO_ROW)
    heard.answer(heard.heard().sequence, wire.SEEN)
    heard.outbox.collect(time.monotonic_ns() + int(SAFE_AFTER_MS * 2e6))
    assert heard.counts == {}


def test_a_bye_when_it_closes(tmp_path):
    lane = Lane(tmp_path)
    lane.listen()
    lane.send(row=lane.ledger.next_row())
    lane.outbox.close()
    assert isinstance(lane.heard(), Command)
    assert lane.heard() == ("box/cam", SESSION)
    assert lane.counts == {"unacknowledged": 1}
    lane.context.destroy(linger=0)
    lane.ledger.close()


def test_without_actuators_a_lane_may_sleep():
    context = zmq.Context()
    assert 0 < Outbox(context, [], "box/cam", 1, Ledger(None, "cam", 1.0)).wait_s < 1
    context.term()


# -- with a real actuator -------------------------------------------------------------------------------------------------


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
    lane.see(person=True)
    until(lambda: lane.heartbeat() or len(verbs(host)) >= 2)
    lane.see(person=False)
    until(lambda: lane.heartbeat() or verbs(host)[-1] == "run")
    host.stop()
    until(lambda: lane.heartbeat() or "it goes safe by itself" in caplog.text)
    again = serve()
    until(lambda: lane.heartbeat() or verbs(again)[:2] == ["stop", "run"])
    until(lambda: lane.heartbeat() or "actuator belt answers again" in caplog.text)


def test_an_actuator_that_starts_last_learns_the_state(lane, serve):
    lane.see(person=False)
    lane.heartbeat()
    host = serve()
    until(lambda: lane.heartbeat() or verbs(host)[:2] == ["stop", "run"])


def test_a_lane_that_beats_keeps_the_actuator_going_and_one_that_stops_does_not(lane, serve):
    host = serve()
    lane.outbox.wait_connected(DEADLINE_S)
    lane.see(person=False)
    until(lambda: lane.heartbeat() or verbs(host)[-1:] == ["run"])

    def nothing_moves():
        """For as long as three silences."""
        before, end = verbs(host), time.monotonic() + 3 * SAFE_AFTER_MS / 1000
        until(lambda: lane.heartbeat() or time.monotonic() > end)
        return verbs(host) == before

    until(nothing_moves)
    until(lambda: verbs(host)[-1] == "stop")
    until(lambda: lane.heartbeat() or verbs(host)[-1] == "run")
