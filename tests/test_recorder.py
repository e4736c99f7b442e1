"""The flight recorder: from lanes' tapes to files of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.build import make_lane
from agent.config.models import Config
from agent.data import Evidence, Sample
from agent.packages import package
from agent.packages.loaded import loaded
from agent.recorder import progress, settings
from agent.recorder.progress import Progress
from agent.recorder.recorder import Recorder
from agent.recorder.recording import RecordingError, read
from agent.tapes import format as tape_format
from agent.tapes.tape import Tape
from tests.processes import Cell
from tests.recordings import CHANNELS, arm_cell, arm_engine, files, sample


@pytest.fixture(scope="module")
def engine() -> Any:
    return arm_engine()


@pytest.fixture
def recorder(tmp_path: Path, engine: Any) -> Iterator[tuple[Recorder, Tape]]:
    lanes = {"arm": {"source": {"driver": "camera.rtsp", "url": "rtsp://u:secret@cam/1"}, "model": "arm-deviation"}}
    config = Config.model_validate(
        {
            "node": "box-1",
            "run_dir": str(tmp_path),
            "state_dir": str(tmp_path),
            "lanes": lanes,
            "recorder": {"file_mb": 0.1, "files": 3},
        }
    )
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    models = {"arm": [loaded(package.open_package(package.find("arm-deviation")))]}
    made = Recorder(settings.of_config(config, tmp_path / "reflexd.yaml", models, 1))
    made.rotate()
    made.find_tapes()
    yield made, written
    if made.recording:
        made.recording.close()


def test_files_are_bounded_in_size_and_number(tmp_path: Path, recorder: tuple[Recorder, Tape]) -> None:
    made, written = recorder
    random = np.random.default_rng(0)
    for number in range(60):
        for _ in range(100):
            written.write(
                Sample("arm", number, number, random.random((1, 12)).astype(np.float32)), number, False, None, []
            )
        made.read_tapes()
        made.checkpoint()
        made.rotate()
    made.finish()
    recordings = files(tmp_path)
    assert len(recordings) == 3
    assert all(path.stat().st_size < 600_000 for path in recordings)


def test_a_file_has_what_a_replay_needs_and_no_password(tmp_path: Path, recorder: tuple[Recorder, Tape]) -> None:
    made, written = recorder
    written.write(sample(1), 1, True, [Evidence("arm", "deviation", 0.75, 1000)], [])
    made.finish()
    raw = files(tmp_path)[0].read_bytes()
    assert b"secret" not in raw
    contents = read(files(tmp_path)[0])
    assert json.loads(contents.header["config"])["lanes"]["arm"]["source"]["url"] == "rtsp://***@cam/***"
    assert json.loads(contents.header["models"]).keys() == {"arm-deviation"}
    ((lane, message),) = contents.messages
    assert lane == "arm"
    assert message["readings"] == sample(1).payload.tolist()
    assert message["evidence"] == [{"label": "deviation", "score": 0.75, "box": None, "mark": ""}]
    assert message["channels"] == CHANNELS


def test_samples_that_were_not_recorded_are_counted(tmp_path: Path, recorder: tuple[Recorder, Tape]) -> None:
    made, written = recorder
    for number in range(tape_format.MANY + 10):
        written.write(sample(number), number, False, None, [])
    made.finish()
    assert read(files(tmp_path)[0]).lost == 11


def test_tapes_of_other_daemons_are_not_recorded(tmp_path: Path, engine: Any, recorder: tuple[Recorder, Tape]) -> None:
    """Of a lane that the configuration does not have; and the next daemon's, while the recorder stops."""
    made, written = recorder
    Tape(tmp_path / "yard.tape", "yard", [engine], CHANNELS, False, 5).write(sample(1), 1, False, None, [])
    written.write(sample(1), 1, False, None, [])
    made.find_tapes()
    Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 8).write(sample(2), 1, False, None, [])
    made.find_tapes(stopping=True)
    made.read_tapes(), made.read_tapes()
    assert {lane: reader.samples.started for lane, reader in made.readers.items() if reader.samples} == {"arm": 7}
    made.find_tapes()  # it continues: the lane was started again
    made.finish()
    contents = read(files(tmp_path)[0])
    assert [(lane, message["sequence"]) for lane, message in contents.messages] == [("arm", 1), ("arm", 2)]


