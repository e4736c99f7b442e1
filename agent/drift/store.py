"""What was learnt of a lane, on the disk: it outlives the daemon, and belongs to one model."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from agent.box import files, private
from agent.box.files import BadFile
from agent.drift.detector import Limits
from agent.drift.lane import LaneDrift
from agent.drift.settings import LaneSettings

log = logging.getLogger("reflexd.drift")
VERSION = 1
KEPT = 4  # models of a lane: one that is rolled back to finds what it had learnt
MAX_BYTES = 4_000_000
SHORT = 16  # digits of a checksum in a file's name
RELEARN = ".relearn"


class Store:
    """state_dir/drift: a file for each lane and model."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "drift"

    def load(self, lane: str, settings: LaneSettings, limits: Limits) -> LaneDrift:
        """What cannot be used is learnt again, and why is logged."""
        path = self._path(lane, settings.model)
        try:
            return _restored(lane, path, settings, limits) if path.exists() else LaneDrift(limits)
        except (BadFile, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("lane %s: %s is damaged, so what is normal is learnt again: %s", lane, path, error)
            return LaneDrift(limits)

    def save(self, lane: str, settings: LaneSettings, drift: LaneDrift) -> None:
        """Raises OSError."""
        content = {"version": VERSION, "model": settings.model, "source": settings.source, "lane": drift.saved()}
        private.make_folder(self.folder)
        private.write(self._path(lane, settings.model), json.dumps(content).encode())
        by_age = sorted(self._of(lane), key=lambda path: path.stat().st_mtime_ns)
        for path in by_age[:-KEPT]:
            path.unlink(missing_ok=True)

    def request_relearning(self, lane: str) -> None:
        """For the monitor, from another process. Raises OSError."""
        private.make_folder(self.folder)
        private.write(self.folder / f"{lane}{RELEARN}", b"")

    def forget_if_asked(self, lane: str) -> bool:
        """Removes all that was learnt of a lane where somebody asked for it."""
        request = self.folder / f"{lane}{RELEARN}"
        if not request.exists():
            return False
        for path in [*self._of(lane), request]:
            path.unlink(missing_ok=True)
        return True

    def _path(self, lane: str, model: str) -> Path:
        return self.folder / f"{lane}-{model[:SHORT]}.json"

    def _of(self, lane: str) -> Iterator[Path]:
        """A name may begin with that of another lane, and end with a dash and more."""
        ending = len("-.json") + SHORT
        return (path for path in self.folder.glob(f"{lane}-*.json") if len(path.name) == len(lane) + ending)


def _restored(lane: str, path: Path, settings: LaneSettings, limits: Limits) -> LaneDrift:
    """Raises what a damaged file raises."""
    with files.open_regular(path, MAX_BYTES) as file:
        saved = json.loads(file.read())
    if (saved["version"], saved["model"]) != (VERSION, settings.model):
        raise ValueError("it is of another version or model")
    drift, same = LaneDrift(limits), saved["source"] == settings.source
    drift.restore(saved["lane"], inputs=same)
    if not same:
        log.warning("lane %s: its source is another one: what it delivers is learnt again", lane)
    return drift
