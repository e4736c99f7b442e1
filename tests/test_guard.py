"""The last check: which command may move an actuator, and that silence always ends in the safe state."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.commands.guard import REMEMBERED, Bounds, Guard, Transit
from agent.commands.wire import APPLIED, EXPIRED, LIMIT, OUTDATED, REPLAYED, SEEN, UNKNOWN, WAITING
from agent.data import Command

MS = 1_000_000
SAFE_AFTER = 100 * MS
HERE, ELSEWHERE = 1, 2
T0 = 10_000_000 * MS


def guard(*senders, verbs=("run", "stop"), limits=None):
    return Guard("belt", Bounds(frozenset(senders), SAFE_AFTER, frozenset(verbs), limits or {}), HERE)


def command(at_ms=0.0, sequence=1, decision=1, **more):
    """Captured at_ms and sent 2 ms later, with a ttl of 50 ms."""
    t = T0 + int(at_ms * MS)
    message = Command(
        node="box/cam",
        session=7,
        sequence=sequence,
        decision=decision,
        actuator="belt",
        verb="run",
        arguments={},
        t_capture=t,
        t_sent=t + 2 * MS,
        ttl=50_000,
        clock=HERE,
    )
    return message._replace(**more)


def receive(judge, message, at_ms=None):
    """Judge it at_ms, or 3 ms after its capture; apply it where that is the verdict."""
    verdict = judge.judge(message, message.t_capture + 3 * MS if at_ms is None else T0 + int(at_ms * MS))
    if verdict == APPLIED:
        judge.applied(message)
    return verdict


def silent(judge, at_ms):
    return judge.silent(T0 + int(at_ms * MS))


def test_a_command_is_applied_once_and_then_seen():
    belt = guard()
    assert receive(belt, command(0, 1)) == APPLIED
    assert receive(belt, command(30, 2)) == SEEN
    assert receive(belt, command(60, 3, decision=2)) == APPLIED


def test_a_sequence_counts_once_and_in_order():
    belt = guard()
    assert receive(belt, command(0, 5)) == APPLIED
    assert receive(belt, command(1, 5, decision=2)) == REPLAYED
    assert receive(belt, command(1, 4, decision=2)) == REPLAYED
    assert receive(belt, command(1, 6, decision=2)) == APPLIED


def test_each_sender_has_its_own_sequence():
    belt = guard()
    assert receive(belt, command(0, 9)) == APPLIED
    assert receive(belt, command(1, 1, decision=2, node="box/mic")) == APPLIED


def test_a_refused_sequence_is_used_up():
    belt = guard()
    assert receive(belt, command(0, 1), at_ms=60) == EXPIRED
    assert receive(belt, command(60, 1)) == REPLAYED


def test_a_command_for_another_actuator_is_refused():
    belt = guard()
    assert receive(belt, command(actuator="arm")) == UNKNOWN
    assert not belt.live


def test_an_expired_command_is_no_heart_beat():
    belt = guard()
    assert receive(belt, command(0, 1)) == APPLIED
    assert receive(belt, command(40, 2), at_ms=91) == EXPIRED
    assert silent(belt, 95)


def test_expiry_is_exact_on_the_same_clock():
    assert receive(guard(), command(0), at_ms=50) == APPLIED
    assert receive(guard(), command(0), at_ms=50.001) == EXPIRED


def test_verbs_and_limits():
    limits = {"speed": (0.0, 1.5)}
    good = [{}, {"speed": 0}, {"speed": 1.5}, {"speed": 0.5, "lamp": "red"}]
    bad = [{"speed": -0.01}, {"speed": 1.6}, {"speed": "fast"}, {"speed": float("nan")}]
    for arguments in good:
        assert receive(guard(limits=limits), command(arguments=arguments)) == APPLIED
    for arguments in bad:
        assert receive(guard(limits=limits), command(arguments=arguments)) == LIMIT
    assert receive(guard(), command(verb="reverse")) == LIMIT
    assert receive(guard(verbs=()), command(verb="reverse")) == APPLIED


def test_a_command_outside_the_limits_is_no_heart_beat():
    belt = guard()
    assert receive(belt, command(0, 1)) == APPLIED
    assert receive(belt, command(50, 2, verb="reverse")) == LIMIT
    assert silent(belt, 95)


def test_it_waits_until_all_needed_senders_are_alive():
    belt = guard("box/cam", "box/mic")
    assert receive(belt, command(0, 1)) == WAITING
    assert receive(belt, command(30, 2)) == WAITING
    assert receive(belt, command(40, 1, node="box/mic")) == APPLIED
    assert receive(belt, command(60, 3)) == SEEN


def test_a_sender_that_fell_silent_does_not_count_as_alive():
    belt = guard("box/cam", "box/mic")
    assert receive(belt, command(0, 1)) == WAITING
    assert receive(belt, command(95, 1, node="box/mic")) == WAITING
    assert receive(belt, command(96, 2)) == APPLIED


def test_a_sender_that_is_not_needed_does_not_replace_one_that_is():
    assert receive(guard("box/cam"), command(node="box/other")) == WAITING


def test_silence_means_safe_once_and_before_safe_after_is_over():
    belt = guard("box/cam")
    receive(belt, command(0, 1))
    received, silence = 3, belt.silence_ns / MS
    assert silence + belt.tick_ms < 100
    assert not silent(belt, received + silence - 0.001)
    assert silent(belt, received + silence)
    assert not belt.live
    assert not silent(belt, received + 101)


def test_one_silent_sender_of_two_is_enough():
    belt = guard("box/cam", "box/mic")
    receive(belt, command(0, 1))
    assert receive(belt, command(1, 1, node="box/mic")) == APPLIED
    for at in range(20, 80, 20):
        assert receive(belt, command(at, at)) == SEEN
        assert not silent(belt, at + 3)
    assert silent(belt, 100)


def test_a_sender_that_is_not_needed_may_fall_silent():
    belt = guard("box/cam")
    receive(belt, command(0, 1))
    receive(belt, command(1, 1, node="box/extra"))
    receive(belt, command(60, 2))
    assert not silent(belt, 95)
    assert silent(belt, 145)


def test_the_goodbye_of_a_needed_sender_means_safe_at_once():
    belt = guard("box/cam", "box/mic")
    receive(belt, command(0, 1))
    receive(belt, command(1, 1, node="box/mic"))
    belt.goodbye("box/mic", 7)
    assert silent(belt, 5)


def test_the_goodbye_of_the_last_sender_means_safe_at_once():
    belt = guard()
    receive(belt, command(0, 1))
    belt.goodbye("box/cam", 7)
    assert silent(belt, 5)


def test_the_goodbye_of_another_session_or_an_unknown_sender_changes_nothing():
    belt = guard("box/cam")
    receive(belt, command(0, 1))
    belt.goodbye("box/cam", 8)
    belt.goodbye("box/none", 7)
    assert not silent(belt, 5)


def test_after_the_safe_state_the_decision_in_force_must_be_sent_again():
    belt = guard("box/cam")
    receive(belt, command(0, 1, decision=4))
    assert silent(belt, 200)
    assert receive(belt, command(210, 2, decision=4)) == APPLIED
    assert belt.live


def test_an_older_decision_is_outdated_but_a_heart_beat():
    belt = guard("box/cam", "box/mic")
    receive(belt, command(0, 1, decision=1))
    receive(belt, command(1, 1, decision=1, node="box/mic"))
    assert receive(belt, command(40, 2, decision=3)) == APPLIED
    assert receive(belt, command(41, 2, decision=2, node="box/mic")) == OUTDATED
    assert not silent(belt, 60)
    assert silent(belt, 130)
    assert receive(belt, command(131, 3, decision=3)) == WAITING


def test_a_decision_that_was_not_applied_is_not_in_force():
    belt = guard()
    assert belt.judge(command(0, 1, decision=2), T0) == APPLIED  # and then the device refuses it
    assert belt.judge(command(1, 2, decision=2), T0 + MS) == APPLIED


def test_a_second_daemon_is_refused_while_the_first_is_alive():
    belt = guard("box/cam")
    receive(belt, command(0, 1))
    assert receive(belt, command(10, 1, session=8, decision=1)) == UNKNOWN
    assert receive(belt, command(70, 2)) == SEEN
    assert receive(belt, command(100, 2, session=8)) == UNKNOWN


def test_a_restarted_daemon_takes_over_once_the_old_one_is_silent():
    belt = guard("box/cam")
    receive(belt, command(0, 500, decision=40))
    assert receive(belt, command(70, 1, session=8)) == UNKNOWN
    assert receive(belt, command(100, 2, session=8)) == APPLIED  # numbers start again with a session
    assert receive(belt, command(101, 501, decision=41)) == UNKNOWN
    assert belt.session == 8


def test_a_restarted_daemon_takes_over_at_once_after_a_goodbye():
    belt = guard("box/cam")
    receive(belt, command(0, 500, decision=40))
    belt.goodbye("box/cam", 7)
    assert receive(belt, command(5, 1, session=8)) == APPLIED


def test_a_new_daemon_does_not_need_the_lanes_of_the_old_one():
    belt = guard()
    receive(belt, command(0, 1))
    receive(belt, command(1, 1, node="box/extra"))
    assert receive(belt, command(110, 1, session=8)) == APPLIED
    assert not silent(belt, 114)


def test_an_old_session_is_not_replayed_after_a_restart():
    belt = guard("box/cam")
    old = [command(at, at) for at in range(1, 5)]
    for message in old:
        receive(belt, message)
    belt.goodbye("box/cam", 7)
    assert receive(belt, command(10, 1, session=8)) == APPLIED
    belt.goodbye("box/cam", 8)
    assert [receive(belt, message, at_ms=20) for message in old] == [REPLAYED] * 4
    assert belt.session == 8


def test_a_session_without_a_valid_command_never_becomes_master():
    belt = guard("box/cam")
    assert receive(belt, command(0, 1, session=66, verb="reverse")) == LIMIT
    assert receive(belt, command(0, 2, session=66), at_ms=60) == EXPIRED
    assert belt.session is None
    assert receive(belt, command(61, 1)) == APPLIED


def test_its_memory_is_bounded():
    belt = guard()
    for number in range(3 * REMEMBERED):
        receive(belt, command(number, number, node=f"box/{number}", clock=ELSEWHERE))
        belt.goodbye(f"box/{number}", 7)
    assert len(belt.sequences) <= REMEMBERED
    assert len(belt.transits) <= REMEMBERED + 1


# -- another box, another clock ---------------------------------------------------------------------------------------


class Far:
    """A sender whose clock is off by offset_ms; its messages need 5 ms and the requested delay."""

    def __init__(self, judge, offset_ms, **fields):
        self.judge = judge
        self.offset = int(offset_ms * MS)
        self.fields = {"clock": ELSEWHERE} | fields
        self.sequence = 0

    def send(self, at_ms, late_ms=0.0):
        self.sequence += 1
        theirs = T0 + int(at_ms * MS) + self.offset
        message = command(sequence=self.sequence, **self.fields)._replace(t_capture=theirs, t_sent=theirs + 2 * MS)
        return receive(self.judge, message, at_ms + 2 + 5 + late_ms)


@pytest.mark.parametrize("offset_ms", [-9_000_000.0, 0.0, 1e9])
def test_a_foreign_clock_may_show_any_time(offset_ms):
    far = Far(guard(), offset_ms)
    assert far.send(0) == APPLIED
    assert far.send(30) == SEEN


def test_a_delayed_message_from_a_foreign_clock_expires():
    far = Far(guard(), 3_600_000)
    far.send(0)
    assert far.send(30, late_ms=47) == SEEN  # 2 ms on the way out and 47 more
    assert far.send(100, late_ms=49) == EXPIRED


def test_all_delayed_messages_expire_together():
    """A link that stalls for 300 ms and then delivers everything at once."""
    far = Far(guard(), -3_600_000)
    far.send(0)
    assert [far.send(at, late_ms=300 - at) for at in range(0, 240, 30)] == [EXPIRED] * 8
    assert far.send(300) in (APPLIED, SEEN)


def test_a_foreign_clock_that_jumps_ahead_is_accepted():
    belt = guard()
    far = Far(belt, 0)
    far.send(0)
    far.offset += 60_000 * MS
    assert far.send(30) == SEEN
    assert far.send(60, late_ms=60) == EXPIRED


def test_a_foreign_clock_that_jumps_back_is_refused_for_20_s_at_most():
    belt = guard()
    far = Far(belt, 0)
    far.send(0)
    far.offset -= 60_000 * MS
    verdicts = [far.send(at) for at in range(30, 21_000, 30)]
    assert verdicts[0] == EXPIRED
    assert verdicts[-1] == SEEN
    assert verdicts.count(EXPIRED) * 30 <= 20_100


def test_a_sender_box_that_reboots_has_a_new_clock_and_is_accepted_at_once():
    belt = guard()
    Far(belt, 0).send(0)
    again = Far(belt, -5_000_000, clock=3, session=8)
    assert again.send(40_000) == APPLIED


def test_delays_are_counted_from_the_least_of_the_last_windows():
    transit = Transit()
    second = 1_000_000_000
    assert transit.extra(50, 0) == 0
    assert transit.extra(80, second) == 30
    assert transit.extra(40, 2 * second) == 0
    assert transit.extra(90, 11 * second) == 50  # a new window still knows the one before
    assert transit.extra(90, 22 * second) == 0


# -- any traffic ------------------------------------------------------------------------------------------------------

NODES = ("box/cam", "box/mic", "box/extra")


class AnyTraffic(RuleBasedStateMachine):
    """Good and bad messages, time passing, goodbyes and restarts, with calls like those of `ActuatorServer`."""

    @initialize(needed=st.sets(st.sampled_from(NODES[:2])))
    def start(self, needed):
        self.needed = needed
        self.belt = guard(*needed)
        self.now = T0
        self.sequence = 0
        self.good = {}  # node -> time of its last good message, of any session that was master
        self.applied = []

    @rule(
        node=st.sampled_from(NODES),
        session=st.integers(7, 9),
        decision=st.integers(1, 4),
        age_ms=st.sampled_from((0, 20, 51)),
        verb=st.sampled_from(("run", "stop", "reverse")),
        again=st.booleans(),
    )
    def send(self, node, session, decision, age_ms, verb, again):
        self.sequence += not again
        t = self.now - age_ms * MS
        message = command(sequence=self.sequence, decision=decision, session=session, node=node, verb=verb)
        message = message._replace(t_capture=t, t_sent=t)
        verdict = self.belt.judge(message, self.now)
        assert age_ms <= 50 or verdict not in (APPLIED, SEEN, WAITING, OUTDATED)
        assert verb != "reverse" or verdict not in (APPLIED, SEEN, WAITING, OUTDATED)
        if verdict in (APPLIED, SEEN, WAITING, OUTDATED):
            self.good[node] = self.now
        if verdict == APPLIED:
            key = (session, node, self.sequence)
            assert key not in self.applied
            self.applied.append(key)
            self.belt.applied(message)
        self.tick()

    @rule(node=st.sampled_from(NODES), session=st.integers(7, 9))
    def goodbye(self, node, session):
        self.belt.goodbye(node, session)
        if session == self.belt.session:
            self.good.pop(node, None)
        self.tick()

    @rule(ms=st.sampled_from((1, 10, 30, 79, 80, 200)))
    def wait(self, ms):
        self.now += ms * MS
        self.tick()

    @rule()
    def fault(self):
        self.belt.safe()

    def tick(self):
        if self.belt.silent(self.now):
            assert not self.belt.silent(self.now)

    @invariant()
    def never_live_without_all_needed_senders(self):
        if not hasattr(self, "belt") or not self.belt.live:
            return
        assert all(self.now - self.good.get(node, 0) < SAFE_AFTER for node in self.needed)
        assert self.good


TestAnyTraffic = AnyTraffic.TestCase
TestAnyTraffic.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
