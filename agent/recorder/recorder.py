"""The flight recorder: lanes' tapes into MCAP files of bounded size and number, by a process beside the daemon.

A file holds a topic per lane with JSON messages (schema inside, so Foxglove opens it) and, as metadata, the
configuration and the models' checksums: `reflexd replay FILE` needs nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agent.box import finishing, private
from agent.box.signals import StopSignal
from agent.ledger_text import counted
from agent.recorder import process, progress, settings, strip
from agent.recorder.events import ClipMessage, EventClips
from agent.recorder.lane_reader import LaneReader, Position
from agent.recorder.messages import make_message
from agent.recorder.progress import Progress
from agent.recorder.recording import CHUNK, Recording
from agent.recorder.series import RECORDINGS, Series, is_open
from agent.recorder.settings import Settings
from agent.recorder.tape_reader import Record
from agent.tapes.format import LOST, MORE, TapeHeader

log = logging.getLogger("reflexd.record")
POLL_S = 0.05  # how often the tapes are read
CHECK_S = 1.0  # how often new tapes and the file's size are checked, and the longest that messages stay in memory


class Recorder:
    """All tapes of a run_dir into files of one folder."""

    def __init__(self, given: Settings, wall: Callable[[], int] = time.time_ns) -> None:
        """wall: the clock, ns since 1970, for names and people: it may be wrong, and jump. Raises OSError."""
        self.settings = given
        self.reload_requested = False  # the daemon has reloaded its configuration
        self.recording: Recording | None = None
        self.path: Path | None = None  # of the newest recording
        self._wall = wall
        self._wall_offset = 0
        self._series = Series(given.state_dir / "recordings", given.node, RECORDINGS)
        self._clips: EventClips | None = None
        if given.clips.rules:
            self._clips = EventClips(given.clips, given.state_dir / "events", given.node, given.header)
        self._unclipped: list[ClipMessage] = []
        self._parts: dict[str, list[Record]] = {}  # readings that go on in the next slot
        self._losses: dict[str, tuple[int, int]] = {}  # of each lane, when they were noted last
        self._in_force: dict[str, list[Any]] = {}  # the newest decision of each actuator
        self._lost = 0
        before = progress.read(given.run_dir)
        self._continue(before)
        self.readers = {lane: self._reader(lane, before.lanes) for lane in given.lanes}

    def _reader(self, lane: str, positions: dict[str, Position]) -> LaneReader:
        return LaneReader(self.settings.run_dir, lane, positions.get(lane, Position()))

    def _continue(self, before: Progress) -> None:
        """As the recorder before this one left it; what it wrote after its last positions is recorded again."""
        if before.session == self.settings.session:
            self._in_force, self._lost = dict(before.in_force), before.lost
            if self._clips:
                self._clips.resume(*before.clip)
        for path in self._series.paths():
            if path.name == before.file and path.stat().st_size > before.size and not is_open(path):
                os.truncate(path, before.size)

    def clean(self) -> None:
        """Files that others can read, or that a recorder before this one left plain or unfinished."""
        private.make_folder(self._series.folder)
        self._series.clean()
        given = self.settings
        clips = self._clips or EventClips(given.clips, given.state_dir / "events", given.node, given.header)
        clips.clean()
        if given.clips.seal:
            strip.start(self._series, clips.series)

    def run(self, stop: StopSignal) -> None:
        """Until asked to stop; then once more, for what is left on the tapes. Raises OSError."""
        checked = 0.0
        self.rotate()
        while not stop.wait(POLL_S):
            if self.reload_requested:
                self.reload_requested = False
                self._reload()
            due = time.monotonic() - checked > CHECK_S
            if due:
                checked = time.monotonic()
                if self.find_tapes():
                    self.checkpoint()
                    self._begin()
            self.read_tapes()
            if due or (self.recording and self.recording.unflushed > CHUNK):
                self.checkpoint()
                self.rotate()
        self.finish()

    def finish(self) -> None:
        """Record the rest. No lane runs any more; another tape than those known is the next daemon's."""
        self.find_tapes(stopping=True)
        for lane, reader in self.readers.items():
            self._add_all(lane, reader.read_rest())
        self.checkpoint()
        if self.recording:
            self.recording.close()
            self.recording = None
            self.save_progress()

    def _reload(self) -> None:
        """From now on samples belong to the configuration as it is now, and into another file."""
        try:
            given = settings.read(self.settings.run_dir)
        except (OSError, ValueError) as error:
            log.warning("recording continues under the previous configuration: %s", error)
            return
        for _ in range(2):  # what was done under the previous one
            self.read_tapes()
        self.find_tapes()
        for lane in self.readers.keys() - set(given.lanes):
            self._add_all(lane, self.readers[lane].read_rest())
            self.readers.pop(lane).remove()
        self.checkpoint()
        self.settings = given
        self.readers.update({lane: self._reader(lane, {}) for lane in given.lanes if lane not in self.readers})
        if self._clips:
            self._clips.header = given.header
        self._begin()
        self.find_tapes()

    def find_tapes(self, stopping: bool = False) -> bool:
        """Open new tapes. True where a lane was started again, by a worker that has forgotten what was before."""
        # Of lanes in the configuration only: a replay could not know others.
        before = {lane: reader.samples for lane, reader in self.readers.items()}
        for lane, reader in self.readers.items():
            self._add_all(lane, reader.find(stopping))
        return any(before[lane] and reader.samples is not before[lane] for lane, reader in self.readers.items())

    def read_tapes(self) -> None:
        """Record what is new on every tape."""
        for lane, reader in self.readers.items():
            self._add_all(lane, reader.read())
        self._feed_clips()

    def _feed_clips(self) -> None:
        """In the order of time: tapes are read one after the other, seconds of each where this process was away."""
        if self._clips:
            for message in sorted(self._unclipped, key=lambda each: int(each.message["t_capture"])):
                self._clips.add(message)
        self._unclipped.clear()

    def checkpoint(self) -> None:
        """What was read is in the file, and how far that is beside it: at most the time between the two is at risk."""
        self._feed_clips()
        if self.recording:
            for lane, reader in self.readers.items():
                self._record_losses(lane, reader)
            self.recording.flush()
            self.save_progress()

    def _record_losses(self, lane: str, reader: LaneReader) -> None:
        samples, decisions = (now - before for now, before in zip(reader.lost, self._losses.get(lane, (0, 0))))
        self._losses[lane] = reader.lost
        if self.recording and (samples or decisions):
            self._lost += samples
            self.recording.add_metadata("lost", {"lane": lane, "samples": str(samples), "decisions": str(decisions)})
            also = f" and {counted(decisions, 'decision')}" if decisions else ", no decision"
            reason = "the recorder was away or too slow"
            log.warning("lane %s: not recorded: %s%s: %s", lane, counted(samples, "sample"), also, reason)

    def save_progress(self) -> None:
        """Where the process continues that is started when this one has died. Raises OSError."""
        size = self.recording.size if self.recording else self.path.stat().st_size if self.path else 0
        positions = {lane: reader.position(len(self._parts.get(lane, ()))) for lane, reader in self.readers.items()}
        reached = Progress(
            file=self.path.name if self.path else "",
            size=size,
            session=self.settings.session,
            lanes=positions,
            in_force=self._in_force,
            lost=self._lost,
            clip=(self._clips.rule, self._clips.until) if self._clips else ("", 0),
        )
        progress.write(self.settings.run_dir, reached)

    def rotate(self) -> None:
        """Start a new file when there is none or this one is full; delete the oldest."""
        if not self.recording or self.recording.size >= self.settings.file_mb * 1e6:
            self._begin()

    def _begin(self) -> None:
        if self.recording:
            self.recording.close()
        wall = self._wall()
        self._wall_offset = wall - time.monotonic_ns()
        self.path, file = self._series.begin(wall, f".{wall // 1_000_000 % 1000:03d}.mcap")
        state = {"in_force": json.dumps(self._in_force), "lost_before": str(self._lost)}
        self.recording = Recording(file, {**self.settings.header, **state})
        self.save_progress()
        self._series.prune(self.settings.files)

    def _add_all(self, lane: str, records: Iterable[Record]) -> None:
        for record in records:
            self._add(lane, self.readers[lane].header, record)

    def _add(self, lane: str, tape: TapeHeader, record: Record) -> None:
        parts = self._parts.setdefault(lane, [])
        if parts and parts[-1].slot + 1 != record.slot and not record.flags & LOST:
            parts.clear()  # the rest of that sample was lost
        if record.flags & MORE:
            parts.append(record)
            return
        body = record.body
        if not record.flags & LOST:
            body = b"".join([*(part.body for part in parts), body])
            parts.clear()
        for decision in record.decisions:
            self._in_force[decision[2]] = decision
        message, time_ns = make_message(tape, record, body), max(0, record.t_capture + self._wall_offset)
        if self.recording:
            without_pictures = message.get("inputs") and self.settings.pictures is not True
            self.recording.add(tape, {**message, "inputs": []} if without_pictures else message, time_ns)
        if self._clips:
            self._unclipped.append(ClipMessage(tape, message, time_ns, 1000 + 2 * len(body)))


def main() -> None:
    """The recorder's process, which the daemon starts: `python -m agent.recorder.recorder CONFIG RUN_DIR`."""
    _config, run_dir = map(Path, sys.argv[1:])  # whose lanes are recorded: shown by ps, not read
    logging.basicConfig(format="%(message)s")
    stop = finishing.prepare(process.SHUTDOWN_S)
    try:
        process.wait_for_others(run_dir, stop)
        recorder = Recorder(settings.read(run_dir))
        finishing.on_reload(lambda: setattr(recorder, "reload_requested", True))
        recorder.clean()
        recorder.run(stop)
    except OSError as error:
        sys.exit(f"recorder: {error.filename or 'recordings'}: {error.strerror or error}")
    except ValueError as error:
        sys.exit(f"recorder: {error}")


if __name__ == "__main__":
    main()
