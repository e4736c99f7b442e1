"""`reflexd pool run`: every picture has one row, whoever is killed; bad pictures get one message each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.errors import DataError
from agent.packages.package import BUNDLED
from agent.pool import picture
from agent.pool.picture import BadPicture
from agent.pool.pool import STALLED_S, Pool, Worker
from agent.pool.results import Results
from tests.shared import ROOT
from tests.waiting import DEADLINE_S, until

MODEL = "person-coarse"
RANDOM = np.random.default_rng(0)
NOISE = cv2.resize(RANDOM.integers(0, 256, (12, 16, 3), np.uint8), (160, 120))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    return made


def draw(folder: Path, count: int) -> list[str]:
    """Names of further files, all with one picture."""
    cv2.imwrite(str(folder / "00000.jpg"), NOISE)
    names = [f"{number:05}.jpg" for number in range(count)]
    for name in names[1:]:
        os.link(folder / "00000.jpg", folder / name)
    return names


class Run:
    """`reflexd pool run` as a process of its own; rows: of its results, without the first line."""

    def __init__(self, folder: Path, *more: str, model: str = MODEL) -> None:
        self.out = folder.parent / "results.jsonl"
        command = [sys.executable, "-m", "agent", "pool", "run", str(folder), "--model", model, "-o", str(self.out)]
        self.popen = subprocess.Popen(
            [*command, *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> tuple[int, str, str]:
        try:
            output, errors = self.popen.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            output, errors = self.popen.communicate()
            pytest.fail(f"did not end within {DEADLINE_S:g} s:\n{errors}")
        return self.popen.returncode, output, errors

    def rows(self) -> list[dict[str, Any]]:
        lines = self.out.read_bytes().splitlines(keepends=True) if self.out.exists() else []
        return [json.loads(line) for line in lines[1:] if line.endswith(b"\n")]

    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def wait_for_rows(self, count: int) -> None:
        until(lambda: len(self.rows()) >= count or self.popen.poll() is not None, "rows")
        assert self.popen.poll() is None, "it was done before: more pictures are needed"


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        if run.popen.poll() is None:
            run.popen.kill()
            run.popen.wait()


def files(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["file"] for row in rows)


def test_every_picture_has_a_row_and_the_second_run_computes_nothing(folder: Path) -> None:
    names = draw(folder, 12)
    run = Run(folder, "--workers", "2", "--json")
    code, output, errors = run.end()
    assert (code, errors) == (0, ""), errors
    summary = json.loads(output)
    assert (summary["pictures"], summary["computed"], summary["bad"], summary["restarts"]) == (12, 12, 0, 0)
    assert files(run.rows()) == names
    assert all((row["width"], row["height"]) == (160, 120) and "findings" in row for row in run.rows())
    assert run.out.stat().st_mode & 0o077 == 0  # what follows from pictures is for its owner
    before = run.out.read_bytes()
    code, output, _ = Run(folder, "--json").end()
    assert code == 0 and json.loads(output)["computed"] == 0
    assert run.out.read_bytes() == before


def test_each_worker_has_a_core(folder: Path, runs: list[Run]) -> None:
    draw(folder, 3000)
    runs.append(Run(folder, "--workers", "2"))
    known = sorted(os.sched_getaffinity(0))
    expected = sorted([known[number % len(known)]] for number in range(2))
    until(lambda: sorted(sorted(os.sched_getaffinity(pid)) for pid in runs[0].workers()) == expected, "their cores")


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_doubles_nothing(folder: Path, runs: list[Run]) -> None:
    names = draw(folder, 1500)
    runs.append(Run(folder, "--workers", "2", "--json"))
    (run,) = runs
    killed = 0
    for count in (50, 300, 600):
        run.wait_for_rows(count)
        for pid in run.workers()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    code, output, errors = run.end()
    assert code == 0, errors
    assert json.loads(output)["restarts"] == killed == 3
    assert files(run.rows()) == names


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(folder: Path, runs: list[Run]) -> None:
    names = draw(folder, 1500)
    runs.append(Run(folder, "--workers", "2"))
    runs[0].wait_for_rows(100)
    workers = runs[0].workers()
    runs[0].popen.kill()
    runs[0].popen.wait()
    until(
        lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and _is_worker(pid) for pid in workers), "no worker left"
    )
    with open(runs[0].out, "ab") as file:
        file.write(b'{"file": "00')  # a power cut in the middle of a row
    before = len(runs[0].rows())
    code, output, errors = Run(folder, "--workers", "2", "--json").end()
    assert code == 0, errors
    assert json.loads(output)["computed"] == 1500 - before < 1500
    assert files(runs[0].rows()) == names


def _is_worker(pid: int) -> bool:
    try:
        return b"agent.pool.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def png(picture: Any = NOISE) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


def huge_png() -> bytes:
    """A header of 100,000 x 100,000 pixels, with its checksum."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + png()[33:]


