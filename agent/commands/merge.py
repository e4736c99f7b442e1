"""Redundant boxes that command one actuator: whose word is in force. Time is an argument, as in guard.py.

Each box is judged by a guard of its own, as if it were alone: its proof, its daemon, its decisions, its silence. What
it commands is its word, a level that lasts until it says another. Here the words of the living boxes become one:

    the strongest verb that any of them says; else the word of the box that changed its mind last.

No box leads, and none knows of the other. So nothing is handed over when one dies: its word drops out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent.commands import wire
from agent.commands.guard import Bounds, Guard
from agent.commands.proof import Nonces
from agent.data import Arguments, Command


class Redundancy(NamedTuple):
    """boxes: nodes that command the same actuator. strongest: verbs that any one of them enforces, the first first.

    alarm_ns: for how long living boxes may disagree.
    """

    boxes: Sequence[str]
    strongest: Sequence[str]
    alarm_ns: int


class Word(NamedTuple):
    """What an actuator is to do. Two decisions with the same word are the same."""

    verb: str
    arguments: Arguments


class BoxState(NamedTuple):
    """alive: all of its senders are fresh. verb: what it says; missing: senders that it lacks, where it is not."""

    name: str
    alive: bool
    verb: str
    missing: tuple[str, ...]


class State(NamedTuple):
    """For people. verb: in force, empty in the safe state. differ_since: monotonic ns; 0 while living boxes agree."""

    verb: str
    boxes: tuple[BoxState, ...]
    differ_since: int


class Box:
    """One of the boxes. `guard.live` says whether it is alive."""

    def __init__(self, name: str, number: int, guard: Guard) -> None:
        self.name = name
        self.number = number  # of two changes at the same time the one of the box that is listed first counts
        self.guard = guard
        self.session: int | None = None
        self.word = Word("", {})
        self.since = 0  # capture, on this clock, of what made it say that


class MergedGuard:
    """The guard of an actuator with redundant boxes; `ActuatorServer` calls it as it calls a Guard."""

    def __init__(self, actuator: str, bounds: Bounds, clock: int, redundancy: Redundancy) -> None:
        """bounds.senders: of all boxes; of a box that has none there, all that have sent and not left."""
        self.actuator = actuator
        self.clock = clock
        self.redundancy = redundancy
        self.nonces = Nonces()
        self.boxes: dict[str, Box] = {}
        for number, name in enumerate(redundancy.boxes):
            senders = frozenset(sender for sender in bounds.senders if box_of(sender) == name)
            guard = Guard(actuator, bounds._replace(senders=senders), clock)
            guard.nonces = self.nonces
            self.boxes[name] = Box(name, number, guard)
        self.tick_ms = guard.tick_ms
        self.word: Word | None = None  # of the living boxes together; None where there is none
        self.in_force: Word | None = None  # at the device; None in the safe state
        self.state = self._state(0)  # replaced, never changed: another thread reads it

    def judge(self, command: Command, now: int) -> int:
        """As Guard.judge. REPEATED: its word is in force already, by whichever box. OVERRULED: another word is."""
        box = self.boxes.get(box_of(command.node))
        if box is None:
            return wire.UNKNOWN
        joins = not box.guard.live
        verdict = box.guard.judge(command, now)
        if verdict == wire.APPLIED:
            self._hear(box, command, now, joins or box.session != command.session)
            box.guard.applied(command)
            self._merge(now)
        elif verdict != wire.REPEATED:
            return verdict
        if box.word != self.word:
            return wire.OVERRULED
        return wire.REPEATED if self.word == self.in_force else wire.APPLIED

    def applied(self, command: Command) -> None:
        self._enforce(Word(command.verb, command.arguments))

    def take_over(self) -> Word | None:
        """The word that is due without a message, once: its box had been overruled by one that is now silent, say.

        The caller applies it. Nothing leaves the safe state like this.
        """
        if self.in_force is None or self.word is None or self.word == self.in_force:
            return None
        self._enforce(self.word)
        return self.word

    def goodbye(self, node: str, session: int) -> None:
        if box_of(node) in self.boxes:
            self.boxes[box_of(node)].guard.goodbye(node, session)

    def overdue(self, now: int) -> bool:
        """Heartbeats of a living box are missing, unless one waits to be judged."""
        return any(box.guard.overdue(now) for box in self.boxes.values())

    def silent(self, now: int) -> bool:
        """The words of silent boxes drop out. True once, when none is left: make the device safe now."""
        silenced = [box for box in self.boxes.values() if box.guard.silent(now)]
        if silenced:
            self._merge(now)
        if self.word is not None or self.in_force is None:
            return False
        self.safe()
        return True

    def missing(self, now: int) -> list[str]:
        return [sender for box in self.boxes.values() for sender in box.guard.missing(now)]

    def safe(self) -> None:
        """The device is safe now; a living box must send its word again. What they say is not forgotten."""
        self.in_force = None
        self.state = self.state._replace(verb="")

    def _enforce(self, word: Word) -> None:
        self.in_force = word
        self.state = self.state._replace(verb=word.verb)

    def _hear(self, box: Box, command: Command, now: int, joins: bool) -> None:
        """A box that joins others changes nothing by that: it has seen no change yet. It counts as the last of them."""
        word = Word(command.verb, command.arguments)
        captured = box.guard.captured(command, now)
        if joins:
            others = (other.since - 1 for other in self._living() if other is not box)
            box.since = min([captured, *others])
        elif word != box.word:
            box.since = captured
        box.session, box.word = command.session, word

    def _merge(self, now: int) -> None:
        first = min(self._living(), key=self._rank, default=None)
        self.word = first.word if first else None
        self.state = self._state(now)

    def _rank(self, box: Box) -> tuple[int, int, int]:
        """The lowest is in force."""
        strongest = self.redundancy.strongest
        strength = strongest.index(box.word.verb) if box.word.verb in strongest else len(strongest)
        return strength, -box.since, box.number

    def _living(self) -> list[Box]:
        return [box for box in self.boxes.values() if box.guard.live]

    def _state(self, now: int) -> State:
        words = [box.word for box in self._living()]
        differ = any(word != words[0] for word in words)
        return State(
            verb=self.in_force.verb if self.in_force else "",
            boxes=tuple(_box_state(box, now) for box in self.boxes.values()),
            differ_since=(self.state.differ_since or now) if differ else 0,
        )


def _box_state(box: Box, now: int) -> BoxState:
    if box.guard.live:
        return BoxState(box.name, True, box.word.verb, ())
    return BoxState(box.name, False, "", tuple(box.guard.missing(now)))


def box_of(node: str) -> str:
    """The box of a sender "box/lane"."""
    return node.partition("/")[0]
