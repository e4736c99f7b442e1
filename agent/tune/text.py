"""The report for a terminal of 80 columns: a table of the lanes, one of what was tried, what to type next."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

from agent.field.format import WIDTH, clip, ms, plain
from agent.tune.events import Kept
from agent.tune.footage import RECORDING, SIMULATED, Footage
from agent.tune.propose import OVER, Outcome, Row
from agent.tune.run import Options, Report
from agent.tune.trace import Latency
from agent.tune.write import Written

CHANGE_WIDTH = 38
NO_EVENT = (
    "No rule of this lane is in force in these samples: nothing shows what another model or fewer pixels would lose, so"
    " they are not tried. Give a recording with such an event, or more --seconds."
)
PART_TEXTS = {
    "queueing": "waiting for the lane, which is busy with the sample before",
    "transport": "on the way from the device",
    "preprocess": "making the model's input",
    "inference": "in the model",
    "decision": "in the rules",
}


def text(report: Report, written: Written | None, command: str) -> str:
    """command: what was typed, to be typed again with --write."""
    lines = [*_head(report), "", *_lanes(report)]
    for outcome in report.outcomes:
        if not outcome.met:
            lines += ["", *_tried(outcome, report)]
    following = list(_next(report, written, command))
    return "\n".join([*lines, *([""] if following else []), *following, "", *_wrapped(" ".join(_notes(report)), "")])


def _wrapped(text: str, first: str) -> list[str]:
    """As format.wrapped, with names and options whole at their hyphens, so that they can be copied."""
    rest = " " * len(first)
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    )


def _head(report: Report) -> Iterator[str]:
    yield from _wrapped(f"{report.path.name} on {report.machine}", "")


def _lanes(report: Report) -> Iterator[str]:
    yield f"{'LANE':<12} {'MEASURED ON':<30} {'P50':>7} {'P99':>7} / BUDGET ms"
    for outcome in report.outcomes:
        where = _where(report.footage[outcome.lane])
        speed = outcome.measured
        verdict = "met" if outcome.met else f"missed by {ms(speed.p99 - outcome.budget_ms)}"
        figures = f"{ms(speed.p50):>7} {ms(speed.p99):>7} / {outcome.budget_ms:<5g} {verdict}"
        yield f"{clip(outcome.lane, 12):<12} {clip(where, 30):<30} {figures}"


def _where(footage: Footage) -> str:
    return f"{footage.kind} {plain(footage.name)}"


def _tried(outcome: Outcome, report: Report) -> Iterator[str]:
    yield from _wrapped(_costly(outcome, report), "")
    if not outcome.events.events:
        yield from _wrapped(NO_EVENT, "")
    if outcome.rows:
        yield f"  {'CHANGE':<{CHANGE_WIDTH}} {'P50':>7} {'P99':>7}  EVENTS KEPT"
        yield _row("as it is", outcome.measured.p50, outcome.measured.p99, outcome.events, "")
    for row in outcome.rows:
        yield from _change(row, outcome)
    yield ""
    yield from _wrapped(_verdict(outcome, report), "")


def _costly(outcome: Outcome, report: Report) -> str:
    speed, model = outcome.measured, report.models[outcome.lane]
    share = f"{speed.shares[speed.costly] * 100:.0f} %"
    what = f"in the model {model}" if speed.costly == "inference" else PART_TEXTS[speed.costly]
    return (
        f"Lane {outcome.lane}: {speed.costly} costs most: {ms(speed.costly_ms)} of {ms(speed.p50)} ms at p50 ({share}),"
        f" {what}."
    )


def _row(name: str, p50: float, p99: float, kept: Kept, mark: str) -> str:
    """A name that is too long for its column has a line of its own."""
    figures = f"{ms(p50):>7} {ms(p99):>7}  {_events(kept)}{mark}"
    if len(name) > CHANGE_WIDTH:
        return "\n".join([*_wrapped(name, "  "), f"  {'':<{CHANGE_WIDTH}} {figures}"])
    return f"  {name:<{CHANGE_WIDTH}} {figures}"


def _events(kept: Kept) -> str:
    extra = f", {kept.extra} new" if kept.extra else ""
    return f"{kept.kept} of {kept.events}{extra}" if kept.events else f"none to keep{extra}"


def _change(row: Row, outcome: Outcome) -> Iterator[str]:
    chosen = outcome.proposal and outcome.proposal.row.candidate.text == row.candidate.text
    if row.latency and row.kept:
        yield _row(plain(row.candidate.text), row.latency.p50, row.latency.p99, row.kept, "  <--" if chosen else "")
        if row.reason and row.reason != OVER:
            yield from _wrapped(plain(row.reason), "      ")
    else:
        yield f"  {clip(plain(row.candidate.text), WIDTH - 2)}"
        yield from _wrapped(plain(row.reason), "      ")


def _verdict(outcome: Outcome, report: Report) -> str:
    if proposal := outcome.proposal:
        row, before = proposal.row, proposal.before
        assert row.latency and row.kept
        return (
            f"Proposed: lanes.{outcome.lane}: {row.candidate.text}. Measured again, in turns with the lane as it is:"
            f" p50 {ms(before.p50)} -> {ms(row.latency.p50)} ms, p99 {ms(before.p99)} -> {ms(row.latency.p99)} ms;"
            f" events kept {_events(row.kept)}."
        )
    nearest = outcome.nearest
    if outcome.conflict and nearest:
        return (
            f"Lane {outcome.lane}: {nearest.candidate.text} meets the budget, but together with what is proposed for"
            " other lanes it loses events: make one change at a time, and run tune again."
        )
    reached = nearest.latency if nearest and nearest.latency else outcome.measured
    by = f"p99 {ms(reached.p99)} ms is {ms(reached.p99 - outcome.budget_ms)} ms above {outcome.budget_ms:g}"
    limit = f"what limits it is {reached.costly}, {ms(reached.costly_ms)} ms at p50"
    advice = _advice(outcome, report)
    if nearest is None:
        kept = "no change tried is faster and keeps the events" if outcome.rows else "there is no change to try"
        return f"Lane {outcome.lane} cannot meet the budget here. As it is, {by}; {limit}; {kept}. {advice}"
    with_it = f"With the nearest change, {nearest.candidate.text}, {by}; {limit}."
    return f"Lane {outcome.lane} cannot meet the budget here. {with_it} {advice}"


def _advice(outcome: Outcome, report: Report) -> str:
    costly = (outcome.nearest.latency if outcome.nearest and outcome.nearest.latency else outcome.measured).costly
    if costly == "transport":
        return "Let the device deliver less: a smaller picture, another format, a faster line."
    if costly == "preprocess":
        return "Let the source deliver smaller pictures."
    if costly == "queueing":
        return "Let the source deliver fewer samples a second, or give the lane a faster machine."
    return "Allow more, train a smaller model for these labels (models/README.md), or use a faster machine."


def _next(report: Report, written: Written | None, command: str) -> Iterator[str]:
    proposed = [outcome for outcome in report.outcomes if outcome.proposal]
    if written:
        yield from _wrapped(f"Written into {written.path}; as it was: {written.backup.name}.", "")
        yield "Next:  systemctl reload reflexd    (or kill -HUP)    then  reflexd status"
    elif proposed:
        yield f"Next:  {command} --write"
    elif report.met:
        yield "Every lane meets its budget: nothing to change."


def _notes(report: Report) -> Iterator[str]:
    kinds = {footage.kind for footage in report.footage.values()}
    yield "Times are from capture to decided, each lane alone;"
    if RECORDING in kinds:
        yield "a recording does not show what its device takes;"
    yield f"measured {report.priority} in {report.wall_s:.0f} s."
    slow = [outcome.lane for outcome in report.outcomes if _is_disturbed(outcome.measured)]
    if slow:
        yield f"The slowest samples of {', '.join(slow)} took more than twice the median: something else ran here, too."
    if SIMULATED in kinds:
        yield "A simulated device shows a lane's work, not your site's events: give a recording with --recording."


def _is_disturbed(speed: Latency) -> bool:
    return speed.p99 > 2 * speed.p50 and speed.p99 - speed.p50 > 1.0


def command_line(path: Path, options: Options) -> str:
    """What was typed, without --write and --json."""
    given = {"--budget-ms": options.budget_ms, "--recording": options.recording, "--lane": options.lane}
    given |= {"--seconds": options.seconds if options.seconds != Options().seconds else None}
    given |= {"--late-ms": options.late_ms}
    parts = [f"{name} {_shell(value)}" for name, value in given.items() if value is not None]
    return " ".join([f"reflexd tune -c {_shell(path)}", *parts])


def _shell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else shlex.quote(str(value))
