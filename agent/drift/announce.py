"""What a lane's watch says, and that it says each thing once: when it begins, and when it ends."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agent.drift import advice
from agent.drift.detector import DRIFTING, Detector
from agent.drift.lane import Change, LaneDrift

log = logging.getLogger("reflexd.drift")
GATHER_S = 5.0  # what begins within this is said together: another scale moves all channels of a sensor
AWAY_S = 15.0  # without a tape: a lane makes one when its source is open
SILENT_S = 600.0  # with inferences, and nothing found
LISTED = 4  # statistics in a message; how many more there are is said


class Announcer:
    """Of one lane. now, everywhere: s of a monotonic clock."""

    def __init__(self, lane: str, now: float) -> None:
        self.lane = lane
        self.since: dict[str, float] = {}  # when each statistic that drifts began to
        self.trouble = ""  # why the lane is not watched, or not whole
        self._begun: list[str] = []  # and is not said yet
        self._begun_at = 0.0
        self._without_tape: float | None = now
        self._without_findings: float | None = None
        self._logged: set[str] = set()  # troubles

    def restart(self, drifting: Sequence[str], now: float) -> None:
        """drifting: as it was left by the monitor before this one, which said so."""
        self.since = dict.fromkeys(drifting, now)
        self._begun.clear()
        self._without_findings = None

    def changes(self, changes: Sequence[Change], drift: LaneDrift, now: float) -> None:
        for statistic, state in changes:
            if state == DRIFTING:
                self.since[statistic] = now
                self._begun_at = self._begun_at if self._begun else now
                self._begun.append(statistic)
            elif self.since.pop(statistic, None) is not None:
                self._log_ended(statistic, drift.statistics[statistic])

    def _log_ended(self, statistic: str, detector: Detector) -> None:
        if statistic in self._begun:  # what was not said needs no end
            self._begun.remove(statistic)
            return
        more = f"; {len(self.since)} more still drift" if self.since else ""
        log.warning("lane %s: normal again: %s%s", self.lane, advice.figures(statistic, detector), more)

    def log_begun(self, drift: LaneDrift, now: float) -> None:
        """In one line, once a moment has passed."""
        if not self._begun or now - self._begun_at < GATHER_S:
            return
        statistics = drift.statistics
        listed = [advice.figures(name, statistics[name]) for name in self._begun[:LISTED]]
        more = f" and {len(self._begun) - LISTED} more" if len(self._begun) > LISTED else ""
        causes = " ".join(dict.fromkeys(advice.cause(name) for name in self._begun))
        log.warning("lane %s drifts: %s%s: %s %s", self.lane, ", ".join(listed), more, causes, advice.accept(self.lane))
        self._begun.clear()

    def tape(self, there: bool, now: float) -> None:
        """Its lane may not have opened its source yet, or has stopped."""
        if there:
            self._without_tape = None
            self._good("tape", "has a tape again: drift is watched")
            return
        self._without_tape = now if self._without_tape is None else self._without_tape
        if now - self._without_tape >= AWAY_S:
            self._bad("tape", "has no tape in run_dir: drift is not watched until its source is open")

    def numbers(self, good: bool) -> None:
        if good:
            self._good("numbers", "delivers numbers again")
        else:
            self._bad(
                "numbers", "delivers values that are no numbers: these seconds are left out of what drift watches"
            )

    def findings(self, inferred: bool, scores: int, now: float) -> None:
        """scores: so far. A lane may find something once a month, and one whose model never does has no scores."""
        if scores:
            self._good("scores", "has scores now: they are watched for drift")
        elif inferred:
            self._without_findings = now if self._without_findings is None else self._without_findings
            if now - self._without_findings >= SILENT_S:
                self._bad("scores", "has found nothing yet: its scores are not watched for drift until it does")

    def disk(self, error: OSError | None, what: str) -> None:
        """error: None where it could be written. what: that was to be written."""
        if error is None:
            self._good(what, f"{what} can be written again")
        else:
            reason = f"{error.filename or 'state_dir'}: {error.strerror or error}"
            self._bad(what, f"{what} cannot be written: {reason}: is the disk full, or another user's?")

    def _bad(self, kind: str, text: str) -> None:
        if kind not in self._logged:
            self._logged.add(kind)
            self.trouble = text
            log.warning("lane %s %s", self.lane, text)

    def _good(self, kind: str, text: str) -> None:
        if kind in self._logged:
            self._logged.discard(kind)
            self.trouble = ""
            log.warning("lane %s %s", self.lane, text)
