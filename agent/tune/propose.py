"""The cheapest change of a lane that meets the budget and keeps the events, measured beside the lane as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from agent.config.models import Config
from agent.tune.candidates import COST, INT8, MODEL, SAME_ANSWERS, Candidate, joined
from agent.tune.events import Kept, compare
from agent.tune.measure import Measure, Measured
from agent.tune.trace import Latency, Trace, latency

AS_IS = ""  # the name of the lane's own settings in a measurement
GAIN = 0.97  # a change that leaves more of the time than this is no part of a joined one
MAX_JOINED, MAX_CONFIRMED, MAX_TIMES = 6, 3, 3
OVER = "over the budget"  # the only objection


class Row(NamedTuple):
    """A change as it was measured. latency, kept: None where it does not run; reason: why, or why it is out."""

    candidate: Candidate
    latency: Latency | None
    kept: Kept | None
    reason: str = ""

    @property
    def fit(self) -> bool:
        return not self.reason

    @property
    def p99(self) -> float:
        return self.latency.p99 if self.latency else float("inf")


class Proposal(NamedTuple):
    """A change that was measured once more, in turns with the lane as it is and nothing else."""

    row: Row
    before: Latency
    events_before: Kept
    trace: Trace


class Outcome(NamedTuple):
    """Of a lane: as it is; what was tried; the proposal, or None.

    nearest: without a proposal, the best change that keeps the events. conflict: it meets the budget, but loses events
    together with the proposals for other lanes.
    """

    lane: str
    budget_ms: float
    measured: Latency
    events: Kept
    rows: list[Row]
    proposal: Proposal | None = None
    nearest: Row | None = None
    conflict: bool = False

    @property
    def met(self) -> bool:
        """As it is."""
        return self.measured.p99 <= self.budget_ms


class Search:
    """Of one lane."""

    def __init__(
        self, config: Config, lane: str, traces: Mapping[str, Trace], measure: Measure, late_ms: float | None
    ) -> None:
        """traces: of every lane as it is."""
        self._config = config
        self._lane = lane
        self._traces = traces
        self._measure = measure
        self._late_ms = late_ms

    def run(self, budget_ms: float, offered: Sequence[Candidate], rescue: Candidate | None = None) -> Outcome:
        """offered: what may be changed; nothing is where the budget is met already.

        rescue: what is added to models that lose events by themselves.
        """
        own = latency(self._traces[self._lane])
        assert own
        outcome = Outcome(self._lane, budget_ms, own, self._kept(self._traces, self._traces[self._lane]), [])
        if not outcome.events.events:  # nothing would show what the others lose
            offered = [candidate for candidate in offered if candidate.kind in SAME_ANSWERS]
        if outcome.met or not offered:
            return outcome
        rows = self._rows(offered, budget_ms)
        proposal = self._confirmed(rows, budget_ms)
        if proposal is None:
            joined_rows = self._rows([*_joined(rows, own), *_rescued(rows, rescue, budget_ms)], budget_ms)
            rows += joined_rows
            proposal = self._confirmed(joined_rows, budget_ms)
        usable = [row for row in rows if row.reason in ("", OVER) and row.p99 < own.p99]
        nearest = None if proposal else min(usable, key=lambda row: row.p99, default=None)
        return outcome._replace(rows=rows, proposal=proposal, nearest=nearest)

    def _rows(self, offered: Sequence[Candidate], budget_ms: float) -> list[Row]:
        if not offered:
            return []
        settings = {AS_IS: {}, **{candidate.text: candidate.changes for candidate in offered}}
        results = self._measure(self._lane, settings)
        own = results[AS_IS]
        return [self._row(candidate, results[candidate.text], own, budget_ms) for candidate in offered]

    def _row(self, candidate: Candidate, measured: Measured, own: Measured, budget_ms: float) -> Row:
        if isinstance(own, str) or isinstance(measured, str):
            return Row(candidate, None, None, f"does not run: {measured if isinstance(measured, str) else own}")
        if candidate.twin and measured.int8 and not own.int8:
            candidate = candidate._replace(kind=INT8)
        speed = latency(measured)
        if speed is None:
            return Row(candidate, None, None, "infers on no sample of the recording")
        kept = self._kept({**self._traces, self._lane: own}, measured)
        return Row(candidate, speed, kept, _objection(speed, kept, budget_ms))

    def _kept(self, before: Mapping[str, Trace], measured: Trace) -> Kept:
        return compare(self._config, before, {**before, self._lane: measured}, self._lane, self._late_ms)

    def _confirmed(self, rows: Sequence[Row], budget_ms: float) -> Proposal | None:
        """The cheapest fit one that is fit again when it runs in turns with the lane as it is alone."""
        fit = sorted((row for row in rows if row.fit), key=_expense)
        for row in fit[:MAX_CONFIRMED]:
            results = self._measure(self._lane, {AS_IS: {}, row.candidate.text: row.candidate.changes})
            own, changed = results[AS_IS], results[row.candidate.text]
            again = self._row(row.candidate, changed, own, budget_ms)
            before = None if isinstance(own, str) else latency(own)
            if again.fit and before and not isinstance(own, str) and not isinstance(changed, str):
                return Proposal(again, before, self._kept({**self._traces, self._lane: own}, own), changed)
        return None


def together(
    config: Config, traces: Mapping[str, Trace], outcomes: Sequence[Outcome], late_ms: float | None
) -> list[Outcome]:
    """The same without proposals that lose events together with those before: each was measured by itself."""
    accepted: dict[str, Trace] = {}
    checked: list[Outcome] = []
    for outcome in outcomes:
        if outcome.proposal:
            changed = {**accepted, outcome.lane: outcome.proposal.trace}
            if all(compare(config, traces, {**traces, **changed}, lane, late_ms).all for lane in changed):
                accepted = changed
            else:
                outcome = outcome._replace(proposal=None, nearest=outcome.proposal.row, conflict=True)
        checked.append(outcome)
    return checked


def _objection(speed: Latency, kept: Kept, budget_ms: float) -> str:
    """Why a change is out; empty where it is fit."""
    if kept.kept < kept.events:
        late = f", the latest {kept.late_ms:g} ms late" if kept.late_ms else ""
        return f"loses {kept.events - kept.kept} of {kept.events} events, {_times(kept.lost_s)}{late}"
    if kept.extra:
        return f"decides where nothing was decided: {_times(kept.extra_s)}"
    return OVER if speed.p99 > budget_ms else ""


def _times(seconds: Sequence[float]) -> str:
    shown = ", ".join(f"{second:g}" for second in seconds[:MAX_TIMES])
    return f"at {shown}{' ...' if len(seconds) > MAX_TIMES else ''} s"


def _expense(row: Row) -> tuple[int, int, float]:
    return len(row.candidate.changes), COST[row.candidate.kind], row.p99


def _joined(rows: Sequence[Row], own: Latency) -> Iterator[Candidate]:
    """Several changes at once: of each kind the one that saves most and keeps the events."""
    best: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.p99):
        if row.latency and row.kept and row.kept.all and row.latency.p50 < GAIN * own.p50:
            kind = MODEL if row.candidate.kind == INT8 else row.candidate.kind
            best.setdefault(kind, row)
    several = [
        group
        for count in range(2, len(best) + 1)
        for group in combinations([row.candidate for row in best.values()], count)
    ]
    yield from (joined(group) for group in several[:MAX_JOINED])


def _rescued(rows: Sequence[Row], rescue: Candidate | None, budget_ms: float) -> Iterator[Candidate]:
    """Models that are fast enough and lose events, with what may help them."""
    for row in rows:
        model = row.candidate.kind in (MODEL, INT8)
        if rescue and model and row.kept and row.kept.lost_s and row.p99 <= budget_ms:
            yield joined([row.candidate, rescue])
