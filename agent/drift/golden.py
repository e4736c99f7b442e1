"""The golden outputs of every watched model, run again once a day in a process of its own.

A daemon compares them when it starts, and boxes run for months: a file that rots on the disk, memory that fails, or a
library that was upgraded below the running daemon shows here first.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.drift import advice
from agent.drift.settings import Model
from agent.isolated import python, sacrifice

log = logging.getLogger("reflexd.drift")
RETRY_S = 3600.0  # while one is bad
LIMIT_S = 600.0  # for all of them
GOOD, BAD, MISSING = "good", "bad", "missing"


class Result(NamedTuple):
    """state: GOOD, BAD, or MISSING where the package has none. cause: why it is bad."""

    state: str
    cause: str = ""


class GoldenRuns:
    """When they are due, the process that runs them, and what it found; `poll` never waits."""

    def __init__(self, hours: float, now: float) -> None:
        """hours: 0: never. now: of the clock that `poll` is given, s. The daemon has just run them."""
        self.results: dict[Model, Result] = {}
        self.ended: float | None = None  # when the newest run did
        self._period_s = hours * 3600
        self._due = now + self._period_s
        self._process: subprocess.Popen[bytes] | None = None
        self._models: list[Model] = []
        self._limit = 0.0

    def poll(self, models: Iterable[Model], now: float) -> None:
        """models: of all lanes."""
        if self._process:
            self._poll(now)
        elif self._period_s and now >= self._due:
            self._start(list(dict.fromkeys(models)), now)

    def _start(self, models: list[Model], now: float) -> None:
        self._models, self._limit, self._due = models, now + LIMIT_S, now + self._period_s
        if not models:
            return
        arguments = [part for model in models for part in (model.folder, model.engine, model.checksum)]
        try:
            self._process = subprocess.Popen(python("agent.drift.golden", *arguments), stdout=subprocess.PIPE)
        except OSError as error:
            log.warning("golden outputs are not run: %s; trying again in an hour", error.strerror)
            self._due = now + RETRY_S
            return
        sacrifice(self._process.pid)

    def _poll(self, now: float) -> None:
        assert self._process and self._process.stdout
        late = now > self._limit
        if self._process.poll() is None and not late:
            return
        if late:
            self._process.kill()
        output = self._process.stdout.read()  # a line a model: it fits into the pipe
        self._process.stdout.close()
        self._process.wait()
        self._process, self.ended = None, now
        self._accept(_parsed(output, len(self._models), late), now)

    def _accept(self, results: Sequence[Result], now: float) -> None:
        before = self.results
        self.results = dict(zip(self._models, results))
        for model, result in self.results.items():
            was_bad = before.get(model, Result(GOOD)).state == BAD
            name = Path(model.folder).name
            if result.state == BAD and not was_bad:
                log.error("model %s: %s", name, advice.golden(result.cause))
            elif result.state == GOOD and was_bad:
                log.warning("model %s: golden outputs are good again", name)
        if any(result.state == BAD for result in results):
            self._due = min(self._due, now + RETRY_S)

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


def _parsed(output: bytes, count: int, late: bool) -> list[Result]:
    """Of a process that died in a model: that one and those behind it are bad."""
    results: list[Result] = []
    for line in output.splitlines()[:count]:
        try:
            results.append(Result(*map(str, json.loads(line))))
        except (ValueError, TypeError):
            break
    cause = f"not done after {LIMIT_S:g} s" if late else "the process that ran them ended without an answer"
    return results + [Result(BAD, cause)] * (count - len(results))


def run(folder: Path, engine: str, checksum: str) -> Result:
    """Of a package: its files, its model, its golden outputs, as the daemon does it at its start."""
    from agent.errors import PackageError
    from agent.packages import package

    try:
        manifest = package.read(folder)
        if manifest.checksum != checksum:
            return Result(MISSING, "the package on the disk is another one than that which runs")
        opened = package.open_package(folder, backend=engine)
    except PackageError as error:
        return Result(BAD, str(error))
    return Result(MISSING if opened.golden is None else GOOD)


def answer(arguments: Sequence[str]) -> Iterable[list[Any]]:
    """arguments: folder, engine, checksum of each package."""
    for folder, engine, checksum in zip(arguments[::3], arguments[1::3], arguments[2::3]):
        yield list(run(Path(folder), engine, checksum))


def main() -> None:
    """`python -m agent.drift.golden FOLDER ENGINE CHECKSUM ...`: a line of JSON for each."""
    os.nice(19)
    for line in answer(sys.argv[1:]):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
