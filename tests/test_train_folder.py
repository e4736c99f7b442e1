"""A user's folder: which files are accepted, how they are split and read; one clear message for each mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.backends.base import Tensor
from agent.packages.manifest import Picture
from agent.prepare.pixels import Pixels
from models.train.data import DataError
from models.train.folder import files, pictures, readings, recordings
from models.train.folder.examples import Counts, Examples, count_right, evenly_spaced
from models.train.folder.options import Marks
from tests.training_data import film, recording, write_levels

EMPTY = np.zeros((0,))
NO_MARKS = Marks()


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    return write_levels(tmp_path / "levels")


def test_whole_files_are_held_out_and_always_the_same(levels: Path) -> None:
    labels, listed = files.list_files(levels, readings.SUFFIXES, 7)
    assert labels == ["high", "low"] and len(listed) == 12
    held_out = {file.path for file in listed if file.test}
    assert not held_out & {file.path for file in listed if not file.test}
    assert [sum(file.test for file in listed if file.label == label) for label in (0, 1)] == [2, 2]
    assert (
        files.list_files(levels, readings.SUFFIXES, 7)[1] == listed != files.list_files(levels, readings.SUFFIXES, 8)[1]
    )


def test_files_without_a_label_are_never_held_out(levels: Path, capsys) -> None:
    recording(levels / "unlabelled/deep/er.csv", 0.0)
    (levels / "low/notes.txt").write_text("not a recording")
    (levels / ".cache").mkdir()
    labels, listed = files.list_files(levels, readings.SUFFIXES, 7)
    assert labels == ["high", "low"]
    assert [(file.path.name, file.test) for file in listed if file.label < 0] == [("er.csv", False)]
    assert "low: 1 files skipped, not .csv" in capsys.readouterr().err


def remove_low(levels: Path) -> None:
    for path in [*levels.glob("low/*")]:
        path.unlink()
    (levels / "low").rmdir()


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda folder: [path.unlink() for path in folder.glob("low/*")], "low: no files"),
        (lambda folder: [path.unlink() for path in [*folder.glob("low/*")][2:]], "low: 2 files.* needs 3 or more"),
        (remove_low, "1 sub-folders"),
        (
            lambda folder: (folder / "low/copy.csv").write_bytes((folder / "high/1.csv").read_bytes()),
            "copy.csv is the same as",
        ),
    ],
)
def test_an_unusable_folder_is_reported(levels: Path, harm, message: str) -> None:
    harm(levels)
    with pytest.raises(DataError, match=message):
        files.list_files(levels, readings.SUFFIXES, 7)


def test_a_missing_or_too_large_folder_is_reported(tmp_path: Path, monkeypatch, levels: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        files.list_files(tmp_path / "none", readings.SUFFIXES, 7)
    monkeypatch.setattr(files, "MAX_FILES", 11)
    with pytest.raises(DataError, match="12 files; at most 11"):
        files.list_files(levels, readings.SUFFIXES, 7)


def test_scores_are_counted_by_sample_and_by_file() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    labelled = Examples(
        EMPTY, EMPTY, np.array([0, 0, 0, 1, 1]), np.array([3, 3, 3, 5, 5]), EMPTY, np.array([3, 3, 3, 5, 5])
    )
    assert count_right(scores, labelled) == Counts(right=2, of=5, files_right=1, files_of=2)
    assert evenly_spaced(100, 5).tolist() == [0, 24, 49, 74, 99] and evenly_spaced(3, 5).tolist() == [0, 1, 2]


def read(path: Path, marks: Marks = NO_MARKS, assumed_hz: float = 0.0) -> recordings.Recording:
    return recordings.read(files.File(path, 0), marks, {"low": 0, "high": 1}, assumed_hz)


def test_recordings_are_read_by_the_names_of_their_channels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t_s,x,y\n0.0,1,2\n0.1,3,4\n")
    (tmp_path / "b.csv").write_text("t_s,y,x\n0.0,1,2\n0.1,3,4\n")
    (tmp_path / "c.csv").write_text("t_s,x\n0.0,1\n0.1,3\n")
    a, b, c = (read(tmp_path / f"{name}.csv") for name in "abc")
    assert a.channels == ("x", "y") and a.rows.tolist() == [[1, 2], [3, 4]] and a.rate_hz == 10.0
    assert recordings.common_channels([a, b]) == ("x", "y")
    assert b.ordered(("x", "y")).rows.tolist() == [[2, 1], [4, 3]]
    with pytest.raises(DataError, match="c.csv: other channels than .*a.csv: 'y'"):
        recordings.common_channels([a, c])


@pytest.mark.parametrize(
    "text", ["", "x,y\n", "x,y\n1,2\nthree,4\n", "x,y\n1,nan\n", "x,x\n1,2\n", "x,y\n1\n", "\0\xff"]
)
def test_a_file_that_is_no_recording_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match="bad.csv"):
        read(tmp_path / "bad.csv")


def test_readings_are_scaled_as_the_manifest_says(tmp_path: Path) -> None:
    windows = np.random.default_rng(1).normal([5.0, -2.0, 3.0], [2.0, 0.1, 0.0], (500, 8, 3))
    mean, std = readings.scale(windows)
    assert mean == pytest.approx([5, -2, 3], abs=0.1) and std == pytest.approx([2, 0.1, 1.0], abs=0.1)
    normalised = readings.normalised(windows * 1000, mean, std)
    assert normalised.dtype == np.float32 and abs(normalised).max() == readings.BOUND


def test_clips_are_thinned_evenly_and_that_is_reported(tmp_path: Path) -> None:
    film(tmp_path / "clip.avi", [np.full((48, 64, 3), 2 * number, np.uint8) for number in range(100)])
    capped: set[str] = set()
    levels = [round(frame.mean() / 2) for frame in pictures.frames(tmp_path / "clip.avi", 5, capped)]
    assert len(levels) == 5 and np.abs(np.array(levels) - [0, 24, 49, 74, 99]).max() <= 2
    assert capped == {"clips: at most 5 frames of each, evenly over it"}
    assert len(list(pictures.frames(tmp_path / "clip.avi", 200, set()))) == 100


def test_a_very_long_clip_is_read_in_part(tmp_path: Path, monkeypatch) -> None:
    film(tmp_path / "clip.avi", [np.zeros((48, 64, 3), np.uint8)] * 40)
    monkeypatch.setattr(pictures, "MAX_READ", 30)
    capped: set[str] = set()
    assert len(list(pictures.frames(tmp_path / "clip.avi", 200, capped))) == 30
    assert capped == {"clip.avi: only its first 30 frames were read"}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.mp4", "a.gif"])
def test_a_file_without_a_picture_is_reported(tmp_path: Path, monkeypatch, name: str) -> None:
    for content in (b"", b"nonsense" * 100):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: cannot be read as a"):
            list(pictures.frames(tmp_path / name, 5, set()))
    monkeypatch.setitem(pictures.MAX_MB, (tmp_path / name).suffix, 0.0001)
    with pytest.raises(DataError, match=f"{name}: larger than"):
        list(pictures.frames(tmp_path / name, 5, set()))


def test_a_picture_is_prepared_as_in_a_lane() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (120, 200, 3), np.uint8)
    side, view = pictures.SIDE, np.zeros((1, pictures.SIDE, pictures.SIDE, 3), np.float32)
    Pixels(Picture(**pictures.PICTURE), Tensor("", (1, side, side, 3), np.float32), "bgr")(frame, view)
    np.testing.assert_allclose(pictures.normalised(pictures.shrinker()(frame)), view[0], atol=1e-6)


def test_variants_stay_pictures() -> None:
    random = np.random.default_rng(1)
    picture = random.integers(0, 256, (pictures.SIDE, pictures.SIDE, 3), np.uint8)
    variants = [pictures.vary(picture, random) for _ in range(5)]
    assert all(
        variant.shape == picture.shape and variant.dtype == np.float32 and 0 <= variant.min() < variant.max() <= 1
        for variant in variants
    )
    assert not np.array_equal(variants[0], variants[1])
