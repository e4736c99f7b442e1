"""The programs of the power-cut trial, here with kill -9 in place of the cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "image.d"))

import powercut  # noqa: E402  # not a package: on the path by the line above


def _read(root: Path, confirmed: int) -> str:
    command = [sys.executable, "-", str(root), str(confirmed)]
    ended = subprocess.run(command, input=powercut.VERSIONS_READER, capture_output=True, text=True, cwd=ROOT)
    return (ended.stdout + ended.stderr).strip()


@pytest.mark.slow
def test_versions_are_whole_after_each_cut_and_a_damaged_one_is_seen(tmp_path: Path) -> None:
    version = 0
    for _ in range(3):
        command = [sys.executable, "-c", powercut.UPDATER, str(tmp_path), str(version)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as updater:
            assert updater.stdout
            output = "".join(updater.stdout.readline() for _ in range(3))
            updater.kill()
            output += updater.stdout.read()
        _, version = powercut.last_numbers(output, 0, version)
        assert version >= 3 and _read(tmp_path, version) == "good"
    assert _read(tmp_path, version + 5).startswith("BAD")
    for path in (tmp_path / "models/trial").glob("*/golden"):
        path.write_text("damaged")
    assert _read(tmp_path, version).startswith("BAD")


def test_the_last_numbers_come_from_whole_lines() -> None:
    assert powercut.last_numbers("1\nversion 7\n2\nversion 8\n3\nversio", 0, 0) == (3, 8)
    assert powercut.last_numbers("", 4, 5) == (4, 5)
