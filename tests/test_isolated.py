"""Other processes of the program: no code of the current folder runs, and the kernel ends them first for memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.benches.programs import free_port
from agent.isolated import python
from agent.packages.package import BUNDLED
from tests.processes import Cell, arm, camera, robot
from tests.shared import ROOT
from tests.waiting import until

MARK = "code-of-the-folder-ran"
# Names that the program and its libraries import, each in some process of its own.
NAMES = (
    "click",
    "zipfile",
    "numpy",
    "cv2",
    "json",
    "traceback",
    "runpy",
    "pkgutil",
    "zmq",
    "pydantic",
    "agent",
    "drivers",
)
EARLY = ("agent", "runpy", "pkgutil")  # `python -m agent` imports them before any line of this program
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
@pytest.mark.slow
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


@pytest.mark.parametrize("pythonpath", [":/x", "/x:", "/x::/y", ":"])
@pytest.mark.parametrize("start", ["reflexd", "python -m agent", "a child process"])
@pytest.mark.slow
def test_kind_an_empty_entry_of_pythonpath_is_not_the_current_folder(
    tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch, start: str, pythonpath: str
) -> None:
    """Nor in a process that this one starts."""
    if start == "reflexd" and not REFLEXD.exists():
        pytest.skip("reflexd is not installed here")
    if start != "a child process":
        for name in EARLY:
            (downloads / f"{name}.py").unlink()
    (model,) = downloads.glob("*.tflite")
    monkeypatch.setenv("PYTHONPATH", pythonpath.replace("/x", str(ROOT)))
    command = [*STARTS[start], "model", "init", model.name, "--into", "made"]
    ended = subprocess.run(command, cwd=downloads, capture_output=True, text=True, timeout=120)
    assert not (tmp_path / MARK).exists(), (tmp_path / MARK).read_text()
    assert (downloads / "made/manifest.yaml").is_file(), ended.stderr


def test_a_named_folder_of_pythonpath_stays(tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is the current one: its user named it."""
    (downloads / "belt.py").write_text("import sys\nprint(sys.path.count(sys.argv[1]))\n")
    for name in NAMES:
        (downloads / f"{name}.py").unlink()
    for pythonpath, count in ((f":{downloads}", "1"), (f"{downloads}", "1"), (f":{tmp_path}:{downloads}:", "1")):
        monkeypatch.setenv("PYTHONPATH", pythonpath)
        ended = subprocess.run(
            python("belt", str(downloads)), cwd=downloads, capture_output=True, text=True, timeout=120
        )
        assert ended.stdout.strip() == count, ended.stderr


OURS = """\
from drivers.actuator.log import Driver, Options
import sys
if __name__ == "__main__":
    print(sys.argv[1:], __file__)
"""
STARTS = {
    "reflexd": [str(REFLEXD)],
    "python -m agent": [sys.executable, "-m", "agent"],
    "a child process": python("agent"),
}


@pytest.fixture(params=["first", "second"])
def ours(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver of one's own: its folder is one of PYTHONPATH, and not the current one."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}:{ROOT}")
    folder = tmp_path / str(request.param) / "ours"
    folder.mkdir()
    (folder / "belt.py").write_text(OURS)
    return folder


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.slow
def test_a_driver_in_pythonpath_is_found_however_a_program_starts(
    tmp_path: Path, downloads: Path, ours: Path, start: str
) -> None:
    if start == "reflexd" and not REFLEXD.exists():
        pytest.skip("reflexd is not installed here")
    for name in EARLY if start == "python -m agent" else ("agent",):
        (downloads / f"{name}.py").unlink()
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["actuators"] = {"robot": robot({"driver": "ours.belt", "path": str(cell.record)})}
        command = [*STARTS[start], "check", "-c", str(cell.write())]
        ended = subprocess.run(command, cwd=downloads, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0 and not (tmp_path / MARK).exists(), ended.stdout + ended.stderr


def test_a_module_in_pythonpath_is_found_by_every_child_process(ours: Path, downloads: Path) -> None:
    ended = subprocess.run(python("ours.belt", "1"), cwd=downloads, capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == f"['1'] {ours / 'belt.py'}", ended.stderr


@pytest.mark.slow
def test_a_driver_in_pythonpath_is_found_by_the_daemon_its_reload_the_host_and_its_standby(
    tmp_path: Path, downloads: Path, ours: Path
) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell, open(tmp_path / "log", "wb") as log:
        cell.config["actuators"] = {"robot": robot({"driver": "ours.belt", "path": str(cell.record)})}
        path = cell.write()
        host, daemon = (
            subprocess.Popen(python("agent", name, "-c", str(path)), cwd=downloads, stdout=log, stderr=log)
            for name in ("actuate", "run")
        )

        def logged(part: str) -> None:
            until(lambda: part in (tmp_path / "log").read_text(), lambda: (tmp_path / "log").read_text())

        try:
            logged("runs: lanes arm")
            cell.wait_for("run")
            cell.config["lanes"]["arm"]["source"]["rate_hz"] = 200  # type: ignore[index]
            cell.write()
            daemon.send_signal(signal.SIGHUP)
            logged("configuration reloaded")
            host.kill()
            logged("actuator robot is safe: by the standby")
        finally:
            for process in (host, daemon):
                process.kill()
                process.wait()
        assert not (tmp_path / MARK).exists()


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
