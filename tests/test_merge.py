"""Redundant boxes at one actuator: whose word is in force, in any order of messages, deaths and returns."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.commands.guard import Bounds
from agent.commands.merge import MergedGuard, Redundancy, Word
from agent.commands.wire import (
    APPLIED,
    EXPIRED,
    LIMIT,
    OUTDATED,
    OVERRULED,
    REPEATED,
    REPLAYED,
    UNKNOWN,
    UNPROVEN,
    WAITING,
)
from tests.test_guard import ELSEWHERE, HERE, MS, SAFE_AFTER, T0, Far, command, proven

VERBS = ("run", "slow", "stop", "mark")


def guard(*senders, strongest=("stop",), boxes=("a", "b")):
    bounds = Bounds(frozenset(senders), SAFE_AFTER, frozenset(VERBS), {})
    return MergedGuard("belt", bounds, HERE, Redundancy(boxes, strongest, 1000 * MS))


class Sender:
    """A lane of a box, with the decision that it repeats."""

    def __init__(self, judge, node, session=1):
        self.judge, self.node, self.session = judge, node, session
        self.sequence = self.decision = 0

    def says(self, verb, at_ms, arrives_ms=None):
        """A new decision, captured at_ms; it arrives 3 ms later, or at another time."""
        self.decision, self.verb = self.decision + 1, verb
        return self.beats(at_ms, arrives_ms)

    def beats(self, at_ms, arrives_ms=None):
        self.sequence += 1
        fields = {"node": self.node, "session": self.session, "decision": self.decision, "verb": self.verb}
        message = proven(self.judge, command(at_ms, self.sequence, **fields))
        verdict = self.judge.judge(message, T0 + int((at_ms + 3 if arrives_ms is None else arrives_ms) * MS))
        if verdict == APPLIED:
            self.judge.applied(message)
        return verdict

    def restarts(self):
        self.session += 1
        self.sequence = self.decision = 0


def twins(**more):
    """Both alive, and at rest."""
    belt = guard(**more)
    a, b = Sender(belt, "a/cam"), Sender(belt, "b/cam")
    assert a.says("run", 0) == APPLIED
    assert b.says("run", 1) == REPEATED
    return belt, a, b


def pass_time(belt, at_ms):
    """As the server's loop does: True where the device must be made safe. The word of another box may come in force."""
    now = T0 + int(at_ms * MS)
    if belt.overdue(now) and belt.silent(now):
        return True
    belt.take_over()
    return False


def verb(belt):
    return belt.in_force.verb if belt.in_force else ""


def test_the_second_box_that_says_the_same_is_seen_and_moves_nothing():
    belt, a, b = twins()
    assert a.says("mark", 20) == APPLIED
    assert b.says("mark", 21) == REPEATED
    assert (a.beats(40), b.beats(41)) == (REPEATED, REPEATED)


def test_the_same_verb_with_other_arguments_is_another_word():
    belt, a, b = twins()
    message = proven(belt, command(20, 9, node="b/cam", session=1, decision=2, arguments={"speed": 1}))
    assert belt.judge(message, T0 + 23 * MS) == APPLIED


def test_the_strongest_verb_of_any_box_holds_until_no_box_says_it():
    belt, a, b = twins()
    assert a.says("stop", 20) == APPLIED
    assert b.beats(22) == OVERRULED
    assert b.says("slow", 30) == OVERRULED
    assert b.says("stop", 40) == REPEATED
    assert a.says("run", 50) == OVERRULED
    assert verb(belt) == "stop"
    assert b.says("run", 55) == APPLIED
    assert a.beats(60) == REPEATED


def test_of_two_strongest_verbs_the_one_listed_first_holds():
    belt, a, b = twins(strongest=("stop", "slow"))
    assert a.says("slow", 20) == APPLIED
    assert b.says("stop", 21) == APPLIED
    assert a.says("run", 30) == OVERRULED
    assert b.says("run", 31) == APPLIED


def test_what_one_box_releases_another_may_hold():
    """Its word comes in force without a message of its own."""
    belt, a, b = twins(strongest=("stop", "slow"))
    assert a.says("stop", 20) == APPLIED
    assert b.says("slow", 21) == OVERRULED
    assert a.says("run", 30) == OVERRULED
    assert belt.take_over() == Word("slow", {})
    assert belt.take_over() is None
    assert b.beats(35) == REPEATED


