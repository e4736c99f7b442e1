"""What is new on the tapes that a lane writes: findings, readings, sound, a picture a second."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.box.mapped import inode_of
from agent.data import Array
from agent.drift.signals import window_length
from agent.recorder.tape_reader import Record, TapeReader
from agent.tapes.format import DISCONTINUITY, INFERRED, LARGE
from agent.tapes.live_format import PICTURE, SOUND
from agent.tapes.live_reader import LiveFile, LiveSample

log = logging.getLogger("reflexd.drift")
BRIEF_NS = 120_000_000  # a camera's lane copies pictures for this long, once a second: one at 8 a second, three at 30
# Slots that are read of a second: all of a camera, of a fast sensor enough for a window. Large ones hold the outputs of
# a detector, a megabyte each.
MANY, FEW = 320, 10
Inference = tuple[int, list[Any]]  # capture time, findings as on the tape


class Arrived(NamedTuple):
    """Since the last time. window: float32 [n, channels], readings in a row; empty where there are not enough yet.

    levels: float32 [n, 3], as in signals.sound_figures. picture: with its findings.
    """

    inferences: list[Inference]
    window: Array
    levels: Array
    picture: LiveSample | None


class LaneTapes:
    """A lane's tapes, wherever it has got to with them: not yet made, made, made again.

    Once a second `request`, and some tens of milliseconds later `collect`: by then what was written is whole on
    processors that reorder writes, and the lane has copied a picture.
    """

    def __init__(self, run_dir: Path, lane: str) -> None:
        self._path = run_dir / f"{lane}.tape"
        self._live = LiveFile(run_dir, lane)
        self._tape: TapeReader | None = None
        self._inode = 0
        self._rows: list[Array] = []
        self._slot = -1  # of the newest row
        self._picture_due = False

    @property
    def present(self) -> bool:
        return self._tape is not None or self._live.reader is not None

    @property
    def channels(self) -> list[str]:
        return self._tape.header.channels if self._tape else []

    @property
    def rate_hz(self) -> float:
        return self._tape.header.rate_hz if self._tape else 0.0

    def request(self) -> None:
        """Mark how far the tapes are now, and ask for a picture or for sound."""
        self._refresh()
        if self._tape:
            newest = MANY if self._tape.size <= LARGE else FEW
            self._tape.next = max(self._tape.next, self._tape.head - newest)
            self._tape.settled = self._tape.head
        self._picture_due = False
        reader = self._live.reader
        if reader and reader.header.kind == SOUND:
            reader.watch()
        elif reader and reader.header.kind == PICTURE:
            reader.next = reader.head
            self._picture_due = True
            reader.watch(BRIEF_NS)

    def collect(self) -> Arrived:
        """What is there by now."""
        records = list(self._tape.read()) if self._tape else []
        inferences = [(record.t_capture, record.evidence) for record in records if record.flags & INFERRED]
        window = self._window(records) if self.channels else np.zeros((0, 0), np.float32)
        return Arrived(inferences, window, self._levels(), self.picture())

    def picture(self) -> LiveSample | None:
        """The one that was asked for; of a slow camera it comes later, and is asked for until then."""
        reader = self._live.reader
        if not self._picture_due or not reader:
            return None
        sample = next(reader.read(), None)
        if sample is None:
            reader.watch(BRIEF_NS)
            return None
        self._picture_due = False
        return sample

    def _levels(self) -> Array:
        reader = self._live.reader
        samples = list(reader.read()) if reader and reader.header.kind == SOUND else []
        rows = [sample.rows for sample in samples if len(sample.rows) == 3]
        return np.stack(rows) if rows else np.zeros((0, 3), np.float32)

    def _window(self, records: list[Record]) -> Array:
        """The newest readings in a row, once there are enough that are new."""
        count = len(self.channels)
        for record in records:
            if record.slot != self._slot + 1 or record.flags & DISCONTINUITY:
                self._rows.clear()
            self._slot = record.slot
            self._rows.append(np.frombuffer(record.body, np.float32).reshape(-1, count))
        length = window_length(self.rate_hz)
        if sum(map(len, self._rows)) < length:
            return np.zeros((0, count), np.float32)
        rows = np.concatenate(self._rows)[-length:]
        self._rows.clear()
        return rows

    def _refresh(self) -> None:
        """Open the files that are there now."""
        self._live.refresh()
        inode = inode_of(self._path)
        if inode == self._inode:
            return
        self._close_tape()
        self._inode = inode
        try:
            self._tape = TapeReader(self._path) if inode else None
        except (OSError, ValueError) as error:
            log.warning("drift is not watched: %s", error)
        if self._tape:
            self._tape.next = self._tape.head  # what is older belongs to a time that was watched, or to another daemon

    def _close_tape(self) -> None:
        self._rows.clear()
        self._slot = -1
        if self._tape:
            self._tape.close()
            self._tape = None

    def close(self) -> None:
        self._close_tape()
        self._live.close()
