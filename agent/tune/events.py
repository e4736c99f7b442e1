"""Whether a changed lane still decides what it decided before: the rules over the evidence of all lanes, twice.

An event is a stretch of time in which a rule is in force at an actuator. It is kept where the rule is in force with the
changed lane, too, from a moment that is not too late. A changed lane that acts where nothing was decided before
is as wrong as one that misses: a stop of a machine costs, and nobody looks at an alarm that is always on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from agent.build import rules_of
from agent.config.models import Config
from agent.data import Evidence
from agent.rules.scene import Scene
from agent.tune.trace import Trace, at_usual_speed, latency, taken

MS = 1_000_000  # ns
NEAR_NS = 1_000 * MS  # a rule in force this near to an event belongs to it


class Event(NamedTuple):
    """A rule in force at an actuator; times in ns since the first sample. end: of the last one where it lasts."""

    rule: str
    actuator: str
    verb: str
    start: int
    end: int


class Kept(NamedTuple):
    """Of the events before: how many there were and are kept; extra: stretches in which nothing was decided before.

    late_ms: how much later than before the latest of those came that are lost for that, or 0. lost_s, extra_s: when the
    lost ones begin, and the extra ones, in seconds since the first sample.
    """

    events: int
    kept: int
    extra: int
    late_ms: float = 0.0
    lost_s: tuple[float, ...] = ()
    extra_s: tuple[float, ...] = ()

    @property
    def all(self) -> bool:
        return self.kept == self.events and not self.extra


def events(config: Config, traces: Mapping[str, Trace], every: bool = False) -> list[Event]:
    """What the rules decide. every: of each sample, also of those that a lane that is too slow would pass over."""
    scene = Scene(rules_of(config))
    open_events: dict[str, Event] = {}
    done: list[Event] = []
    now = 0
    for lane, t_capture, evidence in _merged(traces, every):
        now = max(now, t_capture)
        for decision in scene.decide(lane, t_capture, evidence):
            before = open_events.get(decision.actuator)
            if before and before.rule == decision.rule:
                continue  # a rule with every_sample: it goes on
            if before:
                done.append(open_events.pop(decision.actuator)._replace(end=now))
            if decision.rule:
                begun = Event(decision.rule, decision.actuator, decision.verb, now, now)
                open_events[decision.actuator] = begun
    return sorted([*done, *(event._replace(end=now) for event in open_events.values())], key=lambda event: event.start)


def _merged(traces: Mapping[str, Trace], every: bool) -> Iterator[tuple[str, int, Sequence[Evidence]]]:
    """Every inference of every lane in the order of time."""
    rows = [
        (step.t_capture, lane, step.evidence)
        for lane, trace in traces.items()
        for step in (trace.steps if every else (step for step, _ in taken(at_usual_speed(trace.steps))))
        if step.evidence is not None
    ]
    for t_capture, lane, evidence in sorted(rows, key=lambda row: row[:2]):
        yield lane, t_capture, evidence


def of_lane(config: Config, decided: Sequence[Event], lane: str) -> list[Event]:
    """Those of rules that read this lane."""
    rules = {
        name for name, rule in config.rules.items() if any(condition.lane == lane for condition in rule.conditions)
    }
    return [event for event in decided if event.rule in rules]


def compare(
    config: Config, before: Mapping[str, Trace], after: Mapping[str, Trace], lane: str, late_ms: float | None = None
) -> Kept:
    """The lane's events in the recording against those with `after`.

    late_ms: how much later than before one may come; None: until the rule's `deadline_ms` after the same sample.
    """
    old = of_lane(config, events(config, before, every=True), lane)
    new = of_lane(config, events(config, after), lane)
    own_ms, new_ms = _p50(before[lane]), _p50(after[lane])
    lost: dict[Event, float] = {}
    for event in old:
        delay = _delay(event, new)
        allowed = max(config.rules[event.rule].deadline_ms, own_ms) + (late_ms or 0.0)
        # On the same sample or an earlier one it is not later; what a sample takes is judged by the budget.
        if delay is None or (delay > 0.0 and delay + new_ms > allowed):
            lost[event] = delay or 0.0
    extra = [event for event in new if _is_extra(event, old)]
    return Kept(
        events=len(old),
        kept=len(old) - len(lost),
        extra=len(extra),
        late_ms=round(max(lost.values(), default=0.0), 1),
        lost_s=_seconds(lost),
        extra_s=_seconds(extra),
    )


def _seconds(several: Iterable[Event]) -> tuple[float, ...]:
    return tuple(round(event.start / 1e9, 1) for event in several)


def _p50(trace: Trace) -> float:
    measured = latency(trace)
    return measured.p50 if measured else 0.0


def _delay(event: Event, new: Sequence[Event]) -> float | None:
    """Milliseconds by which the same rule is in force later than it was; None where it is not while the event lasts."""
    delays = [
        max(0, other.start - event.start) / MS
        for other in new
        if (other.rule, other.actuator) == (event.rule, event.actuator)
        and other.start <= max(event.end, event.start + NEAR_NS)
        and other.end >= event.start
    ]
    return min(delays, default=None)


def _is_extra(event: Event, old: Sequence[Event]) -> bool:
    """Some of it is in no event before, nor near to any."""
    uncovered, near = event.start, False
    for other in old:  # in the order of time
        if (other.rule, other.actuator) != (event.rule, event.actuator):
            continue
        if other.start - NEAR_NS <= uncovered <= other.end + NEAR_NS:
            uncovered, near = max(uncovered, other.end + NEAR_NS), True
    return not near or uncovered < event.end
