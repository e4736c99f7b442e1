"""Results of a pool as JSON lines: each picture's row is written once, whole, and a run that was ended goes on."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from agent.box import private
from agent.errors import DataError


class Results:
    """The first line names the model; each further one is a picture's. Held by one pool at a time."""

    def __init__(self, path: Path, model: str, checksum: str) -> None:
        """Makes the file, or goes on with it. Raises DataError where it is another's, OSError."""
        self.path = path
        self.done: set[str] = set()
        self.bad = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, private.FILE)
        try:
            self._lock()
            self._go_on({"model": model, "checksum": checksum})
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self.path}: another 'pool run' writes to it: name another file with --out") from None

    def _go_on(self, head: dict[str, Any]) -> None:
        """What is no result of this model stays as it is."""
        with open(self._fd, "rb", closefd=False) as file:
            content = file.read()
        first = json.dumps(head).encode() + b"\n"
        if first.startswith(content):  # new, or its first line was not finished
            os.ftruncate(self._fd, 0)
            self._write(head)
            return
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines() or [content]
        found = self._parsed(lines[0], 1)
        if "model" not in found:
            raise DataError(f"{self.path}: no results of 'pool run': name another file with --out")
        if found != head:
            raise DataError(
                f"{self.path}: has results of model {found['model']}, or of another version of it: name another file"
                " with --out"
            )
        for number, line in enumerate(lines[1:], 2):
            self._count(self._parsed(line, number))
        os.ftruncate(self._fd, whole)  # a row that was not finished: its picture's turn comes again

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{self.path}:{number}: no row of results: name another file with --out")
        return row

    def _count(self, row: dict[str, Any]) -> None:
        self.done.add(str(row.get("file", "")))
        self.bad += "error" in row

    def add(self, row: dict[str, Any]) -> None:
        """Raises OSError."""
        self._write(row)
        self._count(row)

    def _write(self, row: dict[str, Any]) -> None:
        """At once: a kill between two writes leaves no half row, and a torn one is cut off at the next start."""
        line = json.dumps(row).encode() + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)
