"""`reflexd doctor`: what is wrong with this box, what that does to the lanes, and the command that mends it."""

from __future__ import annotations

import importlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agent.field import format, snapshot
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, run_tool
from agent.field.status import wrapped

# The slow and noisy ones last: timers are measured when nothing else of ours runs.
SUBJECTS = ("leftovers", "software", "rights", "clocks", "devices", "sources", "storage", "heat", "network", "timers")
EXIT = {GOOD: 0, SKIP: 0, WARN: 1, BAD: 2}


def show(path: Path, as_json: bool) -> int:
    box = Box(snapshot.look(path), Path("/"), run_tool)
    found: list[Check] = []
    for one in examine(box):
        found.append(one)
        if not as_json:
            click.echo("\n".join(lines(one)))
    click.echo(json.dumps(as_dict(found), indent=2) if as_json else _summary(found))
    return _exit_code(found)


def examine(box: Box) -> Iterator[Check]:
    """Every finding, as soon as it is known."""
    for subject in SUBJECTS:
        try:
            yield from importlib.import_module(f"agent.field.checks.{subject}").checks(box)
        except Exception as error:
            # A bug, or a kernel file nobody has seen yet: the other checks are worth having all the more.
            logging.getLogger("reflexd.doctor").debug("%s", subject, exc_info=True)
            cause = f"the check itself failed: {type(error).__name__}: {error}"
            yield Check(
                subject, WARN, cause, "nothing is known about it", "reflexd -v doctor says more; please report it"
            )


def _exit_code(found: list[Check]) -> int:
    return max((EXIT[one.state] for one in found), default=0)


def as_dict(found: list[Check]) -> dict[str, Any]:
    count = Counter(one.state for one in found)
    counts = {state: count[state] for state in EXIT}
    return {"exit_code": _exit_code(found), **counts, "checks": [one._asdict() for one in found]}


def lines(one: Check) -> list[str]:
    """80 columns; what is good takes one or two lines."""
    first = one.state.upper() if one.state == BAD else one.state
    found = wrapped(format.plain(f"{one.name}: {one.cause}"), f"{first:<5}")
    if one.state in (WARN, BAD):
        found += wrapped(format.plain(one.effect), "       so: ") + wrapped(format.plain(one.mend), "       do: ")
    return found


def _summary(found: list[Check]) -> str:
    count = Counter(one.state for one in found)
    return f"{count[GOOD]} good, {count[WARN]} to watch, {count[BAD]} bad, {count[SKIP]} not checked"
