"""One lane's watch: its tapes are read, its statistics fed, what was learnt is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from agent.data import Array
from agent.drift import report
from agent.drift.announce import Announcer
from agent.drift.cases import Cases
from agent.drift.collect import LaneFolder
from agent.drift.lane import Change, LaneDrift
from agent.drift.reader import LaneTapes
from agent.drift.settings import LaneSettings, Settings
from agent.drift.store import Store
from agent.tapes.live_reader import LiveSample

log = logging.getLogger("reflexd.drift")
TICK_S = 1.0  # frames are alike within a second: more values would only be copies
SETTLE_S = 0.08  # from asking the tapes to reading them
CASES = "its collected cases"
SAVE_S = 300.0  # flash wears: 10 kB a lane


class LaneWatch:
    """now, everywhere: s of a monotonic clock."""

    def __init__(self, lane: str, given: Settings, now: float) -> None:
        self.lane = lane
        self.announcer = Announcer(lane, now)
        self._tapes = LaneTapes(given.run_dir, lane)
        self._given = given
        self._next, self._collect_at, self._save_at = now, 0.0, now + SAVE_S
        self._findings: Sequence[Any] = []  # of the newest inference
        self._begin(now)

    @property
    def settings(self) -> LaneSettings:
        return self._given.lanes[self.lane]

    def change(self, given: Settings, now: float) -> None:
        """The settings as they are now. With another model or source, go on with what was learnt of that."""
        old, before = self._given, self.settings
        self._given = given
        if (before, old.limits, old.collect) == (self.settings, given.limits, given.collect):
            return
        if before.model != self.settings.model:
            log.warning("lane %s: another model: drift is watched against what is learnt of it", self.lane)
        self._save(before)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._store = Store(self._given.state_dir)
        self.drift = self._store.load(self.lane, self.settings, self._given.limits)
        self.announcer.restart(self.drift.drifting, now)
        self.cases = self._make_cases()

    def _make_cases(self) -> Cases | None:
        """None where none are wanted, or the folder or the key cannot be used now."""
        given = self._given
        if given.collect is None:
            return None
        try:
            cases = Cases(LaneFolder(given.state_dir, given.node, self.lane, given.collect))
        except OSError as error:
            self.announcer.disk(error, CASES)
            return None
        self.announcer.disk(None, CASES)
        return cases

    def poll(self, now: float) -> None:
        """Often; it works once a second."""
        if self._collect_at and now >= self._collect_at:
            self._collect_at = 0.0
            self._take(now)
        elif now >= self._next and not self._collect_at:
            self._next = self._next + TICK_S if now < self._next + TICK_S else now + TICK_S
            self._collect_at = now + SETTLE_S
            self._request(now)
        elif not self._collect_at:
            self._take_picture(self._tapes.picture(), now)
        if now >= self._save_at:
            self._save_at = now + SAVE_S
            self._save(self.settings)
            self.cases = self.cases or self._make_cases()

    def _request(self, now: float) -> None:
        self._tapes.request()
        self.announcer.tape(self._tapes.present, now)
        self.announcer.log_begun(self.drift, now)
        self._relearn_if_asked(now)

    def _relearn_if_asked(self, now: float) -> None:
        if self._store.forget_if_asked(self.lane):
            self.drift = LaneDrift(self._given.limits)
            self.announcer.restart([], now)
            log.warning("lane %s: what is normal is learnt again, as was asked for", self.lane)

    def _take(self, now: float) -> None:
        """Add the samples of one second."""
        new = self._tapes.collect()
        if new.inferences:
            self._findings = new.inferences[-1][1]
        self._note(self.drift.add_inferences(new.inferences), now)
        self.announcer.findings(bool(new.inferences), self.drift.scores.count, now)
        if len(new.window):
            self._take_window(new.window, now)
        if len(new.levels):
            self._take_sound(new.levels, now)
        self._take_picture(new.picture, now)

    def _take_window(self, window: Array, now: float) -> None:
        drift, channels, rate_hz, findings = self.drift, self._tapes.channels, self._tapes.rate_hz, self._findings
        bad = drift.bad
        self._note(drift.add_window(window, channels), now)
        self.announcer.numbers(drift.bad == bad)
        self._offer(lambda cases: cases.offer_window(drift, findings, window, channels, rate_hz, now))

    def _take_sound(self, levels: Array, now: float) -> None:
        drift, findings, bad = self.drift, self._findings, self.drift.bad
        self._note(drift.add_sound(levels), now)
        self.announcer.numbers(drift.bad == bad)
        self._offer(lambda cases: cases.offer_sound(drift, findings, now))

    def _take_picture(self, sample: LiveSample | None, now: float) -> None:
        if sample and sample.picture:
            drift, known = self.drift, sample
            self._note(drift.add_picture(sample.picture), now)
            self._offer(lambda cases: cases.offer_picture(drift, known, now))

    def _note(self, changes: Sequence[Change], now: float) -> None:
        self.announcer.changes(changes, self.drift, now)

    def _offer(self, offer: Callable[[Cases], None]) -> None:
        cases = self.cases
        if cases:
            self._try(lambda: offer(cases), CASES)

    def _save(self, settings: LaneSettings) -> None:
        self._try(lambda: self._store.save(self.lane, settings, self.drift), "what is normal")

    def _try(self, work: Callable[[], None], what: str) -> None:
        try:
            work()
        except OSError as error:
            self.announcer.disk(error, what)
        else:
            self.announcer.disk(None, what)

    def report(self, now: float) -> dict[str, Any]:
        """Fit for JSON."""
        since = {name: now - began for name, began in self.announcer.since.items()}
        kept = self.cases.folder.kept._asdict() if self.cases else None
        return {**report.of_lane(self.lane, self.drift, since), "trouble": self.announcer.trouble, "collected": kept}

    def close(self) -> None:
        self._save(self.settings)
        self._tapes.close()
