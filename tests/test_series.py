"""Recordings and clips are in the order of a counter in their names, whatever the clock says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.recorder.series import CLIPS, RECORDINGS, Series, stamp

YEAR_2026, YEAR_2099 = 1_796_000_000_000_000_000, 4_077_000_000_000_000_000
CLOCKS = (YEAR_2026, 20_000_000_000, YEAR_2099, 0, -5_000_000_000, YEAR_2026, 1 << 62)  # 1970 at boot, and jumps


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def begun(series: Series, wall_ns: int, ending: str) -> str:
    path, file = series.begin(wall_ns, ending)
    file.write(b"content")
    file.close()
    return path.name


@pytest.mark.parametrize("wall_ns", CLOCKS)
@pytest.mark.parametrize(
    "pattern, ending", [(RECORDINGS, ".000.mcap"), (CLIPS, "-fall.mcap"), (CLIPS, "-a.mcap.sealed")]
)
def test_kind_wrong_clock_a_new_file_is_the_newest_beside_files_of_any_time(
    tmp_path: Path, pattern: str, ending: str, wall_ns: int
) -> None:
    for year in (1970, 2026, 2099):
        (tmp_path / f"box-{year}0101T000000{ending}").write_bytes(b"old")
    series = Series(tmp_path, "box", pattern)
    written = [begun(series, clock, ending) for clock in (*CLOCKS, wall_ns)]
    series.prune(3)
    assert names(tmp_path) == set(written[-3:])
    assert [path.name for path in series.paths()] == written[-3:]
    again = Series(tmp_path, "box", pattern)
    newest = begun(again, wall_ns, ending)
    again.prune(1)
    assert names(tmp_path) == {newest}


@pytest.mark.parametrize("ending", [".000.mcap", ".mcap"])
def test_recordings_that_only_have_a_time_are_older_than_those_with_a_counter(tmp_path: Path, ending: str) -> None:
    for second in range(5):
        (tmp_path / f"box-2099112{second}T000000{ending}").write_bytes(b"old")
    series = Series(tmp_path, "box", RECORDINGS)
    new = begun(series, 0, ".000.mcap")
    series.prune(3)
    assert names(tmp_path) == {f"box-20991123T000000{ending}", f"box-20991124T000000{ending}", new}


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    others = {
        "box-2-00000001_20000101T000000.000.mcap",  # of another node
        "box-2-20000101T000000.000.mcap",
        "box-20261128-20000101T000000.000.mcap",
        "bo-20000101T000000.000.mcap",
        "box-notes.txt",
        "box-20000101T000000.000.mcap.bak",
        "box-20000101T000000-copy.mcap",  # a clip's name, among recordings
        "box-00000001_20000101T000000.000.txt",
        "box-00000000000000000000000000001_20000101T000000.000.mcap",
        "BOX-20000101T000000.000.mcap",
    }
    for name in others:
        (tmp_path / name).write_bytes(b"theirs")
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "box-00000000_20000101T000000.000.mcap").symlink_to(tmp_path / "precious")
    (tmp_path / "box-20000101T000001.000.mcap").mkdir()
    os.mkfifo(tmp_path / "box-20000101T000002.000.mcap")
    before = names(tmp_path)
    series = Series(tmp_path, "box", RECORDINGS)
    written = [begun(series, YEAR_2026, ".000.mcap") for _ in range(4)]
    series.prune(1)
    assert names(tmp_path) == before | {written[-1]}


def test_an_open_file_is_never_deleted(tmp_path: Path) -> None:
    """Also not one that another recorder writes, of a daemon with the same node and state_dir."""
    path, file = Series(tmp_path, "box", RECORDINGS).begin(0, ".000.mcap")
    other = Series(tmp_path, "box", RECORDINGS)
    written = [begun(other, YEAR_2026, ".000.mcap") for _ in range(3)]
    other.prune(1)
    assert names(tmp_path) == {path.name, written[-1]}
    file.close()
    other.prune(1)
    assert names(tmp_path) == {written[-1]}


def test_the_counter_goes_on_beyond_eight_digits(tmp_path: Path) -> None:
    series = Series(tmp_path, "box", RECORDINGS)
    (tmp_path / "box-99999999_20260101T000000.000.mcap").write_bytes(b"")
    assert begun(series, 0, ".000.mcap") == "box-100000000_19700101T000000.000.mcap"
    assert begun(series, 0, ".000.mcap") == "box-100000001_19700101T000000.000.mcap"
    series.prune(1)
    assert names(tmp_path) == {"box-100000001_19700101T000000.000.mcap"}


def test_a_time_that_no_calendar_has_is_written_all_the_same() -> None:
    assert [stamp(wall) for wall in (-1, 0, 1 << 70)] == ["19700101T000000", "19700101T000000", "99991231T235959"]
