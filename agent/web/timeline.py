"""The decisions of the lanes, newest first, from their decision tapes, which outlive a daemon; and the files beside."""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.recorder import series
from agent.recorder.decision_reader import Decided, DecisionReader
from agent.web.messages import wall_ms

MAX_DECISIONS = 2000
MAX_FILES = 500
STAMP = re.compile(r"_(\d{8,9}T\d{6})(?:-([A-Za-z0-9_.-]{1,32}?))?(?:\.\d{3})?\.mcap(\.sealed)?$")
FIELDS = ("number", "rule", "actuator", "verb", "dropped", "explanation")


class Timeline:
    """What was decided, as far back as the tapes reach."""

    def __init__(self) -> None:
        self._readers: dict[Path, tuple[int, DecisionReader]] = {}  # with the file's inode
        self._decisions: dict[Path, list[dict[str, Any]]] = {}
        self.lost = 0

    def newest(self, run_dir: Path, limit: int, rule: str | None, actuator: str | None) -> list[dict[str, Any]]:
        """rule, actuator: only those; None: all. A rule named "" is that of rest."""
        for path in run_dir.glob("*.decisions"):
            self._read(path)
        chosen = [
            decision
            for decisions in self._decisions.values()
            for decision in decisions
            if rule in (None, decision["rule"]) and actuator in (None, decision["actuator"])
        ]
        chosen.sort(key=lambda decision: (decision["t_capture"], decision["number"]), reverse=True)
        return [{**decision, "t": wall_ms(decision["t_capture"])} for decision in chosen[:limit]]

    def _read(self, path: Path) -> None:
        """What was written since the last look."""
        reader = self._reader(path)
        if reader is None:
            return
        decisions = self._decisions.setdefault(path, [])
        for decided in (*reader.read(), *reader.read()):
            decisions += _rows(decided, path.stem)
        del decisions[:-MAX_DECISIONS]
        self.lost = sum(each.lost for _, each in self._readers.values())

    def _reader(self, path: Path) -> DecisionReader | None:
        """Begins at the oldest record that is left; nothing before it counts as lost.

        A file that was made again is read from its beginning.
        """
        known = self._readers.get(path)
        try:
            inode = path.stat().st_ino
            if known and known[0] == inode:
                return known[1]
            reader = DecisionReader(path)
        except (OSError, ValueError):
            return None  # being made, or of another version
        if known:
            known[1].close()
        reader.begin()
        self._readers[path] = inode, reader
        return reader


def _rows(decided: Decided, lane: str) -> Iterator[dict[str, Any]]:
    for values in decided.decisions:
        yield {"lane": lane, "t_capture": decided.t_capture, **dict(zip(FIELDS, values))}


def clips(state_dir: Path) -> list[dict[str, Any]]:
    """Of events, newest first."""
    return [_described(path) for path in _files(state_dir / "events")]


def recordings(state_dir: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in _described(path).items() if key != "rule"}
        for path in _files(state_dir / "recordings")
    ]


def _files(folder: Path) -> list[Path]:
    try:
        named = [path for path in folder.iterdir() if STAMP.search(path.name)]
    except OSError:
        return []
    return series.newest_first(named)[:MAX_FILES]


def _described(path: Path) -> dict[str, Any]:
    match = STAMP.search(path.name)
    assert match
    began = timegm(time.strptime(match[1], "%Y%m%dT%H%M%S"))
    return {
        "name": path.name,
        "t": began * 1000,
        "rule": match[2] or "",
        "bytes": path.stat().st_size,
        "sealed": bool(match[3]),
    }
