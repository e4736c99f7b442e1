"""Rate and window of a folder of readings: from t_s, from the user, and where they contradict each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.train.data import DataError
from models.train.folder import readings, recordings
from models.train.folder.files import File
from models.train.folder.options import Marks, WindowOptions
from models.train.folder.recordings import Recording
from tests.training_data import timed

VALUES = np.random.default_rng(0).normal(size=(200, 2))


def read(path: Path, recorded_hz: float = 0.0, assumed_hz: float = 0.0) -> Recording:
    return recordings.read(File(path, 0), Marks(recorded_hz=recorded_hz), {"a": 0}, assumed_hz)


def without_time(path: Path, rows: int = 100) -> Path:
    path.write_text("x,y\n" + "1,2\n" * rows)
    return path


def test_the_rate_is_that_of_the_column_of_time(tmp_path: Path) -> None:
    recording = read(timed(tmp_path / "a.csv", VALUES, 100.0, first_s=1.7e9))
    assert recording.rate_hz == pytest.approx(100.0, rel=1e-3) and recording.parts == [slice(0, 200)]
    assert read(without_time(tmp_path / "b.csv")).rate_hz == 0.0
    assert read(without_time(tmp_path / "b.csv"), assumed_hz=50.0).rate_hz == 50.0


def test_no_window_spans_a_gap(tmp_path: Path) -> None:
    path = timed(tmp_path / "a.csv", VALUES, 100.0)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:81] + lines[101:]))
    recording = read(path)
    assert recording.parts == [slice(0, 80), slice(80, 180)]
    cut = recordings.parts(recording, 50.0)
    alone = [recordings.parts(recording._replace(parts=[part]), 50.0)[0] for part in recording.parts]
    for part, expected in zip(cut, alone):
        assert part.rows.tolist() == expected.rows.tolist() and part.newest.max() < expected.place.stop


@pytest.mark.parametrize(
    "text, recorded_hz, words",
    [
        ("t_s,x\n0,1\n0,2\n0,3\n1,4\n", 0.0, "no rate in column t_s"),
        ("t_s,x\n0,1\n", 0.0, "no rate in column t_s"),
        ("t_s,x\n0,1\n0.01,2\n0.02,3\n", 50.0, "100 readings a second by its column t_s, but --recorded-hz 50"),
    ],
)
def test_a_rate_that_is_missing_or_contradicts_is_one_message(
    tmp_path: Path, text: str, recorded_hz: float, words: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=f"a.csv: {words}"):
        read(tmp_path / "a.csv", recorded_hz)


def test_files_of_several_rates_need_one_that_all_can_meet(tmp_path: Path) -> None:
    fast, slow = (read(timed(tmp_path / f"{rate}.csv", VALUES, rate)) for rate in (500.0, 100.0))
    with pytest.raises(DataError, match="100.0.csv: 100 readings a second, and .*500.0.csv has 500: give --rate-hz"):
        recordings.common_rate([fast, slow], 0.0)
    assert recordings.common_rate([fast, slow], 100.0) == 100.0
    with pytest.raises(DataError, match="100.0.csv: 100 readings a second; --rate-hz 250 needs as many or more"):
        recordings.common_rate([fast, slow], 250.0)
    with pytest.raises(DataError, match="b.csv: no column t_s, and .*500.0.csv has one: give --recorded-hz"):
        recordings.common_rate([fast, read(without_time(tmp_path / "b.csv"))], 0.0)
    assert recordings.common_rate([read(without_time(tmp_path / "b.csv"))], 0.0) == 0.0


def test_labels_are_as_late_as_what_the_filter_shows(tmp_path: Path) -> None:
    """A step in the readings and in the labels: in the model's readings both come together."""
    step = np.repeat([[-1.0, -1.0], [1.0, 1.0]], 500, axis=0)
    recording = read(timed(tmp_path / "a.csv", step, 1000.0))
    recording = recording._replace(labels=np.repeat([0, 1], 500))
    (part,) = recordings.parts(recording, 50.0)
    seen, labelled = int(np.argmax(part.rows[:, 0] > 0)), int(np.argmax(part.labels == 1))
    assert abs(seen - labelled) <= 1 and len(part.rows) < 1000 / 20


def lengths(options: WindowOptions, rate_hz: float, *counts: int) -> int:
    recording = Recording(Path("a.csv"), ("x",), VALUES, rate_hz, [], VALUES)
    return readings.window_length([recording] * len(counts), counts, rate_hz, options)


def test_the_window_is_as_long_as_asked_for_else_as_fits() -> None:
    assert lengths(WindowOptions(), 0.0, 500, 20) == 20
    assert lengths(WindowOptions(), 0.0, 500, 90) == readings.LENGTH
    assert lengths(WindowOptions(length=50), 0.0, 500, 90) == 50
    assert lengths(WindowOptions(window_ms=640), 50.0, 500, 90) == 32
    for options, rate_hz, words in [
        (WindowOptions(), 0.0, "a.csv: 7 readings in a row; a recording needs 8 or more"),
        (WindowOptions(length=9), 25.0, "a.csv: 7 readings in a row at 25 Hz; a recording needs 9 or more"),
        (WindowOptions(window_ms=100), 0.0, "--window-ms needs the rate of the readings"),
        (WindowOptions(window_ms=10), 100.0, "a window of 1 readings: 8 to 4,096 are possible"),
        (WindowOptions(length=9000), 100.0, "a window of 9,000 readings: 8 to 4,096 are possible"),
    ]:
        with pytest.raises(DataError, match=words):
            lengths(options, rate_hz, 500, 7)
