"""The drift monitor: a process beside the daemon that reads what lanes leave in shared memory, once a second.

It never takes the lanes' GIL, and no lane waits for it: agent/drift/README.md.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.box import finishing, logs
from agent.box.signals import StopSignal
from agent.drift import published, settings
from agent.drift.golden import BAD, GOOD, MISSING, GoldenRuns
from agent.drift.settings import Model, Settings
from agent.drift.watch import LaneWatch

log = logging.getLogger("reflexd.drift")
POLL_S = 0.05
PUBLISH_S = 2.0
SHUTDOWN_S = 10


class Monitor:
    """All lanes of a run_dir."""

    def __init__(self, given: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: s."""
        self.settings = given
        self.reload_requested = False
        self._clock = clock
        now = clock()
        self.watches = {lane: LaneWatch(lane, given, now) for lane in given.lanes}
        self.golden = GoldenRuns(given.golden_h, now)
        self._published = -PUBLISH_S

    def run(self, stop: StopSignal) -> None:
        """Until asked to stop. Raises OSError where run_dir cannot be written."""
        while not stop.wait(POLL_S):
            self.step()
        self.close()

    def step(self) -> None:
        """Often; it never waits. Raises OSError."""
        if self.reload_requested:
            self.reload_requested = False
            self._reload()
        now = self._clock()
        for watch in self.watches.values():
            watch.poll(now)
        self.golden.poll((model for watch in self.watches.values() for model in watch.settings.models), now)
        if now - self._published >= PUBLISH_S:
            self._published = now
            published.write(self.settings.run_dir, {lane: self._report(lane, now) for lane in self.watches})

    def _report(self, lane: str, now: float) -> dict[str, Any]:
        watch = self.watches[lane]
        return {**watch.report(now), "golden": self._golden(watch.settings.models, now)}

    def _golden(self, models: list[Model], now: float) -> dict[str, Any]:
        results = {Path(model.folder).name: self.golden.results.get(model) for model in models}
        bad = [f"{name}: {result.cause}" for name, result in results.items() if result and result.state == BAD]
        states = {result.state for result in results.values() if result} or {"not yet"}
        state = BAD if bad else GOOD if GOOD in states else next(iter(states))
        age = None if self.golden.ended is None or state == MISSING else round(now - self.golden.ended, 1)
        return {"state": state, "causes": bad, "age_s": age}

    def _reload(self) -> None:
        """The daemon has reloaded its configuration, or a lane has another model."""
        try:
            given = settings.read(self.settings.run_dir)
        except (OSError, ValueError) as error:
            log.warning("drift is watched under the previous configuration: %s", error)
            return
        now = self._clock()
        for lane in self.watches.keys() - given.lanes.keys():
            self.watches.pop(lane).close()
        for watch in self.watches.values():
            watch.change(given, now)
        self.watches.update({lane: LaneWatch(lane, given, now) for lane in given.lanes if lane not in self.watches})
        self.settings = given

    def close(self) -> None:
        self.golden.close()
        for watch in self.watches.values():
            watch.close()
        (self.settings.run_dir / published.NAME).unlink(missing_ok=True)


def main() -> None:
    """The monitor's process, which the daemon starts: `python -m agent.drift.monitor RUN_DIR`."""
    run_dir = Path(sys.argv[1])
    stop = finishing.prepare(SHUTDOWN_S)
    logs.start(logging.INFO)
    try:
        monitor = Monitor(settings.read(run_dir))
        finishing.on_reload(lambda: setattr(monitor, "reload_requested", True))
        monitor.run(stop)
    except OSError as error:
        sys.exit(f"drift: {error.filename or run_dir}: {error.strerror or error}")
    except ValueError as error:
        sys.exit(f"drift: {error}")


if __name__ == "__main__":
    main()