def test_otherwise_the_newest_change_counts_whichever_arrives_first():
    for order in ("ab", "ba"):
        belt, a, b = twins()
        verdicts = {}
        for name in order:
            sender, change, at_ms = (a, "mark", 20) if name == "a" else (b, "slow", 25)
            verdicts[name] = sender.says(change, at_ms, arrives_ms=40)
        assert verb(belt) == "slow"
        assert verdicts["b"] == APPLIED
        assert verdicts["a"] == (APPLIED if order == "ab" else OVERRULED)


def test_a_twin_that_is_late_does_not_repeat_an_event_that_is_over():
    belt, a, b = twins()
    assert a.says("mark", 10) == APPLIED
    assert a.says("run", 20) == APPLIED
    assert b.says("mark", 11, arrives_ms=40) == OVERRULED
    assert b.says("run", 21, arrives_ms=41) == REPEATED


def test_a_new_decision_with_the_same_word_is_no_change():
    belt, a, b = twins()
    assert a.says("mark", 20) == APPLIED
    assert b.says("run", 30) == OVERRULED
    assert a.says("mark", 40) == REPEATED


def test_the_word_of_a_dead_box_drops_out_within_the_silence_and_the_other_holds():
    belt, a, b = twins()
    assert a.says("mark", 20) == APPLIED
    for at in (40, 60, 80, 97):
        assert b.beats(at) == OVERRULED
    assert not pass_time(belt, 101) and verb(belt) == "mark"  # sent at 22
    assert not pass_time(belt, 102) and verb(belt) == "run"
    assert b.beats(110) == REPEATED


def test_a_box_that_dies_with_the_word_in_force_of_both_changes_nothing():
    belt, a, b = twins()
    for at in range(20, 300, 20):
        assert b.beats(at) == REPEATED
        assert not pass_time(belt, at + 4)
    assert not belt.boxes["a"].guard.live


def test_a_goodbye_drops_the_word_at_once():
    belt, a, b = twins()
    assert a.says("stop", 20) == APPLIED
    assert b.beats(21) == OVERRULED
    belt.goodbye("a/cam", 1)
    assert not pass_time(belt, 25) and verb(belt) == "run"


def test_the_silence_of_all_boxes_means_safe_once():
    belt, a, b = twins()
    a.says("mark", 20)
    assert not pass_time(belt, 90)
    assert pass_time(belt, 103)
    assert verb(belt) == "" and not pass_time(belt, 104)
    assert b.says("slow", 110) == APPLIED


def test_boxes_that_are_not_listed_are_never_heard():
    belt, a, b = twins()
    c = Sender(belt, "c/cam")
    assert c.says("stop", 5) == UNKNOWN
    belt.goodbye("c/cam", 1)
    assert pass_time(belt, 200)
    assert c.says("stop", 201) == UNKNOWN
    assert verb(belt) == ""


def test_each_box_has_one_daemon_at_a_time():
    belt, a, b = twins()
    second = Sender(belt, "a/cam", session=9)
    assert second.says("stop", 20) == UNKNOWN
    assert b.beats(60) == REPEATED
    assert not pass_time(belt, 90)
    assert second.says("stop", 92) == APPLIED
    assert a.beats(95) == UNKNOWN


def test_a_box_is_alive_while_all_its_senders_are_and_the_other_does_not_need_them():
    belt = guard("a/cam", "a/mic", "b/cam")
    cam, mic, b = Sender(belt, "a/cam"), Sender(belt, "a/mic"), Sender(belt, "b/cam")
    assert cam.says("stop", 0) == WAITING
    assert b.says("run", 1) == APPLIED
    assert mic.says("stop", 2) == APPLIED
    assert (b.beats(60), mic.beats(61)) == (OVERRULED, REPEATED)
    assert not pass_time(belt, 83) and verb(belt) == "run"
    assert mic.beats(85) == WAITING


def test_a_box_that_returns_changes_nothing_unless_its_verb_is_a_strongest():
    belt, a, b = twins()
    assert b.says("mark", 20) == APPLIED
    a.restarts()
    for at in (40, 60, 80):
        b.beats(at)
        pass_time(belt, at + 4)
    assert a.says("run", 90) == OVERRULED
    assert a.says("slow", 95) == APPLIED  # that is a change
    a.restarts()
    for at in (120, 140, 160, 179):
        b.beats(at)
        pass_time(belt, at + 4)
    assert verb(belt) == "mark"
    assert a.says("run", 185) == OVERRULED
    assert a.says("stop", 190) == APPLIED


