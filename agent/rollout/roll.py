"""A model's version to the boxes of a site, one box after the other: the next only once it is in use on this one.

Each box's own updater fetches, verifies and tries it (agent/update): this only pins versions by `reflexd model hold`,
so what a box refuses here it refuses in any case, and a roll that is interrupted leaves every box with a whole model.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agent.errors import DataError

ANSWER_S = 60.0
POLL_S = 5.0
LOST = 12  # polls in a row without an answer

Say = Callable[[str], None]


class Roll(NamedTuple):
    """over: command that runs its further arguments on a box, {box} in place of its name. limit_s: for each box."""

    model: str
    version: str
    over: str
    limit_s: float = 7200.0
    poll_s: float = POLL_S


class Stopped(Exception):
    """The roll goes no further; the text says at which box and why."""


def roll(wanted: Roll, boxes: Sequence[str], say: Say) -> int:
    """Exit code: 1 where a box refuses the version, or is lost. Raises DataError before anything has changed."""
    states = {box: _first_state(wanted, box) for box in boxes}
    waiting = [box for box in boxes if not _runs(states[box], wanted.version)]
    for box in waiting:  # else the updater of a later box takes the version before its turn
        if states[box].get("hold") is None:
            _hold(wanted, box, "")
    for number, box in enumerate(waiting):
        try:
            _bring(wanted, box)
        except (Stopped, DataError) as stopped:
            rest = ", ".join(waiting[number + 1 :]) or "none"
            say(f"{_of(box, stopped)}; stopped: these stay held at their version: {rest}")
            return 1
        say(f"{box}: {wanted.model} {wanted.version} is in use")
    say(f"{wanted.model} {wanted.version}: {len(boxes)} boxes have it, {len(boxes) - len(waiting)} had it before")
    return 0


def _of(box: str, stopped: Exception) -> str:
    return f"{box}: {stopped}" if isinstance(stopped, Stopped) else str(stopped)


def _bring(wanted: Roll, box: str) -> None:
    """Until it is in use. Raises Stopped, DataError."""
    _hold(wanted, box, wanted.version)
    end, silent = time.monotonic() + wanted.limit_s, 0
    while True:
        try:
            state, silent = _state(wanted, box), 0
        except DataError:
            silent += 1
            if silent >= LOST:
                raise
        else:
            if _runs(state, wanted.version):
                return
            if wanted.version in state["rejected"]:
                raise Stopped(f"{wanted.version} was rejected: {state['rejected'][wanted.version]}")
        if time.monotonic() > end:
            raise Stopped(f"{wanted.version} is not in use after {wanted.limit_s:g} s: 'reflexd model history' there")
        time.sleep(wanted.poll_s)


def _runs(state: dict[str, Any], version: str) -> bool:
    """Past its trial."""
    return bool(state["current"] == version) and not state["trial"]


def _first_state(wanted: Roll, box: str) -> dict[str, Any]:
    """Raises DataError, also where the version was rejected there before."""
    state = _state(wanted, box)
    if wanted.version in state["rejected"]:
        raise DataError(f"box {box}: {wanted.version} was rejected there: {state['rejected'][wanted.version]}")
    return state


def _state(wanted: Roll, box: str) -> dict[str, Any]:
    """As `reflexd model history --json` has it. Raises DataError."""
    answer = _ask(wanted, box, "history", wanted.model, "--json")
    try:
        state = json.loads(answer)[wanted.model]
        whole = isinstance(state["rejected"], dict) and {"current", "trial"} <= state.keys()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"box {box}: no answer of 'reflexd model history': is its reflexd older than 0.2.0?")
    return dict(state)


def _hold(wanted: Roll, box: str, version: str) -> None:
    """version: empty for the one in use. Raises DataError."""
    _ask(wanted, box, "hold", wanted.model, *([version] if version else []))


def _ask(wanted: Roll, box: str, *arguments: str) -> str:
    """Raises DataError with the last line that the box wrote."""
    command = [part.replace("{box}", box) for part in shlex.split(wanted.over)]
    try:
        run = subprocess.run(
            [*command, "reflexd", "model", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_S,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"box {box}: no answer within {ANSWER_S:g} s") from error
    except OSError as error:
        raise DataError(f"box {box}: {command[0]}: {error.strerror}") from error
    if run.returncode:
        last = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        raise DataError(f"box {box}: {last}")
    return run.stdout
