"""What redundant boxes say to an actuator, for people: in the host's log, and in a file for `status` and metrics.

On the host's own thread, ten times a second: never on the actuator's.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from agent.box import files, private
from agent.box.files import BadFile
from agent.commands.merge import BoxState, MergedGuard, State

log = logging.getLogger("reflexd.actuate")

SUFFIX = ".boxes"
GROUP = 0o040  # as of a ledger: `reflexd status` of the box's group reads it
MAX_BYTES = 100_000


class BoxesReport:
    """Logs a box that falls silent or returns, and a disagreement that lasts, each once."""

    def __init__(self, guard: MergedGuard, file: Path) -> None:
        self.guard = guard
        self.file = file
        self.alarm_ns = guard.redundancy.alarm_ns
        self.reported: State | None = None
        self.alive: dict[str, bool] = {}  # of each box that ever was
        self.alarmed = False
        self.unwritable = False

    def look(self, now: int) -> None:
        state = self.guard.state
        disagree = 0 < state.differ_since <= now - self.alarm_ns
        if state is self.reported and disagree == self.alarmed:
            return
        for box in state.boxes:
            self._log_box(box, state)
        if disagree != self.alarmed:
            self._log_alarm(disagree, state)
        self.reported, self.alarmed = state, disagree
        self._write(state)

    def _log_box(self, box: BoxState, state: State) -> None:
        before = self.alive.get(box.name)
        if box.alive == bool(before):
            return
        self.alive[box.name] = box.alive
        name = f"actuator {self.guard.actuator}: box {box.name}"
        if box.alive:
            level = logging.INFO if before is None else logging.WARNING
            log.log(level, "%s is alive, and says %s", name, box.verb)
        else:
            left = [other.name for other in state.boxes if other.alive]
            rest = f"{' and '.join(left)} still command{'s' if len(left) == 1 else ''} it" if left else "no box is left"
            log.warning("%s is gone (%s): %s", name, ", ".join(box.missing) or "its lanes have left", rest)

    def _log_alarm(self, disagree: bool, state: State) -> None:
        name = f"actuator {self.guard.actuator}"
        if disagree:
            advice = "compare their sensors, models and rules"
            log.error(
                "%s: its boxes disagree for more than %g s: %s: %s", name, self.alarm_ns / 1e9, said(state), advice
            )
        else:
            agree = sum(box.alive for box in state.boxes) > 1
            log.warning("%s: its boxes %s", name, "agree again" if agree else "disagree no longer: one of them is gone")

    def _write(self, state: State) -> None:
        """With the disagreement only while it is reported."""
        boxes = [box._asdict() for box in state.boxes]
        since = state.differ_since if self.alarmed else 0
        content = json.dumps({"pid": os.getpid(), "verb": state.verb, "boxes": boxes, "disagree_since": since}).encode()
        try:
            private.write(self.file, content, durable=False, mode=private.FILE | GROUP)
        except OSError as error:
            if not self.unwritable:
                log.warning("%s: %s: 'reflexd status' does not show the boxes", self.file, error.strerror)
            self.unwritable = True

    def close(self) -> None:
        with suppress(OSError):
            self.file.unlink()


class Boxes(NamedTuple):
    """As read from the file. disagree_s: for how long living boxes have, where that is reported; else None."""

    state: State
    disagree_s: float | None

    @property
    def troubles(self) -> list[str]:
        """In words. A box that is gone is one, also while the others command: the next death stops the machine."""
        gone = [
            f"redundant box {box.name} is gone: {', '.join(box.missing) or 'not heard since the start'}"
            for box in self.state.boxes
            if not box.alive
        ]
        if self.disagree_s is None:
            return gone
        return [*gone, f"its boxes disagree for {self.disagree_s:.0f} s: {said(self.state)}"]


def said(state: State) -> str:
    """What each living box says, and what counts."""
    words = ", ".join(f"{box.name} says {box.verb}" for box in state.boxes if box.alive)
    return f"{words}; in force is {state.verb or 'the safe state'}"


def path(run_dir: Path, actuator: str) -> Path:
    return run_dir / f"{actuator}{SUFFIX}"


def read(run_dir: Path, actuator: str) -> Boxes | None:
    """None where no host with redundant boxes serves it here."""
    try:
        with files.open_regular(path(run_dir, actuator), MAX_BYTES) as file:
            content: dict[str, Any] = json.loads(file.read())
        boxes = [BoxState(**{**box, "missing": tuple(box["missing"])}) for box in content["boxes"]]
        state = State(str(content["verb"]), tuple(boxes), int(content["disagree_since"]))
        alive = os.path.exists(f"/proc/{int(content['pid'])}")
    except (BadFile, OSError, ValueError, LookupError, TypeError):
        return None
    since = state.differ_since
    return Boxes(state, (time.monotonic_ns() - since) / 1e9 if since else None) if alive else None


def read_all(run_dir: Path) -> dict[str, Boxes]:
    """By the actuator's name."""
    shown = {file.stem: read(run_dir, file.stem) for file in sorted(run_dir.glob(f"*{SUFFIX}"))}
    return {actuator: boxes for actuator, boxes in shown.items() if boxes}