def test_a_new_daemon_changes_nothing_either_where_the_silence_of_the_old_one_was_not_noticed_yet():
    belt, a, b = twins()
    assert b.says("mark", 20) == APPLIED
    assert b.beats(60) == REPEATED
    assert Sender(belt, "a/cam", session=9).says("slow", 90) == OVERRULED


def test_after_a_fault_of_the_device_the_next_heartbeat_moves_it_again():
    belt, a, b = twins()
    a.says("stop", 20)
    belt.safe()
    assert belt.take_over() is None
    assert b.beats(30) == OVERRULED
    assert a.beats(31) == APPLIED


def test_a_word_that_the_device_did_not_accept_is_not_in_force():
    belt, a, b = twins()
    for sequence in (7, 8):  # the second as a heartbeat
        message = proven(belt, command(20 + sequence, sequence, node="a/cam", session=1, decision=2, verb="mark"))
        assert belt.judge(message, T0 + (23 + sequence) * MS) == APPLIED


def test_every_other_refusal_is_that_of_the_box_alone():
    belt, a, b = twins()
    a.decision += 1
    assert a.beats(5, arrives_ms=60) == EXPIRED
    a.sequence -= 1
    assert a.beats(5) == REPLAYED
    assert a.says("reverse", 20) == LIMIT
    assert a.says("mark", 22) == APPLIED
    a.decision -= 1
    assert a.beats(25) == OUTDATED
    message = command(30, 50, node="a/cam", session=1)
    assert belt.judge(message, T0 + 33 * MS) == UNPROVEN
    assert belt.judge(message._replace(actuator="arm"), T0 + 33 * MS) == UNKNOWN


def test_boxes_whose_clocks_differ_by_seconds_are_merged_by_when_they_captured():
    for offset_ms in (-7000.0, 7000.0):
        belt = guard()
        a = Sender(belt, "a/cam")
        b = Far(belt, offset_ms, node="b/cam", session=1, verb="run", clock=ELSEWHERE)
        assert a.says("run", 0) == APPLIED
        assert b.send(0) == UNPROVEN
        assert b.send(20) == REPEATED
        b.fields |= {"verb": "slow", "decision": 2}
        assert b.send(40) == APPLIED
        assert a.says("mark", 55) == APPLIED
        assert b.send(56) == OVERRULED
        b.fields |= {"verb": "run", "decision": 3}
        assert b.send(70) == APPLIED


def test_the_state_says_who_is_alive_and_since_when_they_differ():
    belt, a, b = twins()
    assert belt.state.differ_since == 0
    b.says("slow", 20)
    a.beats(30)
    assert belt.state.differ_since == T0 + 23 * MS
    assert [(box.name, box.verb) for box in belt.state.boxes] == [("a", "run"), ("b", "slow")]
    assert belt.state.verb == "slow"
    a.says("slow", 40)
    assert belt.state.differ_since == 0
    b.beats(90)
    pass_time(belt, 130)
    gone = belt.state.boxes[0]
    assert not gone.alive and gone.missing == ("a/cam is silent",)


# -- any order --------------------------------------------------------------------------------------------------------

changes = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(VERBS)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(changes, st.randoms(use_true_random=False), st.sampled_from([(), ("stop",), ("stop", "slow")]))
def test_what_is_in_force_at_the_end_does_not_depend_on_the_order_of_arrival(said, chance, strongest):
    """Of two boxes that live throughout; each one's own messages come in their order."""
    ends = set()
    for _ in range(3):
        belt, *senders = twins(strongest=strongest)
        by_name = dict(zip("ab", senders))
        for name, change, at_ms in _shuffled(said, chance):
            before = _since(belt)
            by_name[name].says(change, at_ms, arrives_ms=45)
            belt.take_over()
            assert strongest or _since(belt) >= before  # never an older word than the one in force
        ends.add(verb(belt))
    last = {"a": ("run", 0), "b": ("run", 0)}
    for at_ms, (name, change) in enumerate(said, 3):
        last[name] = (change, at_ms) if last[name][0] != change else last[name]
    strong = [word for word in strongest if word in (last["a"][0], last["b"][0])]
    newest = max(last.values(), key=lambda change: change[1])[0]
    assert ends == {strong[0] if strong else newest}


