"""What a lane is measured on: the recording that is given, its own source, or what the recorder kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from agent import redact
from agent.config.models import Config, Device, LaneConfig
from agent.errors import DataError
from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.recorder.series import RECORDINGS, Series
from agent.tune import footage
from agent.tune.footage import Footage
from drivers import base as drivers

RECORDER = ".mcap"
NEWEST = 2  # files of the recorder that are read: the last one may just have begun
LAYOUT = "LANE.mp4 (or .csv, .wav), a folder LANE of pictures, or recordings of the recorder (*.mcap)"
ByLane = dict[str, tuple[str, list[dict[str, Any]]]]  # name of the file, messages
# By the end of a file's name; a video has many.
DRIVERS = {".csv": "sensor.replay", ".wav": "audio.file"}
KINDS = {"camera": drivers.Camera, "sensor": drivers.SensorStream, "audio": drivers.Microphone}


class Recordings:
    """Finds each lane's footage."""

    def __init__(self, config: Config, given: Path | None, seconds: float) -> None:
        """given: a file or folder that is used in place of the lanes' sources. Raises DataError."""
        self._config = config
        self._given = given
        self._seconds = seconds
        self._used = False  # what was given
        if given and not given.exists():
            raise DataError(f"{given}: no such recording: --recording names a file, or a folder with {LAYOUT}")
        self._messages = _of_recorder(_given_files(given)) if given else {}
        self._of_files = _named(given, list(config.lanes)) if given else {}

    def find(self, lane: str, network: tuple[int, int] | None, only: bool) -> Footage:
        """network: as in `footage.of_source`. only: no other lane is measured, so one file is this lane's.

        Raises DataError.
        """
        section = self._config.lanes[lane]
        if self._given:
            given = self._of_given(lane, section, network, only)
            if given:
                self._used = True
                return given
        if not self._given and not is_recorded(section):
            kept = self._of_messages(lane, self._kept)
            if kept:
                return kept
        return footage.of_source(lane, section, self._seconds, network)

    @cached_property
    def _kept(self) -> ByLane:
        return _kept(self._config)

    def _of_given(self, lane: str, section: LaneConfig, network: tuple[int, int] | None, only: bool) -> Footage | None:
        assert self._given
        path = self._of_files.get(lane) or (self._given if only and _plays(self._given, section) else None)
        if path:
            return footage.of_source(lane, _with_source(section, path), self._seconds, network)
        if lane in self._messages:
            kept = self._of_messages(lane, self._messages)
            if kept is None and only:
                text = f"the recorder keeps of lane {lane} what its models answered, and no pictures or sound"
                raise DataError(f"{self._given}: {text}: give a clip of its camera with --recording")
            return kept
        if only:
            raise DataError(f"{self._given}: no recording of lane {lane} in it: expected {LAYOUT}")
        return None

    def _of_messages(self, lane: str, messages: ByLane) -> Footage | None:
        name, rows = messages.get(lane, ("", []))
        return footage.of_messages(lane, name, rows, self._seconds)

    def check_used(self, lanes: Iterable[str]) -> None:
        """Raises DataError where what was given is of none of the lanes that were searched."""
        if self._given and not self._used:
            names = ", ".join(lanes)
            raise DataError(f"{self._given}: a recording of none of the lanes {names}: expected {LAYOUT}, or --lane")


def is_recorded(section: LaneConfig) -> bool:
    """Its source is a recording: only these have the option to loop."""
    return "loop" in drivers.load(section.source.driver).Options.model_fields


def _given_files(path: Path) -> list[Path]:
    """The recorder's files, oldest first."""
    if path.is_dir():
        return sorted(path.glob(f"*{RECORDER}"), key=lambda file: file.stat().st_mtime)[-NEWEST:]
    return [path] if path.suffix == RECORDER else []


def _of_recorder(files: list[Path]) -> ByLane:
    """By lane the name of the file that holds most of its samples, and these. Raises DataError."""
    lanes: ByLane = {}
    for path in files:
        try:
            _add(lanes, path, read(path))
        except RecordingError as error:
            raise DataError(str(error)) from error
    if files and not lanes:
        raise DataError(f"{files[-1]}: no sample is in it: there is nothing to measure on")
    return lanes


def _kept(config: Config) -> ByLane:
    """The same of this node's newest recordings, of lanes that have the source which they had then."""
    lanes: ByLane = {}
    for path in Series(config.state_dir / "recordings", config.node, RECORDINGS).paths()[-NEWEST:]:
        try:
            contents = read(path)
            recorded = json.loads(contents.header["config"])["lanes"]
            same = {lane for lane, section in config.lanes.items() if _source(section) == recorded[lane]["source"]}
        except (RecordingError, ValueError, LookupError, TypeError):
            continue  # another configuration's, or damaged: there is the device
        _add(lanes, path, contents._replace(messages=[entry for entry in contents.messages if entry[0] in same]))
    return lanes


def _source(section: LaneConfig) -> object:
    """As the recorder writes it."""
    return redact.tree(section.source.model_dump(mode="json"))


def _add(lanes: ByLane, path: Path, contents: RecordingContents) -> None:
    by_lane: dict[str, list[dict[str, Any]]] = {}
    for lane, message in contents.messages:
        by_lane.setdefault(lane, []).append(message)
    for lane, messages in by_lane.items():
        if len(messages) >= len(lanes.get(lane, ("", []))[1]):
            lanes[lane] = path.name, messages


def _named(folder: Path, lanes: list[str]) -> dict[str, Path]:
    """Files and folders with the name of a lane."""
    if not folder.is_dir():
        return {}
    entries = sorted(path for path in folder.iterdir() if path.suffix != RECORDER)
    names = {path.name if path.is_dir() else path.stem: path for path in entries}
    return {lane: names[lane] for lane in lanes if lane in names}


def _driver(path: Path) -> str:
    return "camera.replay" if path.is_dir() else DRIVERS.get(path.suffix.lower(), "camera.file")


def _plays(path: Path, section: LaneConfig) -> bool:
    """The file is of the kind that this lane reads."""
    if path.suffix == RECORDER or (path.is_dir() and any(path.glob(f"*{RECORDER}"))):
        return False
    kind = KINDS[_driver(path).partition(".")[0]]
    made = drivers.load(section.source.driver).Driver
    return issubclass(made, kind) or (kind is drivers.SensorStream and issubclass(made, drivers.Sensor))


def _with_source(section: LaneConfig, path: Path) -> LaneConfig:
    key = "folder" if path.is_dir() else "path"
    rate = {"rate_hz": section.source.options["rate_hz"]} if "rate_hz" in section.source.options else {}
    options = {key: path.resolve(), **(rate if _driver(path) == "sensor.replay" else {})}
    return section.model_copy(update={"source": Device.model_validate({"driver": _driver(path), **options})})
