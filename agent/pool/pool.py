"""Pictures through a model by several worker processes: none is lost and none has two rows, however a worker ends."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

from agent.box import realtime
from agent.errors import DataError, PackageError
from agent.isolated import python, sacrifice
from agent.pool.picture import SUFFIXES
from agent.pool.results import Results

WINDOW = 4  # pictures that a worker has at a time: it never waits for the next one
MOST_ENDS = 2  # of workers at one picture, before that counts as bad
MOST_STARTS = 3  # that fail one after the other
STALLED_S = 60.0  # without a row: the worker hangs


class Worker:
    """A process on one core, and the pictures that it has, the oldest first."""

    def __init__(self, folder: Path, package: Path, core: int) -> None:
        self.folder, self.core = folder, core
        self.pending: deque[str] = deque()
        self.ready = False
        self.heard = time.monotonic()
        self._rest = b""
        self.process = subprocess.Popen(
            python("agent.pool.worker", str(package), str(core)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, realtime.PARENT: str(os.getpid())},
        )
        assert self.process.stdout and self.process.stdin
        self.rows: IO[bytes] = self.process.stdout
        self._paths: IO[bytes] = self.process.stdin
        os.set_blocking(self.rows.fileno(), False)
        sacrifice(self.process.pid)

    def give(self, name: str) -> None:
        """If it has just ended, that is read from its rows."""
        if not self.pending:
            self.heard = time.monotonic()
        self.pending.append(name)
        try:
            self._paths.write(json.dumps(str(self.folder / name)).encode() + b"\n")
            self._paths.flush()
        except BrokenPipeError:
            pass

    def read(self) -> list[dict[str, Any]] | None:
        """Rows since the last time; None once it has ended. An unfinished row is none."""
        data = os.read(self.rows.fileno(), 1 << 20)
        if not data:
            return None
        self.heard = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def stalled(self) -> bool:
        return bool(self.pending) and time.monotonic() - self.heard > STALLED_S

    def end(self) -> int:
        """Its exit code, or less its signal."""
        self.process.kill()
        code = self.process.wait()
        self.rows.close()
        try:
            self._paths.close()
        except BrokenPipeError:
            pass
        return code


class Pool:
    """One run. Only this process writes results, so a picture whose worker was killed is simply given out again."""

    def __init__(self, folder: Path, package: Path, cores: Sequence[int], results: Results) -> None:
        self.folder, self.package, self.cores, self.results = folder, package, cores, results
        self.queue: deque[str] = deque()
        self.ended_at: Counter[str] = Counter()  # workers, by the picture that they had
        self.failed_starts = 0
        self.restarts = 0
        self.started_s = 0.0  # from the beginning until every worker had its model
        self._selector = selectors.DefaultSelector()
        self._workers: list[Worker] = []

    def run(self, names: Sequence[str]) -> None:
        """All of them that have no row yet. Raises PackageError, DataError where no worker starts, OSError."""
        begun = time.monotonic()
        self.queue = deque(name for name in names if name not in self.results.done)
        try:
            for core in self.cores[: len(self.queue)]:
                self._start(core)
            while self.queue or any(worker.pending for worker in self._workers):
                for key, _ in self._selector.select(1.0):
                    self._receive(key.data)
                for worker in filter(Worker.stalled, self._workers):
                    worker.process.kill()
                if not self.started_s and all(worker.ready for worker in self._workers):
                    self.started_s = time.monotonic() - begun
        finally:
            for worker in self._workers:
                worker.end()
            self._selector.close()

    def _start(self, core: int) -> None:
        worker = Worker(self.folder, self.package, core)
        self._workers.append(worker)
        self._selector.register(worker.rows, selectors.EVENT_READ, worker)
        self._fill(worker)

    def _fill(self, worker: Worker) -> None:
        while self.queue and len(worker.pending) < WINDOW:
            worker.give(self.queue.popleft())

    def _receive(self, worker: Worker) -> None:
        rows = worker.read()
        if rows is None:
            self._replace(worker)
            return
        for row in rows:
            if "refused" in row:
                raise PackageError(row["refused"])
            if "ready" in row:
                worker.ready, self.failed_starts = True, 0
                continue
            self._add({"file": worker.pending.popleft(), **row})
        self._fill(worker)

    def _add(self, row: dict[str, Any]) -> None:
        self.results.add(row)
        if "error" in row:
            click.echo(f"{_shown(row['file'])}: {row['error']}", err=True)

    def _replace(self, worker: Worker) -> None:
        """Another one takes its core; its pictures are the next to be given out. Raises DataError."""
        self._selector.unregister(worker.rows)
        self._workers.remove(worker)
        code = worker.end()
        self.restarts += 1
        self.failed_starts += not worker.ready
        if self.failed_starts >= MOST_STARTS:
            raise DataError(f"the workers of the pool do not start ({_described(code)}): see the lines above")
        if worker.ready and worker.pending:
            self._blame(worker.pending, code)
        self.queue.extendleft(reversed(worker.pending))
        if self.queue:
            self._start(worker.core)

    def _blame(self, pending: deque[str], code: int) -> None:
        """The oldest was the one at which it ended; twice, and it is not tried again."""
        name = pending[0]
        self.ended_at[name] += 1
        if self.ended_at[name] >= MOST_ENDS:
            pending.popleft()
            self._add({"file": name, "error": f"ends its worker ({_described(code)})"})


def _described(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _shown(name: str) -> str:
    """A name may hold a line break, or bytes that are no text."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def pictures(folder: Path) -> list[str]:
    """Names of the picture files, in order. Raises DataError where there are none, OSError."""
    names = sorted(_names(folder))
    if not names:
        raise DataError(f"{folder}: no pictures there: files that end in {', '.join(SUFFIXES)}")
    return names


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES))