BAD = {
    "cut.jpg": (bytes(cv2.imencode(".jpg", NOISE)[1])[:900], "does not decode"),
    "cut.png": (png()[:-30], "is damaged or breaks off"),
    "flipped.png": (png().replace(b"IDAT", b"IDAT\1", 1), "is damaged or breaks off"),
    "empty.jpg": (b"", "is no PNG or JPEG picture"),
    "huge.png": (huge_png(), "has 100000 x 100000 pixels; at most"),
    "text.jpg": (b"no picture", "is no PNG or JPEG picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_picture_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadPicture, match=reason):
        picture.read(tmp_path / name)


def test_a_whole_picture_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    assert np.array_equal(picture.read(tmp_path / "a.png"), NOISE)
    (tmp_path / "grey.png").write_bytes(png(NOISE[:, :, 0]))
    assert picture.read(tmp_path / "grey.png").shape == (120, 160, 3)


def test_bad_pictures_get_one_message_each_and_are_counted(folder: Path) -> None:
    draw(folder, 3)
    for name, (content, _) in BAD.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "bad\nname.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture by its name")
    run = Run(folder, "--workers", "2", "--json")
    code, output, errors = run.end()
    bad = len(BAD) + 2
    assert code == 1 and json.loads(output)["bad"] == bad
    lines = errors.splitlines()
    assert len(lines) == bad and "pipe.jpg: is no regular file" in lines
    assert any(line.startswith("bad?name.jpg: is no PNG or JPEG") for line in lines)
    assert {row["file"] for row in run.rows() if "error" in row} == {*BAD, "pipe.jpg", "bad\nname.jpg"}
    code, output, errors = Run(folder, "--json").end()
    assert (code, errors, json.loads(output)["bad"]) == (1, "", bad)  # said once


FRAGILE = """
import os, time
from agent.backends import litert

class Engine(litert.Engine):
    def invoke(self):
        values = self.input(0)
        if values.min() == values.max() != 0:  # a white picture
            {end}
        super().invoke()
"""


def fragile(folder: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> tuple[Path, list[str]]:
    """(a model whose engine does this at a white picture, the names of pictures, of which one is white)."""
    model = folder.parent / "fragile-model"
    shutil.copytree(BUNDLED / MODEL, model)
    lines = (model / "manifest.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("backend:")]
    (model / "manifest.yaml").write_text("\n".join([*kept, "backend: fragile.engine"]) + "\n")
    (folder.parent / "fragile").mkdir()
    (folder.parent / "fragile/engine.py").write_text(FRAGILE.format(end=end))
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    names = draw(folder, 6)
    cv2.imwrite(str(folder / "00003-white.png"), np.full((120, 160, 3), 255, np.uint8))
    return model, sorted([*names, "00003-white.png"])


@pytest.mark.slow
def test_a_picture_that_ends_its_worker_twice_is_bad_and_the_others_are_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, names = fragile(folder, monkeypatch, "os.abort()")
    run = Run(folder, "--workers", "1", "--json", model=str(model))
    code, output, errors = run.end()
    assert code == 1 and json.loads(output)["restarts"] == 2
    assert "00003-white.png: ends its worker (signal 6)" in errors.splitlines()
    assert files(run.rows()) == names
    assert [row["file"] for row in run.rows() if "error" in row] == ["00003-white.png"]


@pytest.mark.slow
def test_a_picture_at_which_its_worker_hangs_twice_is_bad_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = folder.parent / "hanging"
    model, names = fragile(folder, monkeypatch, f"open({str(hanging)!r}, 'w').close(); time.sleep(1000)")

    def stalled(worker: Worker) -> bool:
        """A minute later."""
        if hanging.exists():
            hanging.unlink()
            return True
        return False

    monkeypatch.setattr(Worker, "stalled", stalled)
    results = Results(folder.parent / "results.jsonl", "fragile", "0" * 64)
    pool = Pool(folder, model, sorted(os.sched_getaffinity(0))[:1], results)
    pool.run(names)
    results.close()
    rows = [json.loads(line) for line in results.path.read_text().splitlines()[1:]]
    assert pool.restarts == 2 and files(rows) == names
    (bad,) = (row for row in rows if "error" in row)
    assert bad == {"file": "00003-white.png", "error": "ends its worker (signal 9)"}


def test_a_worker_without_a_row_for_a_minute_hangs() -> None:
    worker = Worker.__new__(Worker)
    worker.pending, worker.heard = deque(["a.jpg"]), time.monotonic() - 1.01 * STALLED_S
    assert worker.stalled()
    worker.heard = time.monotonic()
    assert not worker.stalled()
    worker.pending, worker.heard = deque(), time.monotonic() - 1000.0
    assert not worker.stalled()  # it has nothing to do


def test_movenet_gives_its_keypoints(folder: Path) -> None:
    draw(folder, 1)
    run = Run(folder, model="movenet")
    assert run.end()[0] == 0
    assert np.array(run.rows()[0]["keypoints"]).shape == (17, 3)


@pytest.mark.parametrize(
    "model, reason",
    [
        ("arm-deviation", "reads no pictures"),
        ("pcb-inspect", "compares with a reference"),
        ("motion-blobs", "remembers the pictures before"),
    ],
)
def test_a_model_that_does_not_read_single_pictures_is_refused_once(folder: Path, model: str, reason: str) -> None:
    draw(folder, 4)
    code, _, errors = Run(folder, "--workers", "2", model=model).end()
    assert code == 2 and len(errors.splitlines()) == 1 and reason in errors


def test_a_folder_without_pictures_is_one_message(folder: Path) -> None:
    code, _, errors = Run(folder).end()
    assert code == 2 and errors == f"{folder}: no pictures there: files that end in .jpg, .jpeg, .png\n"
    code, _, errors = Run(folder / "none").end()
    assert code == 2 and errors == f"{folder}/none: No such file or directory\n"


def test_results_of_another_model_or_file_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "a", "0" * 64).close()
    before = path.read_bytes()
    for model, checksum in (("b", "0" * 64), ("a", "1" * 64)):
        with pytest.raises(DataError, match="has results of model a, or of another version of it: name another file"):
            Results(path, model, checksum)
    for content in (b'{"other": 1}\n', b"text\n", b"[1]\n", b"text", b'{"other": 1}'):
        path.write_bytes(content)
        with pytest.raises(DataError, match="name another file with --out"):
            Results(path, "a", "0" * 64)
        assert path.read_bytes() == content
    path.write_bytes(before)
    with pytest.raises(DataError, match="results.jsonl:2: no row of results"):
        path.write_bytes(before + b"torn \n")
        Results(path, "a", "0" * 64)


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    first = Results(path, "a", "0" * 64)
    with pytest.raises(DataError, match="another 'pool run' writes to it"):
        Results(path, "a", "0" * 64)
    first.close()
    Results(path, "a", "0" * 64).close()