def test_a_lane_leaves_no_tape_of_an_earlier_daemon(tmp_path: Path) -> None:
    """It would be recorded a second time until the source opens, which a missing camera may never do."""
    lanes = {"arm": {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}}
    config = Config.model_validate({"run_dir": str(tmp_path), "state_dir": str(tmp_path), "lanes": lanes})
    (tmp_path / "arm.tape").write_bytes(b"old")
    make_lane("arm", config, tmp_path, 0)
    assert not (tmp_path / "arm.tape").exists()


def test_the_rest_of_a_tape_is_recorded_before_the_next(
    tmp_path: Path, engine: Any, recorder: tuple[Recorder, Tape]
) -> None:
    made, written = recorder
    written.write(sample(1), 1, False, None, [])
    Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 8)
    made.find_tapes()
    made.finish()
    assert [message["sequence"] for _, message in read(files(tmp_path)[0]).messages] == [1]


def recorded_sequences(folder: Path) -> list[int]:
    return [message["sequence"] for path in files(folder) for _, message in read(path).messages]


@pytest.mark.parametrize("written_after", ["nothing", "a checkpoint's messages", "the end"])
@pytest.mark.slow
def test_a_recorder_continues_where_one_that_died_ended(
    tmp_path: Path, recorder: tuple[Recorder, Tape], written_after: str
) -> None:
    """Wherever it died, it neither records samples a second time nor loses or counts any."""
    made, written = recorder
    for number in range(5000):  # more than a tape holds
        written.write(sample(number, rows=20), number, False, None, [])
        if number % 100 == 0:
            made.read_tapes()
    made.checkpoint()
    for number in range(5000, 5100):
        written.write(sample(number), number, False, None, [])
    made.read_tapes(), made.read_tapes()
    assert made.recording
    if written_after == "a checkpoint's messages":
        made.recording.flush()
    elif written_after == "the end":
        made.recording.close()
    made.recording = None  # it is dead
    another = Recorder(made.settings)
    another.rotate()
    another.finish()
    assert recorded_sequences(tmp_path) == list(range(5100))
    assert [read(path).lost for path in files(tmp_path)] == [0, 0]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"arm": 3}', '{"lanes": ["x", 1]}', '{"lanes": {"arm": [7, "x"]}}'])
def test_damaged_progress_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / progress.NAME).write_text(text)
    assert progress.read(tmp_path) == Progress()


def test_a_recording_cut_or_changed_anywhere_is_read_as_far_as_it_goes(
    tmp_path: Path, recorder: tuple[Recorder, Tape]
) -> None:
    made, written = recorder
    for number in range(300):
        written.write(sample(number), number, False, [Evidence("arm", "deviation", 0.5, number)], [])
    made.finish()
    raw, random = files(tmp_path)[0].read_bytes(), np.random.default_rng(0)
    broken = tmp_path / "broken.mcap"
    for number in range(600):
        cut = bytearray(raw[: random.integers(len(raw))] if number % 2 else raw)
        for _ in range(random.integers(1, 4) if number % 3 == 0 and cut else 0):
            cut[random.integers(len(cut))] = random.integers(256)
        broken.write_bytes(cut)
        try:
            assert len(read(broken).messages) <= 300
        except RecordingError as error:
            assert "not a recording" in str(error)


# -- with real processes --------------------------------------------------------------------------------


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with arm_cell(tmp_path) as cell:
        yield cell


def test_a_full_disk_stops_the_recording_and_no_lane(cell: Cell) -> None:
    """A folder that is a file, for root may write anywhere."""
    (cell.folder / "state").write_text("in the way")
    _, daemon = cell.start_both()
    daemon.wait_for("recorder ended with 1 (the disk may be full)")
    cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 200)
    assert daemon.stop() == 0
