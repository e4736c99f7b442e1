"""The two tapes of a lane's samples: what the recorder reads, and what those see who watch it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from agent.backends.base import Engine
from agent.tapes.live import LiveTape, live_header
from agent.tapes.tape import Tape
from drivers.base import SensorStream, Stream

log = logging.getLogger("reflexd")


class Tapes:
    """Made again where the source, now open, delivers something else. A full disk stops the recording, not the lane."""

    def __init__(self, run_dir: Path, lane: str, recorded: bool, pictures: bool) -> None:
        """recorded: there is a recorder. pictures: keep the inputs of picture models for it, not only their outputs."""
        self.lane = lane
        self.recorded, self._pictures = recorded, pictures
        self.path, self._live_path = run_dir / f"{lane}.tape", run_dir / f"{lane}.live"
        self.tape: Tape | None = None
        self.live: LiveTape | None = None

    def open(self, engines: Sequence[Engine], source: Stream) -> None:
        if self.recorded:
            self.tape = self._open_tape(engines, source)
        self.live = self._open_live(source)

    def _open_tape(self, engines: Sequence[Engine], source: Stream) -> Tape | None:
        """The one before where the source delivers the readings that it states."""
        channels = source.channels if isinstance(source, SensorStream) else ()
        rate_hz = source.rate_hz if channels else 0.0
        if self.tape and (self.tape.channels, self.tape.rate_hz) == (tuple(channels), rate_hz):
            return self.tape
        if self.tape:
            self.tape.close()
        try:
            return Tape(self.path, self.lane, engines, channels, self._pictures, time.time_ns(), rate_hz)
        except OSError as error:
            log.warning("lane %s is not recorded: %s", self.lane, error)
            return None

    def exchange(self, engines: Sequence[Engine], source: Stream) -> None:
        """The lane's models are other versions from the next sample on."""
        if self.tape and not self.tape.exchange(engines):
            self.tape.close()
            self.tape = None
            self.tape = self._open_tape(engines, source)

    def _open_live(self, source: Stream) -> LiveTape | None:
        header = live_header(self.lane, source)
        if self.live and self.live.header == header:
            return self.live
        self.close()
        try:
            return LiveTape(self._live_path, header) if header else None
        except OSError as error:
            log.warning("lane %s cannot be watched: %s", self.lane, error)
            return None

    def close(self) -> None:
        """Of the pictures for those who watched, none stays behind. The recorder still reads its tape."""
        if self.live:
            self.live.remove()
            self.live = None
