"""The flight recorder: lanes' tapes into MCAP files of bounded size and number, by a process beside the daemon.

A file holds a topic per lane with JSON messages (schema inside, so Foxglove opens it) and, as metadata, the
configuration and the models' checksums: `reflexd replay FILE` needs nothing else.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent import package, redact
from agent.box import realtime
from agent.box.signals import StopSignal, StopSignals
from agent.config.load import load_config
from agent.config.models import Config
from agent.errors import ConfigError, PackageError
from agent.recorder.events import EventClips, prune
from agent.recorder.messages import make_message
from agent.recorder.recording import Recording
from agent.recorder.tape_reader import Record, TapeReader
from agent.tape import MORE, TapeHeader

log = logging.getLogger("reflexd.record")
POLL_S = 0.05  # how often the tapes are read
CHECK_S = 1.0  # how often new tapes and the file's size are checked
SHUTDOWN_S = 120  # a disk that accepts nothing more must not delay the shutdown beyond this


class Recorder:
    """All tapes of a run_dir into files of one folder."""

    def __init__(self, config: Config, path: Path) -> None:
        """path: of the configuration."""
        self.config = config
        self.path = path
        self.reload_requested = False  # the daemon has reloaded its configuration
        self.readers: dict[str, TapeReader] = {}
        self.recording: Recording | None = None
        self._folder = config.state_dir / "recordings"
        self._header = _header(config, path)
        self._parts: dict[str, list[bytes]] = {}  # readings that go on in the next slot
        self._in_force: dict[str, list[Any]] = {}  # the newest decision of each actuator
        events = config.recorder.events
        self._clips: EventClips | None = None
        if events.rules:
            self._clips = EventClips(events, config.state_dir / "events", config.node, self._header)
        self._lost = 0
        self._positions_path = config.run_dir / "recorder.json"
        self._old_positions = read_positions(self._positions_path)
        self._wall_offset = time.time_ns() - time.monotonic_ns()

    def run(self, stop: StopSignal) -> None:
        """Until asked to stop; then once more, for what is left on the tapes."""
        checked = 0.0
        while True:
            stopping = stop.wait(POLL_S)
            if self.reload_requested:
                self.reload_requested = False
                self._reload()
            if time.monotonic() - checked > CHECK_S or stopping:
                checked = time.monotonic()
                self.find_tapes(stopping)
                self.rotate()
                self.save_positions()
            for _ in range(2 if stopping else 1):  # the second read gets what was not settled at the first
                self.read_tapes()
            if stopping:
                break
        if self.recording:
            self.recording.close()

    def _reload(self) -> None:
        """From now on samples belong to the configuration as it is now, and into another file."""
        try:
            config = load_config(self.path)
            header = _header(config, self.path)
        except (ConfigError, PackageError) as error:  # it was edited again since
            log.warning("configuration rejected, recording continues with the previous one: %s", error)
            return
        for _ in range(2):  # what was done under the previous one
            self.read_tapes()
        for lane in self.readers.keys() - config.lanes.keys():
            self.readers.pop(lane).close()
        self.config, self._header = config, header
        if self._clips:
            self._clips.header = header
        if self.recording:
            self.recording.close()
            self.recording = None
        self.find_tapes()
        self.rotate()

    def find_tapes(self, stopping: bool = False) -> None:
        """Open new tapes, of lanes in the configuration only: a replay could not know others."""
        for path in self.config.run_dir.glob("*.tape"):
            lane = path.stem
            if lane not in self.config.lanes:
                continue
            try:
                reader = TapeReader(path)
            except (OSError, ValueError):
                continue  # being made, or of another version
            old = self.readers.get(lane)
            if old and (stopping or old.started == reader.started):  # while stopping, another tape is the next daemon's
                reader.close()
                continue
            if old:  # the lane was started again: first the rest of its old tape
                self._read_tape(lane, old)
                self._read_tape(lane, old)
            started, number = self._old_positions.pop(lane, (0, 0))
            if started == reader.started:
                reader.next = number
            self.readers[lane] = reader

    def save_positions(self) -> None:
        """How far each tape is recorded, for the process that continues when this one has died."""
        positions = {lane: (reader.started, reader.next) for lane, reader in self.readers.items()}
        new = self._positions_path.with_suffix(".new")
        new.write_text(json.dumps(positions), encoding="utf-8")
        new.replace(self._positions_path)

    def rotate(self) -> None:
        """Start a new file when there is none or this one is full; delete the oldest."""
        if self.recording and self.recording.size() < self.config.recorder.file_mb * 1e6:
            return
        if self.recording:
            self.recording.close()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}"
        state = {"in_force": json.dumps(self._in_force), "lost_before": str(self._lost)}
        self.recording = Recording(self._folder / f"{self.config.node}-{stamp}.mcap", {**self._header, **state})
        prune(self._folder, self.config.node, self.config.recorder.files)

    def read_tapes(self) -> None:
        """Record what is new on every tape."""
        for lane, reader in self.readers.items():
            self._read_tape(lane, reader)

    def _read_tape(self, lane: str, reader: TapeReader) -> None:
        lost_before = reader.lost
        for record in reader.read():
            self._add(lane, reader.header, record)
        lost = reader.lost - lost_before
        if lost and self.recording:
            self._lost += lost
            self.recording.note("lost", {"lane": lane, "samples": str(lost)})
            log.warning("lane %s: %d samples were not recorded: the recorder is too slow", lane, lost)

    def _add(self, lane: str, tape: TapeHeader, record: Record) -> None:
        if record.flags & MORE:
            self._parts.setdefault(lane, []).append(record.body)
            return
        body = b"".join([*self._parts.pop(lane, []), record.body])
        for decision in record.decisions:
            self._in_force[decision[2]] = decision
        message, time_ns = make_message(tape, record, body), record.t_capture + self._wall_offset
        if self.recording:
            self.recording.add(tape, message, time_ns)
        if self._clips:
            self._clips.add(tape, message, time_ns, 1000 + 2 * len(body))


def read_positions(path: Path) -> dict[str, tuple[int, int]]:
    """Of each lane: which tape, and the number of its next record. Empty where no recorder ran before."""
    try:
        positions = json.loads(path.read_text(encoding="utf-8"))
        return {lane: (int(started), int(number)) for lane, (started, number) in positions.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _header(config: Config, path: Path) -> dict[str, str]:
    """What a replay needs: the configuration without passwords, its path, the models' checksums, our version."""
    beside = path.resolve().parent
    checksums = {
        model: package.read(package.find(model, beside)).checksum
        for lane in config.lanes.values()
        for model in lane.models
    }
    redacted = json.dumps(redact.tree(config.model_dump(mode="json")))
    return {
        "config": redacted,
        "path": str(path.resolve()),
        "models": json.dumps(checksums),
        "version": version("reflexd"),
    }


def main() -> None:
    """The recorder's process, which the daemon starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    path = parser.parse_args().config
    os.nice(10)  # never ahead of a lane
    target = logging.StreamHandler()
    target.setFormatter(redact.MaskedFormatter("%(message)s"))
    logging.basicConfig(handlers=[target])
    stop = StopSignals(SHUTDOWN_S)
    realtime.die_with_parent()
    try:
        recorder = Recorder(load_config(path), path)
        signal.signal(signal.SIGHUP, lambda *_: setattr(recorder, "reload_requested", True))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # agent/box/child.py blocked it
        recorder.run(stop)
    except OSError as error:
        sys.exit(f"recorder: {error.filename or 'recordings'}: {error.strerror}")
    except (ConfigError, PackageError) as error:
        sys.exit(redact.message(f"recorder: {error}"))


if __name__ == "__main__":
    main()
