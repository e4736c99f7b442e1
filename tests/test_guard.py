"""The last check: which command may move an actuator, and that silence always ends in the safe state."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.commands.guard import REMEMBERED, Bounds, Guard
from agent.commands.proof import PROOF_NS, Echo
from agent.commands.wire import (
    APPLIED,
    EXPIRED,
    LIMIT,
    MAX_TTL_US,
    OUTDATED,
    REPEATED,
    REPLAYED,
    UNKNOWN,
    UNPROVEN,
    WAITING,
)
from agent.data import Ack, Command

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


def proven(judge, message, t_ack=None):
    """It echoes an acknowledgement that its sender has read 1 ms before it sent this."""
    t_ack = message.t_sent - 2 * MS if t_ack is None else t_ack
    nonce = judge.nonces.nonce(message.node, message.session, t_ack)
    return message._replace(nonce=nonce, t_echo=t_ack, held=1000)


def receive(judge, message, at_ms=None):
    """Judge it at_ms, or 3 ms after its capture, with a proof of its own; apply it where that is the verdict."""
    message = message if message.nonce else proven(judge, message)
    verdict = judge.judge(message, message.t_capture + 3 * MS if at_ms is None else T0 + int(at_ms * MS))
    if verdict == APPLIED:
        judge.applied(message)
    return verdict


def silent(judge, at_ms):
    return judge.silent(T0 + int(at_ms * MS))


def test_a_command_is_applied_once_and_then_repeated():
    belt = guard()
    assert receive(belt, command(0, 1)) == APPLIED
    assert receive(belt, command(30, 2)) == REPEATED
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
    assert receive(belt, command(60, 3)) == REPEATED


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
    sent, silence = 2, belt.silence_ns / MS
    assert silence + belt.tick_ms < 100
    assert not silent(belt, sent + silence - 0.001)
    assert silent(belt, sent + silence)
    assert not belt.live
    assert not silent(belt, sent + 101)


def test_one_silent_sender_of_two_is_enough():
    belt = guard("box/cam", "box/mic")
    receive(belt, command(0, 1))
    assert receive(belt, command(1, 1, node="box/mic")) == APPLIED
    for at in range(20, 80, 20):
        assert receive(belt, command(at, at)) == REPEATED
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
    for at in (0, 1):  # the device refuses it
        assert belt.judge(proven(belt, command(at, at + 1, decision=2)), T0 + (at + 3) * MS) == APPLIED


def test_a_second_daemon_is_refused_while_the_first_is_alive():
    belt = guard("box/cam")
    receive(belt, command(0, 1))
    assert receive(belt, command(10, 1, session=8, decision=1)) == UNKNOWN
    assert receive(belt, command(70, 2)) == REPEATED
    assert receive(belt, command(100, 2, session=8)) == UNKNOWN


def test_a_restarted_daemon_takes_over_once_the_old_one_is_silent():
    belt = guard("box/cam")
    receive(belt, command(0, 500, decision=40))
    assert receive(belt, command(70, 1, session=8)) == UNKNOWN
    assert receive(belt, command(100, 2, session=8)) == APPLIED  # numbers start again with a session
    assert receive(belt, command(101, 501, decision=41)) == UNKNOWN
    assert belt.session == 8


def test_a_daemon_of_other_senders_does_not_keep_the_needed_one_out():
    belt = guard("box/cam")
    assert receive(belt, command(0, 1, node="other/cam", session=9)) == WAITING
    assert receive(belt, command(10, 1)) == APPLIED
    assert receive(belt, command(20, 2, node="other/cam", session=9)) == UNKNOWN
    assert not silent(belt, 80) and silent(belt, 95)
    assert receive(belt, command(100, 3, node="other/cam", session=9)) == WAITING
    assert receive(belt, command(110, 2, decision=2)) == APPLIED


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


def test_a_flood_of_strangers_is_not_remembered():
    belt = guard()
    assert receive(belt, command(0, 5)) == APPLIED
    kept = dict(belt.sequences)
    for number in range(3 * REMEMBERED):
        assert belt.judge(command(3, number, node=f"box/{number}", session=number), T0 + 6 * MS) == UNPROVEN
        assert receive(belt, command(3, number, node=f"box/{number}", session=number + 8)) == UNKNOWN
    assert belt.sequences == kept
    assert receive(belt, command(4, 5)) == REPLAYED


# -- proof of freshness -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [HERE, ELSEWHERE])
def test_a_command_without_proof_is_refused_on_every_clock(clock):
    belt = guard()
    fresh = command(0, 1, clock=clock)
    good = proven(belt, fresh)
    assert belt.judge(fresh, T0 + 3 * MS) == UNPROVEN
    for wrong in (
        {"nonce": good.nonce ^ 1},
        {"t_echo": good.t_echo + 1},
        {"node": "box/mic"},  # another sender's proof
        {"session": 8},
        {"held": 60_000},  # sent later than now
    ):
        assert belt.judge(good._replace(**wrong), T0 + 3 * MS) == UNPROVEN
    assert receive(belt, good) == APPLIED


def test_a_proof_ends():
    for age, verdict in ((PROOF_NS, APPLIED), (PROOF_NS + 1, UNPROVEN)):
        belt = guard()
        late = proven(belt, command(0, 1), T0 + 3 * MS - age)._replace(held=(age - 2 * MS) // 1000)
        assert receive(belt, late) == verdict


def test_an_acknowledgement_from_before_the_restart_proves_nothing():
    belt, restarted = guard(), guard()
    message = proven(belt, command(0, 1))
    assert receive(restarted, message) == UNPROVEN
    assert receive(belt, message) == APPLIED


def test_a_ttl_above_the_limit_is_refused():
    for ttl in (MAX_TTL_US + 1, 2**60):
        assert receive(guard(), command(0, 1, ttl=ttl)) == EXPIRED
    assert receive(guard(), command(0, 1, ttl=MAX_TTL_US)) == APPLIED


def test_what_was_sent_longer_ago_than_a_silence_is_no_sign_of_life():
    """However long its ttl."""
    belt = guard()
    assert receive(belt, command(0, 1, ttl=500_000), at_ms=81.999) == APPLIED
    assert silent(belt, 82)
    assert receive(guard(), command(0, 1, ttl=500_000), at_ms=82) == EXPIRED


def test_delay_does_not_prolong_a_movement():
    """Safe 80 ms after the sending of the last message, whenever that arrived."""
    belt = guard()
    assert receive(belt, command(0, 1)) == APPLIED
    assert receive(belt, command(30, 2, ttl=500_000), at_ms=75) == REPEATED
    assert not silent(belt, 111.999)
    assert silent(belt, 112)


# -- another box, another clock ---------------------------------------------------------------------------------------


class Far:
    """A sender whose clock is off by offset_ms. Its messages and their acknowledgements need 5 ms, and extra delay."""

    def __init__(self, judge, offset_ms, **fields):
        self.judge = judge
        self.offset = int(offset_ms * MS)
        self.fields = {"clock": ELSEWHERE, "node": "box/cam", "session": 7, "ttl": 50_000} | fields
        self.sequence = 0
        self.echo = Echo()
        self.on_the_way = []  # (arrival on our clock, acknowledgement)

    def send(self, at_ms, late_ms=0.0, ack_late_ms=0.0):
        """Captured at_ms, sent 2 ms later."""
        self.sequence += 1
        theirs = T0 + int((at_ms + 2) * MS) + self.offset
        self.read(theirs - self.offset)
        message = command(sequence=self.sequence, **self.fields)._replace(
            t_capture=theirs - 2 * MS,
            t_sent=theirs,
            nonce=self.echo.nonce,
            t_echo=self.echo.t_ack,
            held=(theirs - self.echo.t_read) // 1000 if self.echo.nonce else 0,
        )
        received_ms = at_ms + 2 + 5 + late_ms
        verdict = self.judge.judge(message, T0 + int(received_ms * MS))
        if verdict == APPLIED:
            self.judge.applied(message)
        t_ack = T0 + int(received_ms * MS)
        nonce = self.judge.nonces.nonce(message.node, message.session, t_ack)
        ack = Ack("belt", message.session, self.sequence, verdict, 0, HERE, nonce, t_ack)
        self.on_the_way.append((t_ack + int((5 + ack_late_ms) * MS), ack))
        return verdict

    def read(self, now):
        while self.on_the_way and self.on_the_way[0][0] <= now:
            arrival, ack = self.on_the_way.pop(0)
            self.echo.take(ack, arrival + self.offset, ack.verdict == UNPROVEN)


@pytest.mark.parametrize("offset_ms", [-9_000_000.0, 0.0, 1e9])
@pytest.mark.parametrize("clock", [HERE, ELSEWHERE])
def test_a_foreign_clock_may_show_any_time(offset_ms, clock):
    """Also where it claims to be ours, as a copied virtual machine's does."""
    far = Far(guard(), offset_ms, clock=clock)
    assert far.send(0) == UNPROVEN
    assert far.send(20) == APPLIED
    assert [far.send(at) for at in range(40, 1000, 20)] == [REPEATED] * 48


