"""The flight recorder: lanes' tapes into MCAP files of bounded size and number, by a process beside the daemon.

A file holds one topic a lane with JSON messages (schema inside, so Foxglove opens it) and, as metadata, the configuration
and the models' checksums: `reflexd replay FILE` needs nothing else.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from agent import package
from agent.box import realtime
from agent.box.signals import StopSignal, StopSignals
from agent.config.load import load_config
from agent.config.models import Config
from agent.errors import ConfigError, PackageError
from agent.recorder import redact
from agent.recorder.events import Clips, prune
from agent.recorder.recording import Recording
from agent.tape import DISCONTINUITY, INFERRED, MORE, REFINE_SKIPPED, REFINED, Reader, Record, TapeHeader, nbytes

log = logging.getLogger("reflexd.record")
LOOK_S = 0.05  # so often the tapes are read
LEAVING_S = 120  # a disk that takes no more holds up nobody's end
NEWS_S = 1.0  # so often new lanes are looked for, and the file's size
KEPT = {
    "evidence": ["label", "score", "box", "mark"],
    "decisions": ["number", "rule", "actuator", "verb", "dropped", "explanation"],
}


class Recorder:
    """All tapes of a run_dir into files of one folder."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config = config
        self.path = path
        self.folder = config.state_dir / "recordings"
        self.facts = _about(config, path)
        self.stale = False  # the daemon has taken over another configuration
        self.readers: dict[str, Reader] = {}
        self.parts: dict[str, list[bytes]] = {}  # readings that go on in the next slot
        self.in_force: dict[str, list[Any]] = {}  # the newest decision of each actuator
        self.recording: Recording | None = None
        events = config.recorder.events
        self.clips = Clips(events, config.state_dir / "events", config.node, self.facts) if events.rules else None
        self.lost = 0
        self.places = config.run_dir / "recorder.json"
        self.before = places(self.places)
        self.offset = time.time_ns() - time.monotonic_ns()

    def run(self, leave: StopSignal) -> None:
        """Until told to stop; then once more, for what is still there."""
        checked = 0.0
        while True:
            ending = leave.wait(LOOK_S)
            if self.stale:
                self.stale = False
                self.adopt()
            if time.monotonic() - checked > NEWS_S or ending:
                checked = time.monotonic()
                self.find_tapes(ending)
                self.turn_over()
                self.save_places()
            for _ in range(2 if ending else 1):  # the second look takes what had just come at the first
                self.look()
            if ending:
                break
        if self.recording:
            self.recording.close()

    def adopt(self) -> None:
        """What comes belongs to the configuration as it is now, and into a file of its own."""
        try:
            config = load_config(self.path)
            facts = _about(config, self.path)
        except (ConfigError, PackageError) as error:
            log.warning("recordings go on under the configuration before: %s", error)  # it was edited again just now
            return
        for _ in range(2):  # what was done under the one before
            self.look()
        for lane in self.readers.keys() - config.lanes.keys():
            self.readers.pop(lane).close()
        self.config, self.facts = config, facts
        if self.clips:
            self.clips.about = facts
        if self.recording:
            self.recording.close()
            self.recording = None
        self.find_tapes()
        self.turn_over()

    def find_tapes(self, ending: bool = False) -> None:
        """Of lanes that the recording's configuration knows: what an earlier daemon called otherwise cannot be replayed."""
        for path in self.config.run_dir.glob("*.tape"):
            lane = path.stem
            if lane not in self.config.lanes:
                continue
            try:
                reader = Reader(path)
            except (OSError, ValueError):
                continue  # being made, or of another version
            old = self.readers.get(lane)
            if old and (
                ending or old.started == reader.started
            ):  # at the end, another one is the next daemon's already
                reader.close()
                continue
            if old:  # the lane began anew: first the rest of what it did before
                self._look_at(lane, old)
                self._look_at(lane, old)
            begun, number = self.before.pop(lane, (0, 0))
            if begun == reader.started:
                reader.next = number
            self.readers[lane] = reader

    def save_places(self) -> None:
        """How far each tape is recorded, for the process that goes on when this one has died."""
        told = {lane: (reader.started, reader.next) for lane, reader in self.readers.items()}
        fresh = self.places.with_suffix(".new")
        fresh.write_text(json.dumps(told), encoding="utf-8")
        fresh.replace(self.places)

    def turn_over(self) -> None:
        """A new file when there is none or this one is full; the oldest go."""
        if self.recording and self.recording.size() < self.config.recorder.file_mb * 1e6:
            return
        if self.recording:
            self.recording.close()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}"
        state = {"in_force": json.dumps(self.in_force), "lost_before": str(self.lost)}
        self.recording = Recording(self.folder / f"{self.config.node}-{stamp}.mcap", {**self.facts, **state})
        prune(self.folder, self.config.node, self.config.recorder.files)

    def look(self) -> None:
        for lane, reader in self.readers.items():
            self._look_at(lane, reader)

    def _look_at(self, lane: str, reader: Reader) -> None:
        before = reader.lost
        for record in reader.read():
            self.take(lane, reader.header, record)
        if reader.lost > before and self.recording:
            self.lost += reader.lost - before
            self.recording.note("lost", {"lane": lane, "samples": str(reader.lost - before)})
            log.warning("lane %s: %d samples were not recorded: the recorder is too slow", lane, reader.lost - before)

    def take(self, lane: str, facts: TapeHeader, record: Record) -> None:
        if record.flags & MORE:
            self.parts.setdefault(lane, []).append(record.body)
            return
        body = b"".join([*self.parts.pop(lane, []), record.body])
        for decision in record.decisions:
            self.in_force[decision[2]] = decision
        said, time_ns = _message(facts, record, body), record.t_capture + self.offset
        if self.recording:
            self.recording.add(facts, said, time_ns)
        if self.clips:
            self.clips.take(facts, said, time_ns, 1000 + 2 * len(body))


