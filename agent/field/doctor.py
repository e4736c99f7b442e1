"""`reflexd doctor`: the faults of this box, their effect on the lanes, and the command that fixes each."""

from __future__ import annotations

import importlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agent import redact
from agent.field import format
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, run_tool
from agent.field.format import wrapped
from agent.field.snapshot import read_snapshot
from agent.field.valid_parts import read_config
from agent.ledger_text import counted

# The slow and noisy ones last: timers are measured when nothing else of ours runs.
SUBJECTS = (
    *("leftovers", "software", "rights", "clocks", "devices", "sources", "drift", "storage", "updates", "heat"),
    *("network", "site", "offload"),
    "timers",
)
EXIT = {GOOD: 0, SKIP: 0, WARN: 1, BAD: 2}


def show(path: Path, as_json: bool) -> int:
    box = Box(read_snapshot(path), read_config(path), Path("/"), run_tool)
    checks: list[Check] = []
    for check in examine(box):
        checks.append(check)
        if not as_json:
            click.echo("\n".join(lines(check)))
    click.echo(json.dumps(as_dict(checks), indent=2) if as_json else _summary(checks))
    return _exit_code(checks)


def examine(box: Box) -> Iterator[Check]:
    """Every check, as soon as it is done."""
    for subject in SUBJECTS:
        try:
            for check in importlib.import_module(f"agent.field.checks.{subject}").checks(box):
                yield Check(*map(redact.message, check))
        except Exception as error:
            # A bug, or an unknown format of a kernel file: the other checks are worth having all the more.
            logging.getLogger("reflexd.doctor").debug("%s", subject, exc_info=True)
            cause = redact.message(f"the check itself failed: {type(error).__name__}: {error}")
            effect = f"{subject} was not checked"
            yield Check(subject, WARN, cause, effect, "reflexd -v doctor shows the traceback; please report it")


def _exit_code(checks: list[Check]) -> int:
    return max((EXIT[check.state] for check in checks), default=0)


def as_dict(checks: list[Check]) -> dict[str, Any]:
    count = Counter(check.state for check in checks)
    counts = {state: count[state] for state in EXIT}
    return {"exit_code": _exit_code(checks), **counts, "checks": [check._asdict() for check in checks]}


def lines(check: Check) -> list[str]:
    """80 columns; a good one takes one or two lines."""
    state = check.state.upper() if check.state == BAD else check.state
    first = wrapped(format.plain(f"{check.name}: {check.cause}"), f"{state:<5}")
    if check.state in (WARN, BAD):
        first += wrapped(format.plain(check.effect), "   effect: ") + wrapped(format.plain(check.fix), "      fix: ")
    return first


def _summary(checks: list[Check]) -> str:
    count = Counter(check.state for check in checks)
    return f"{count[GOOD]} good, {counted(count[WARN], 'warning')}, {count[BAD]} bad, {count[SKIP]} skipped"