def test_a_delayed_message_from_a_foreign_clock_expires():
    far = Far(guard(), 3_600_000)
    far.send(0)
    assert far.send(20) == APPLIED
    assert far.send(40, late_ms=37) == REPEATED  # 2 ms before it was sent, 5 ms each way, and 37 more
    assert far.send(80, late_ms=39) == EXPIRED


def test_all_delayed_messages_expire_together():
    """A link that stalls for 300 ms and then delivers everything at once."""
    far = Far(guard(), -3_600_000)
    far.send(0)
    far.send(20)
    assert {far.send(at, late_ms=300 - at) for at in range(40, 240, 30)} == {EXPIRED}
    assert far.send(310) in (APPLIED, REPEATED)


@pytest.mark.parametrize("slope", [0.002, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("way", ["late_ms", "ack_late_ms"])
@pytest.mark.parametrize("ttl", [50_000, 500_000, 10_000_000])
def test_kind_a_slow_rise_of_delay_does_not_become_normal(slope, way, ttl):
    """No message moves the device that was on its way for 80 ms, nor one whose answers take longer than that."""
    belt = guard()
    far = Far(belt, 3_600_000, ttl=ttl)
    far.send(0)
    for step in range(1, int(450 / slope / 20) + 100):
        at, delay = 20 * step, min(450.0, slope * 20 * step)
        verdict = far.send(at, **{way: delay})
        belt.silent(T0 + int((at + 7 + (delay if way == "late_ms" else 0)) * MS))
        if (delay >= 80 and way == "late_ms") or step * 20 * slope > 450 + 400 * slope:
            assert verdict in (EXPIRED, UNPROVEN) and not belt.live, delay
    assert delay == 450


@pytest.mark.parametrize("jump_ms", [60_000, -60_000])
def test_a_foreign_clock_that_jumps_is_accepted_again_at_once(jump_ms):
    far = Far(guard(), 0)
    far.send(0)
    assert far.send(20) == APPLIED
    far.read(T0 + 35 * MS)  # the last acknowledgement of before the jump
    far.offset += jump_ms * MS
    assert far.send(40) in (UNPROVEN, EXPIRED, REPEATED)
    assert {far.send(at) for at in range(60, 1000, 20)} <= {APPLIED, REPEATED}


def test_a_sender_box_that_reboots_has_a_new_clock_and_is_accepted_at_once():
    belt = guard()
    Far(belt, 0).send(0)
    again = Far(belt, -5_000_000, clock=3, session=8)
    assert again.send(40_000) == UNPROVEN
    assert again.send(40_020) == APPLIED


def test_the_fastest_acknowledgement_of_late_is_echoed():
    echo = Echo()
    for back_ms, at_ms, kept in ((30, 0, True), (5, 20, True), (40, 40, False), (6, 60, False), (40, 125, True)):
        t_ack = T0 + at_ms * MS
        echo.take(Ack("belt", 7, 1, APPLIED, 0, HERE, at_ms, t_ack), t_ack + back_ms * MS, False)
        assert (echo.t_ack == t_ack) == kept
    echo.take(Ack("belt", 7, 1, UNPROVEN, 0, HERE, 9, T0 + 126 * MS), T0 + 226 * MS, True)
    assert echo.nonce == 9


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
        clock=st.sampled_from((HERE, ELSEWHERE)),
    )
    def send(self, node, session, decision, age_ms, verb, again, clock):
        self.sequence += not again
        t = self.now - age_ms * MS
        message = command(sequence=self.sequence, decision=decision, session=session, node=node, verb=verb)
        message = message._replace(t_capture=t, t_sent=t)
        message = proven(self.belt, message)._replace(clock=clock)
        verdict = self.belt.judge(message, self.now)
        assert age_ms <= 50 or verdict not in (APPLIED, REPEATED, WAITING, OUTDATED)
        assert verb != "reverse" or verdict not in (APPLIED, REPEATED, WAITING, OUTDATED)
        assert age_ms or verdict != UNPROVEN
        if verdict in (APPLIED, REPEATED, WAITING, OUTDATED):
            self.good[node] = t
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
