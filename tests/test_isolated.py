"""Other processes of the program: no code of the current folder runs, and the kernel ends them first for memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.benches.programs import free_port
from agent.package import BUNDLED
from tests.processes import Cell, arm, camera, needs_pictures
from tests.shared import ROOT
from tests.waiting import until

MARK = "code-of-the-folder-ran"
# Names that the program and its libraries import, each in some process of its own.
NAMES = ("click", "zipfile", "numpy", "cv2", "json", "runpy", "pkgutil", "zmq", "pydantic", "agent", "drivers")
REFLEXD = Path(sys.executable).with_name("reflexd")


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """A folder with a model and files that are named like modules."""
    folder = tmp_path / "downloads"
    shutil.copytree(BUNDLED / "arm-deviation", folder)
    (folder / "manifest.yaml").rename(folder / "old.yaml")
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / MARK)!r}, 'a').write({name!r})\nraise ImportError\n")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["model", "init", "model.tflite", "--into", "made"],
        ["doctor", "-c", str(ROOT / "systemd/reflexd.yaml")],
        ["demo", "--seconds", "1"],
    ],
)
def test_kind_code_beside_the_user_does_not_run(tmp_path: Path, downloads: Path, command: list[str]) -> None:
    (model,) = downloads.glob("*.tflite")
    model.rename(downloads / "model.tflite")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    start = [str(REFLEXD)] if REFLEXD.exists() else [sys.executable, "-c", "from agent.__main__ import main; main()"]
    ended = subprocess.run(
        [*start, *command], cwd=downloads, capture_output=True, text=True, timeout=120, env=environment
    )
    assert not (tmp_path / MARK).exists(), (tmp_path / MARK).read_text()
    assert "Traceback" not in ended.stderr
    if command[0] == "model":
        assert (downloads / "made/manifest.yaml").is_file(), ended.stderr


@needs_pictures
def test_kind_child_processes_are_the_first_to_end_for_memory(tmp_path: Path) -> None:
    """Also below a daemon that systemd protects: a child inherits its score."""
    port = free_port()
    with Cell(tmp_path, {"arm": arm(), "yard": camera()}) as cell:
        daemon = cell.run(cell.write(metrics={"port": port}, state_dir=str(tmp_path / "state")))
        daemon.wait_for("runs: lanes")
        children = psutil.Process(daemon.popen.pid).children
        for module in ("agent.metrics", "agent.recorder.recorder"):

            def score(module: str = module) -> int:
                pids = [child.pid for child in children() if module in child.cmdline()]
                return int(Path(f"/proc/{pids[0]}/oom_score_adj").read_text()) if pids else 0

            until(lambda: score() == 500, f"{module} raises its score")
