"""The versions of one model on this box. After a power cut or kill -9 at any moment each is whole or absent.

STATE_DIRECTORY/models/NAME/VERSION/ is a package; state.json beside them says which of them runs. The daemon, the
updater and commands use it at the same time: a change is made under a lock, which ends with its process.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from agent.box import durable, files, private
from agent.update.state import CONFIGURED, VERSION_PATTERN, Stage, State, Trial

log = logging.getLogger("reflexd.update")
FOLDER = "models"  # in the state directory
STATE, LOCK = "state.json", "lock"
NEW, OLD = ".new-", ".old-"  # a folder that is not whole yet, or no longer
MAX_STATE_BYTES = 1 << 20


class StoreError(Exception):
    """A request that does not fit the state; one sentence for a person."""


class Store:
    """One model's versions."""

    def __init__(self, root: Path, name: str, clock: Callable[[], float] = time.time) -> None:
        """root: the state directory. clock: seconds since 1970, for the history. Raises StoreError."""
        self.name = name
        self.path = root / FOLDER / _checked(name, "a model")
        self._clock = clock
        self._warned = False

    def state(self) -> State:
        """As it was written last; empty where there is none, or none that can be read."""
        try:
            with files.open_regular(self.path / STATE, MAX_STATE_BYTES) as file:
                return State.model_validate_json(file.read())
        except files.BadFile as error:
            if os.path.lexists(self.path / STATE):
                self._warn(str(error))
        except (OSError, ValidationError) as error:
            self._warn(f"is damaged ({type(error).__name__})")
        return State()

    def _warn(self, what: str) -> None:
        """Once: every sample of a status would say it again."""
        if not self._warned:
            log.warning(
                "%s %s: the model of the configuration is used; 'reflexd model history %s' shows the versions on disk",
                *(self.path / STATE, what, self.name),
            )
        self._warned = True

    def folder(self, version: str) -> Path:
        """Of a version, which may be absent. Raises StoreError."""
        return self.path / _checked(version, "a version")

    def current_folder(self) -> Path | None:
        """The package to load in place of the configuration's; None: that one."""
        current = self.state().current
        return self.folder(current) if current and self.has(current) else None

    def has(self, version: str) -> bool:
        return os.path.isdir(self.folder(version))

    def versions(self) -> list[str]:
        """Those on disk, the newest first."""
        try:
            with os.scandir(self.path) as entries:
                folders = [entry for entry in entries if entry.is_dir() and re.fullmatch(VERSION_PATTERN, entry.name)]
        except FileNotFoundError:
            return []
        return [entry.name for entry in sorted(folders, key=lambda entry: -entry.stat().st_mtime)]

    def add(self, folder: Path, version: str) -> Path:
        """Copy a checked package; it is on the disk before it has its name. Raises OSError, StoreError."""
        final = self.folder(version)
        if durable.same(folder, final):
            return final  # it may be in use: it does not go away for a moment
        self.make()
        new = self.path / f"{NEW}{os.getpid()}"
        durable.remove(new)
        shutil.copytree(folder, new)
        durable.sync(new)
        with self._change() as state:
            self._put_aside(final)
            os.rename(new, final)
            durable.sync_folder(self.path)
            state.note(self._clock(), version, "added")
        return final

    def begin_trial(self, version: str) -> None:
        """Raises StoreError where it is absent, rejected or another one is held."""
        with self._change() as state:
            if not self.has(version):
                raise StoreError(f"model {self.name}: no version {version} on this box; on disk: {self._listed()}")
            if version in state.rejected:
                raise StoreError(f"model {self.name}: version {version} was rejected: {state.rejected[version]}")
            if state.hold not in (None, version):
                raise StoreError(f"model {self.name}: version {state.hold} is held: 'reflexd model hold --release'")
            state.trial = Trial(version=version)
            state.note(self._clock(), version, "trial")

    def stage(self, stage: Stage) -> None:
        """Raises StoreError where none is on trial."""
        with self._change() as state:
            trial = self._trial(state)
            trial.stage = stage
            state.note(self._clock(), trial.version, stage)

    def count_start(self) -> int:
        """The daemon starts: how often it did since the version is on trial; 0 where none is."""
        if not self.state().trial:
            return 0  # the usual start writes nothing
        with self._change() as state:
            if not state.trial:
                return 0
            state.trial.starts += 1
            return state.trial.starts

    def commit(self) -> None:
        """The version on trial has proved itself. Raises StoreError where there is none."""
        with self._change() as state:
            version = self._trial(state).version
            if version != state.current:
                state.previous, state.current = state.current, version
            state.trial = None
            state.note(self._clock(), version, "accepted")

    def reject(self, reason: str) -> None:
        """The version on trial has failed and is never tried again. Raises StoreError where there is none."""
        with self._change() as state:
            version = self._trial(state).version
            state.trial = None
            state.bar(version, reason)
            state.note(self._clock(), version, "rejected", reason)

    def bar(self, version: str, reason: str) -> None:
        """A version that failed before any trial: never fetched or tried."""
        with self._change() as state:
            state.bar(version, reason)
            state.note(self._clock(), version, "rejected", reason)

    def rollback(self, reason: str) -> str | None:
        """Back from the current version, or from the one on trial; what runs from now on. Raises StoreError."""
        with self._change() as state:
            bad = state.trial.version if state.trial else state.current
            if bad is None:
                raise StoreError(f"model {self.name}: the configuration's own package runs: nothing to roll back")
            if state.trial:
                state.trial = None
            else:
                state.current, state.previous = state.previous, None
            state.hold = None if state.hold == bad else state.hold
            state.bar(bad, reason)
            state.note(self._clock(), bad, "rolled back", reason)
            return state.current

    def hold(self, version: str | None) -> None:
        """Pin a version, or CONFIGURED; no other one is fetched or tried. None: release. Raises StoreError."""
        with self._change() as state:
            if version is not None:
                _checked(version, "a version")
                if version in state.rejected:
                    reason = state.rejected[version]
                    raise StoreError(f"model {self.name}: version {version} was rejected ({reason}): hold another one")
            state.hold = version
            state.note(self._clock(), version or state.current, "held" if version else "released")

    def prune(self, keep: int) -> list[str]:
        """Delete versions on disk but those in use and the `keep` newest others; their names."""
        with self._change() as state:
            unused = [version for version in self.versions() if version not in state.in_use]
            for version in unused[keep:]:
                self._put_aside(self.folder(version))
            return unused[keep:]

    @contextmanager
    def _change(self) -> Iterator[State]:
        """The state, to be changed; written when the block ends without an error. Raises OSError."""
        self.make()
        fd = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, private.FILE)
        try:
            durable.own_as(self.path / LOCK, self.path)
            fcntl.flock(fd, fcntl.LOCK_EX)
            before = self.state()
            state = before.model_copy(deep=True)
            yield state
            if state != before:
                private.write(self.path / STATE, state.model_dump_json(indent=1).encode())
                durable.own_as(self.path / STATE, self.path)
                durable.sync_folder(self.path)
            self._sweep()
        finally:
            os.close(fd)

    def make(self) -> None:
        """Its folder, where it can be. Raises OSError, StoreError."""
        if os.path.lexists(self.path / "manifest.yaml"):
            raise StoreError(f"{self.path} is a package, where versions would be kept: move it to another folder")
        new = not os.path.isdir(self.path)
        private.make_folder(self.path)
        for folder in (self.path.parent, self.path) if new else ():
            durable.own_as(folder, folder.parent)
            durable.sync_folder(folder.parent)

    def _put_aside(self, folder: Path) -> None:
        """Out of the versions at once; deleting takes longer, and what is half deleted must not look whole."""
        if os.path.lexists(folder):
            aside = self.path / f"{OLD}{folder.name}"
            durable.remove(aside)
            os.rename(folder, aside)

    def _sweep(self) -> None:
        """What is no version any more, and what writers left that were killed."""
        for entry in [*self.path.glob(f"{OLD}*"), *self.path.glob(f"{NEW}*")]:
            pid = entry.name.removeprefix(NEW)
            if entry.name.startswith(OLD) or not os.path.exists(f"/proc/{pid}"):
                durable.remove(entry)

    def _trial(self, state: State) -> Trial:
        if not state.trial:
            raise StoreError(f"model {self.name}: no version is on trial")
        return state.trial

    def _listed(self) -> str:
        return ", ".join(self.versions()) or f"none but '{CONFIGURED}'"


def _checked(name: str, what: str) -> str:
    if not re.fullmatch(VERSION_PATTERN, name) or name in (STATE, LOCK, f"{STATE}.new"):
        raise StoreError(f"'{name}' cannot name {what}: letters, digits and . _ + - are possible, at most 64")
    return name