def places(path: Path) -> dict[str, tuple[int, int]]:
    """Of each lane: which tape, and the number of its next record. Nothing where no recorder ran before."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {lane: (int(started), int(number)) for lane, (started, number) in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _message(facts: TapeHeader, record: Record, body: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {
        "order": record.order,
        "sequence": record.sequence,
        "t_capture": record.t_capture,
        "skipped": record.skipped,
        "discontinuity": bool(record.flags & DISCONTINUITY),
        "inferred": bool(record.flags & INFERRED),
    }
    if facts.channels:
        told["readings"] = np.frombuffer(body, np.float32).reshape(-1, len(facts.channels)).tolist()
    else:
        told["frame"], told["region"] = list(record.frame), list(record.region)
        told["refined"], told["refine_skipped"] = bool(record.flags & REFINED), bool(record.flags & REFINE_SKIPPED)
        told["outputs"], rest = _tensors(facts.outputs, body)
        told["inputs"], _ = _tensors(facts.inputs, rest)
    for name, keys in KEPT.items():
        told[name] = [dict(zip(keys, one)) for one in getattr(record, name)]
    return told


def _tensors(kinds: list[tuple[str, list[int]]], body: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Each tensor as dtype, shape and base64; and what is left of the body."""
    found = []
    for kind in kinds:
        size = nbytes(kind)
        found.append({"dtype": kind[0], "shape": kind[1], "data": base64.b64encode(body[:size]).decode()})
        body = body[size:]
    return found, body


def _about(config: Config, path: Path) -> dict[str, str]:
    """What a replay must know: the configuration without passwords, where it lay, which models."""
    beside = path.resolve().parent
    sums = {
        model: package.read(package.find(model, beside)).sha256
        for lane in config.lanes.values()
        for model in lane.models
    }
    plain = json.dumps(redact.tree(config.model_dump(mode="json")))
    return {"config": plain, "path": str(path.resolve()), "models": json.dumps(sums), "version": version("reflexd")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    path = parser.parse_args().config
    os.nice(10)  # never ahead of a lane
    logging.basicConfig(format="%(message)s")
    leave = StopSignals(LEAVING_S)
    realtime.die_with_parent()
    try:
        recorder = Recorder(load_config(path), path)
        signal.signal(signal.SIGHUP, lambda *_: setattr(recorder, "stale", True))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # agent/box/child.py blocked it
        recorder.run(leave)
    except OSError as error:
        sys.exit(f"recorder: {error.filename or 'recordings'}: {error.strerror}")
    except (ConfigError, PackageError) as error:
        sys.exit(f"recorder: {error}")


if __name__ == "__main__":
    main()
