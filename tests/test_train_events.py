"""Events inside a recording: which windows have their label, and what is no list of events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.train.data import DataError
from models.train.folder import events, files, readings, recordings
from models.train.folder.events import UNCLEAR, Event, row_labels, window_labels
from models.train.folder.files import File
from models.train.folder.options import Marks, WindowOptions
from tests.training_data import timed, write_falls

NUMBERS = {"walk": 0, "fall": 1, "trip": 2}
SIX = np.zeros((6, 1))


def test_a_window_has_the_label_of_an_event_that_it_holds_half_of() -> None:
    rows = np.array([0] * 10 + [1] * 6 + [0] * 10)
    labels, event = window_labels(rows, 0, 4)
    # windows begin at 0 to 22; two rows of the event are half of a window
    assert labels.tolist() == [0] * 7 + [UNCLEAR] + [1] * 7 + [UNCLEAR] + [0] * 7
    assert event.tolist() == [0] * 8 + [1] * 7 + [0] * 8


def test_a_short_event_counts_from_its_own_half_on_and_of_two_the_later() -> None:
    rows = np.array([0] * 8 + [1, 1] + [2, 2] + [0] * 8)
    labels, event = window_labels(rows, 0, 6)
    assert labels.tolist() == [0, 0, 0, 1, 1] + [2] * 7 + [0] * 3
    assert event.tolist() == [0, 0, 0, 1, 1] + [2] * 7 + [0] * 3


def test_seconds_are_those_of_the_recordings_own_column() -> None:
    labels = row_labels([Event(100.2, 100.4, 1)], 100 + np.arange(8) / 10, 0)
    assert labels.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def sidecar(tmp_path: Path, text: str) -> recordings.Recording:
    path = timed(tmp_path / "a.csv", SIX, 2.0)
    path.with_suffix(".events.csv").write_text(text)
    return recordings.read(File(path, 0), Marks(), NUMBERS)


def test_events_beside_a_recording(tmp_path: Path) -> None:
    text = "start_s,end_s,label\n2.0, 2.5 ,trip\n\n0.5,1.5,fall\n"
    assert sidecar(tmp_path, text).labels.tolist() == [0, 1, 1, 0, 2, 0]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ":1: expected the line start_s,end_s,label"),
        ("start,end,label\n0,1,fall\n", ":1: expected the line start_s,end_s,label"),
        ("start_s,end_s,label\n0,1\n", ":2: expected two numbers and a label"),
        ("start_s,end_s,label\n0,x,fall\n", ":2: expected two numbers and a label, found '0,x,fall'"),
        ("start_s,end_s,label\n0,nan,fall\n", ":2: start_s 0 is not before end_s nan"),
        ("start_s,end_s,label\n1,1,fall\n", ":2: start_s 1 is not before end_s 1"),
        ("start_s,end_s,label\n0,1,faII\n", ":2: unknown label 'faII'; known are walk, fall, trip"),
        ("start_s,end_s,label\n0,1,fall\n0.9,2,trip\n", ":3: overlaps the event of line 2"),
        ("start_s,end_s,label\n1,2,trip\n0,1.5,fall\n", ":2: overlaps the event of line 3"),
        ("start_s,end_s,label\n3,4,fall\n", ":2: starts at 3 s, and the recording ends at 3 s"),
        ("start_s,end_s,label\n" + "0,1,fall\n" * 1000, ": 1,000 events; at most 999 are read"),
        ("\0", ""),
    ],
)
def test_what_is_no_list_of_events_is_one_message(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as error:
        sidecar(tmp_path, text)
    assert f"a.events.csv{words}" in str(error.value) and "\n" not in str(error.value)


def test_events_need_a_clock_and_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "walk" / "a.csv"
    path.parent.mkdir()
    path.write_text("x\n1\n2\n3\n")
    path.with_suffix(".events.csv").write_text("start_s,end_s,label\n1,2,fall\n")
    with pytest.raises(DataError, match="a.csv no column t_s: give --recorded-hz or --rate-hz"):
        recordings.read(File(path, 0), Marks(), NUMBERS)
    assert recordings.read(File(path, 0), Marks(), NUMBERS, 1.0).labels.tolist() == [0, 1, 0]
    path.unlink()
    with pytest.raises(DataError, match="a.events.csv: events of a recording a.csv that is not there"):
        files.usable(path.parent, (".csv",))


def test_a_column_of_labels_marks_events(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,what,y\n1,,5\n2,fall,6\n3, fall ,7\n4,,8\n")
    recording = recordings.read(File(tmp_path / "a.csv", 0), Marks(label_column="what"), NUMBERS)
    assert recording.channels == ("x", "y") and recording.labels.tolist() == [0, 1, 1, 0]
    (tmp_path / "a.csv").write_text("x,what\n1,\n2,fell\n")
    with pytest.raises(DataError, match="a.csv:3: unknown label 'fell'"):
        recordings.read(File(tmp_path / "a.csv", 0), Marks(label_column="what"), NUMBERS)
    (tmp_path / "a.csv").write_text("x,what\n1,\n2,fall\n")
    (tmp_path / "a.events.csv").write_text("start_s,end_s,label\n0,1,fall\n")
    with pytest.raises(DataError, match="the column 'what' of a.csv has labels, too: keep one"):
        recordings.read(File(tmp_path / "a.csv", 0), Marks(label_column="what"), NUMBERS, 1.0)
    with pytest.raises(DataError, match="--label-column why: no file has this column"):
        (tmp_path / "a.csv").write_text("x,y\n1,2\n")
        readings.read_all([File(tmp_path / "a.csv", 0)], ["walk", "fall", "trip"], Marks(label_column="why"), 1.0)


def test_windows_of_a_folder_with_events(tmp_path: Path) -> None:
    pytest.importorskip("tqdm", reason="tqdm is not installed: pip install 'reflexd[train]'")
    labels, listed = files.list_files(write_falls(tmp_path / "data"), readings.SUFFIXES, 7, ["fall"])
    assert labels == ["walk", "fall"] and len(listed) == 12
    loaded = readings.load(listed, labels, None, Marks(events=("fall",)), WindowOptions(length=20))
    examples = loaded.examples
    assert examples.inputs.shape[1:] == (20, 2) and loaded.rate_hz == 100.0
    assert sum(file.test for file in loaded.files) == 3  # whole files, with their events
    middle = examples.inputs[:, :, 0].mean(axis=1)
    # the fall is 2 higher; a window of it holds half of it or more
    assert middle[examples.labels == 0].max() < -0.8 and middle[examples.labels == 1].min() > -0.2
    for number in range(12):
        mine = examples.part(examples.files == number)
        assert mine.units[mine.labels == 0].tolist() == [number * events.MAX_EVENTS] * int((mine.labels == 0).sum())
        assert set(mine.units[mine.labels == 1]) == {number * events.MAX_EVENTS + 1}
        assert len(set(mine.test)) == 1
    with pytest.raises(DataError, match="label 'trip': no file and no event has it"):
        readings.load(listed, [*labels, "trip"], None, Marks(events=("fall", "trip")), WindowOptions())


@pytest.mark.parametrize(
    "names, words", [(["walk"], "--events walk: there is a sub-folder"), (["a", "a"], "--events a: .* named twice")]
)
def test_a_label_has_one_home(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        files.list_files(write_falls(tmp_path / "data"), readings.SUFFIXES, 7, names)