def _shuffled(said, chance):
    """(box, verb, capture ms): both boxes' messages merged at random, each box's in order."""
    queues = {name: [(name, word, at) for at, (box, word) in enumerate(said, 3) if box == name] for name in "ab"}
    while any(queues.values()):
        yield queues[chance.choice([name for name in queues if queues[name]])].pop(0)


def _since(belt):
    return max(box.since for box in belt.boxes.values() if box.word == belt.in_force)


class AnyTwins(RuleBasedStateMachine):
    """Two boxes and a stranger; they change their minds, beat, die, leave and restart; calls as of `ActuatorServer`."""

    @initialize(strongest=st.sampled_from([(), ("stop",), ("stop", "slow")]))
    def start(self, strongest):
        self.strongest = strongest
        self.belt = guard("a/cam", "a/mic", "b/cam", strongest=strongest)
        self.now_ms = 10.0
        self.device = ""  # what it does; empty: it is safe
        self.lanes = {node: Sender(self.belt, node) for node in ("a/cam", "a/mic", "b/cam", "c/cam")}
        self.mind = dict.fromkeys("abc", (1, "run"))  # the box's decision
        self.fresh = {}  # node -> when its last accepted message was sent, ms

    @rule(node=st.sampled_from(("a/cam", "a/mic", "b/cam", "c/cam")), age_ms=st.sampled_from((0, 0, 0, 20, 51)))
    def beat(self, node, age_ms):
        self._send(node, age_ms)

    @rule(box=st.sampled_from("abc"), word=st.sampled_from(VERBS))
    def change(self, box, word):
        self.mind[box] = self.mind[box][0] + 1, word
        self._send(f"{box}/cam", 0)

    @rule(box=st.sampled_from("abc"), word=st.sampled_from(VERBS))
    def restart(self, box, word):
        self.mind[box] = 1, word
        for node, sender in self.lanes.items():
            if node.startswith(box):
                sender.restarts()

    @rule(node=st.sampled_from(("a/cam", "a/mic", "b/cam", "c/cam")))
    def leave(self, node):
        self.belt.goodbye(node, self.lanes[node].session)
        if self.belt.boxes.get(node[0]) and self.belt.boxes[node[0]].guard.session == self.lanes[node].session:
            self.fresh.pop(node, None)
        self._turn()

    @rule(ms=st.sampled_from((1, 10, 30, 79, 200)))
    def wait(self, ms):
        self.now_ms += ms
        self._turn()

    @rule()
    def fault(self):
        """The device fails, and was made safe."""
        self.belt.safe()
        self.device = ""

    def _send(self, node, age_ms):
        sender = self.lanes[node]
        sender.decision, sender.verb = self.mind[node[0]]
        verdict = sender.beats(self.now_ms - age_ms - 2, arrives_ms=self.now_ms)
        assert node[0] != "c" or verdict == UNKNOWN
        assert age_ms < 50 or verdict not in (APPLIED, REPEATED, OVERRULED, WAITING)
        if verdict in (APPLIED, REPEATED, OVERRULED, WAITING):
            self.fresh[node] = self.now_ms - age_ms
        if verdict == APPLIED:
            assert self.device != sender.verb
            self.device = sender.verb
        assert verdict != REPEATED or self.device == sender.verb
        assert verdict != OVERRULED or self.device != sender.verb
        self._turn()

    def _turn(self):
        now = T0 + int(self.now_ms * MS)
        if self.belt.overdue(now) and self.belt.silent(now):
            assert not self.belt.silent(now)
            self.device = ""
        elif word := self.belt.take_over():
            assert self.device not in ("", word.verb)
            self.device = word.verb

    def _living(self):
        needed = {"a": ("a/cam", "a/mic"), "b": ("b/cam",)}
        return {box for box in needed if all(self.now_ms - self.fresh.get(node, -1e9) < 80 for node in needed[box])}

    @invariant()
    def only_words_of_living_boxes_and_the_strongest_first(self):
        if not hasattr(self, "belt"):
            return
        said = {box.word.verb for box in self.belt.boxes.values() if box.guard.live}
        assert {box.name for box in self.belt.boxes.values() if box.guard.live} <= self._living()
        assert not self.device or self.device in said
        assert self.device == verb(self.belt)
        strong = [word for word in self.strongest if word in said]
        assert not self.device or not strong or self.device == strong[0]


TestAnyTwins = AnyTwins.TestCase
TestAnyTwins.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
