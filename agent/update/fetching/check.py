"""A check's process: looks for newer models once, fetches and tries them, hands them over. Exit code 1: refused.

Nothing has to be finished when it ends: kill -9 at any moment leaves each package whole or absent.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from agent import redact
from agent.box import background
from agent.box.lockfile import lock
from agent.config.load import load_config
from agent.config.models import Config
from agent.config.services import Update
from agent.control import client as control
from agent.errors import ConfigError, PackageError
from agent.packages import package
from agent.update import progress
from agent.update.fetching import choice, refusal
from agent.update.fetching.client import FOLDER, Client, Place
from agent.update.fetching.fetch import Fetcher, Limits, Pace
from agent.update.fetching.golden_trial import trial
from agent.update.fetching.refusal import Paused, Refused
from agent.update.fetching.schedule import window_of
from agent.update.store import Store, StoreError

log = logging.getLogger("reflexd.update")
ASK_S = 5.0  # for the daemon's answer


class World(NamedTuple):
    """What a test replaces. wall: seconds since 1970. local: the time of day."""

    wall: Callable[[], float] = time.time
    local: Callable[[], datetime] = datetime.now
    sleep: Callable[[float], object] = time.sleep
    trial: Callable[[Path], str] = trial
    silent_s: float = Limits().silent_s


class Check:
    """Of all models of one box."""

    def __init__(self, config: Config, section: Update, path: Path, world: World | None = None) -> None:
        """path: of the configuration."""
        self._world = world or World()
        self._run_dir = config.run_dir
        self._models = config.updatable
        self._base = path.resolve().parent
        self._place = Place(section.url, self._base / section.root, config.state_dir, bool(section.models))
        self._kbit_s = section.kbit_s
        self._window = window_of(section.window)
        self.progress = progress.read(config.run_dir)
        self.progress.models, self.progress.state_dir = self._models, str(config.state_dir)

    def run(self) -> bool:
        """False where something was refused, which is said once and counted."""
        pace = Pace(sleep=self._world.sleep, check=self._check_window)
        fetcher = Fetcher(Limits(silent_s=self._world.silent_s, kbit_s=self._kbit_s), pace)
        refusals: list[Refused] = []
        finished = True
        client = Client(self._place, fetcher, self._world.trial, self._world.wall)
        try:
            client.refresh()
            for model in self._models:
                try:
                    self._update(client, model)
                except Refused as refused:
                    refusals.append(refused)
        except Refused as refused:
            refusals.append(refused)
        except Paused:
            log.info("the window has closed: the download goes on when it opens")
            finished = False
        self._note(refusals, fetcher.received, finished)
        return not refusals

    def _check_window(self) -> None:
        """Raises Paused."""
        if self._window.wait_s(self._world.local()):
            raise Paused

    def _update(self, client: Client, model: str) -> None:
        """Fetch what is newer, and ask the daemon to try it. Raises Refused, Paused."""
        try:
            store = Store(self._place.state_dir, model, self._world.wall)
            state = store.state()
            if state.trial:
                return  # the daemon has not finished with that one
            running = "" if state.current else choice.digest_of(self._configured(model))
            version = choice.wanted(client.versions(model), state, running)
            if version is None:
                return
            if not store.has(version.version):
                client.install(store, version)
                self.progress.installed += 1
                log.info("model %s: version %s is on this box", model, version.version)
        except StoreError as error:
            raise Refused(refusal.DAMAGED, str(error)) from error
        self._check_window()
        self._hand_over(model, version.version)

    def _configured(self, model: str) -> Path:
        try:
            return package.find(model, self._base)
        except PackageError:
            return self._base / model

    def _hand_over(self, model: str, version: str) -> None:
        """Raises Refused."""
        answer = control.ask(self._run_dir, {"do": "swap", "model": model, "version": version}, ASK_S)
        if answer is None or not answer.get("ok"):
            mistakes = (answer or {}).get("mistakes") or [(answer or {}).get("error", "no answer")]
            text = f"model {model}: the daemon does not take version {version}: {mistakes[0]}"
            raise Refused(refusal.SWAP, f"{text}; it is asked again at the next check")

    def _note(self, refusals: list[Refused], received: int, finished: bool) -> None:
        """Counts, the log where something has changed, and the file for others."""
        note, now = self.progress, self._world.wall()
        note.checks, note.checked, note.bytes = note.checks + 1, now, note.bytes + received
        for refused in refusals:
            note.refused[refused.reason] = note.refused.get(refused.reason, 0) + 1
        if finished and not refusals:
            note.succeeded = now
        reason = refusals[0].reason if refusals else ""
        if reason != note.reason:
            self._log(refusals)
        note.reason, note.message = reason, redact.message("; ".join(map(str, refusals)))
        try:
            progress.write(self._run_dir, note)
        except OSError as error:
            log.warning("%s: %s: metrics do not show updates", error.filename, error.strerror)

    def _log(self, refusals: list[Refused]) -> None:
        for refused in refusals:
            log.warning("no update (%s): %s", refused.reason, refused)
        if not refusals:
            log.info("updates are possible again")


def main() -> int:
    background.settle()
    path = Path(sys.argv[1])
    try:
        config = load_config(path)
        held = lock(config.state_dir / FOLDER / "lock", "another check for models runs here: this one is left out")
    except ConfigError as error:
        log.error("%s", error)
        return 1
    try:
        return _once(config, path)
    finally:
        held.release()


def _once(config: Config, path: Path) -> int:
    return 0 if config.update is None or Check(config, config.update, path).run() else 1


if __name__ == "__main__":
    sys.exit(main())
