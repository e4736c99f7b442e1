"""What of a lane is in shared memory: for the recorder, for those who watch it, and for the other boxes of its site."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from agent.backends.base import Engine
from agent.tapes import evidence_tape
from agent.tapes.evidence_tape import EvidenceTape
from agent.tapes.live import LiveTape, live_header
from agent.tapes.tape import Tape
from drivers.base import SensorStream, Stream

log = logging.getLogger("reflexd")


class Tapes:
    """Made again where the source, now open, delivers something else. A full disk stops the recording, not the lane."""

    def __init__(self, run_dir: Path, lane: str, recorded: bool, pictures: bool, site: bool = False) -> None:
        """recorded: there is a recorder. pictures: keep the inputs of picture models for it, not only their outputs.

        site: other boxes may want its evidence.
        """
        self.lane = lane
        self.recorded, self._pictures = recorded, pictures
        self.path, self._live_path = run_dir / f"{lane}.tape", run_dir / f"{lane}.live"
        self._evidence_path = run_dir / f"{lane}{evidence_tape.SUFFIX}" if site else None
        self.tape: Tape | None = None
        self.live: LiveTape | None = None
        self.evidence: EvidenceTape | None = None

    def open(self, engines: Sequence[Engine], source: Stream) -> None:
        if self.recorded:
            self.tape = self._open_tape(engines, source)
        self.live = self._open_live(source)
        if self._evidence_path and not self.evidence:
            self.evidence = self._open_evidence(self._evidence_path)

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

    def _open_evidence(self, path: Path) -> EvidenceTape | None:
        try:
            return EvidenceTape(path, path.with_name(evidence_tape.WAKE))
        except OSError as error:
            log.warning("lane %s: no other box gets its evidence: %s", self.lane, error)
            return None

    def remove(self) -> None:
        """The lane ends."""
        self.close()
        if self.evidence:
            self.evidence.close()
            self.evidence = None

    def close(self) -> None:
        """Of the pictures for those who watched, none stays behind. The recorder still reads its tape."""
        if self.live:
            self.live.remove()
            self.live = None
