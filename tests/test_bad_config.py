"""Mistakes in the configuration and in models: exit code 2, one line for each, before anything moves."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.packages.package import BUNDLED
from tests.processes import Cell, arm
from tests.shared import PUBLIC, needs_recordings

GOOD = """\
run_dir: run
lanes:
  arm:
    source:
      driver: sensor.sim_arm
      timeout_ms: 50
    model: arm-deviation
actuators:
  robot: {device: {driver: actuator.sim}, rest: run}
"""
PACKAGE = "arm-deviation"


def refused(cell: Cell, command: str, text: str) -> list[str]:
    """The lines with which a command refuses this configuration."""
    path = cell.folder / "reflexd.yaml"
    path.write_text(text.replace("run_dir: run", f"run_dir: {cell.run_dir}"))
    process = cell.start(command, "-c", str(path))
    assert process.exit_code() == 2
    assert "Traceback" not in process.text
    assert not list(cell.run_dir.glob("*.ledger"))
    return process.text.splitlines()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of a good package beside the configuration."""
    return Path(shutil.copytree(BUNDLED / PACKAGE, tmp_path / "mine"))


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    "right, wrong, place, words",
    [
        ("timeout_ms: 50", "timeout: 50", 6, ["timeout", "did you mean 'timeout_ms'?"]),
        ("timeout_ms: 50", "timeout_ms: 50 ms", 6, ["timeout_ms", "50 ms", "the unit is in the key's name"]),
        (
            "actuators:",
            "  arm: {source: {driver: sensor.sim_arm}, model: arm-deviation}\nactuators:",
            8,
            ["twice", "arm"],
        ),
        ("model: arm-deviation", "model: arm-deviaton", 7, ["no model package 'arm-deviaton'", "bundled"]),
        ("sensor.sim_arm", "sensor.sim_arms", 5, ["no driver 'sensor.sim_arms'", "did you mean sensor.sim_arm"]),
        ("sensor.sim_arm", "quiet_one.driver", 5, ["no driver 'quiet_one.driver'"]),
    ],
)
@pytest.mark.slow
def test_one_line_with_file_and_line(
    tmp_path: Path, command: str, right: str, wrong: str, place: int, words: list[str]
) -> None:
    with Cell(tmp_path, {}) as cell:
        assert right in GOOD
        (line,) = refused(cell, command, GOOD.replace(right, wrong))
    assert line.startswith(f"{tmp_path}/reflexd.yaml:{place}: ")
    for word in words:
        assert word in line


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    text = GOOD.replace("    model:", "    threds: 2\n    model:").replace("rest: run", "rest: run, safe_after_ms: 500")
    with Cell(tmp_path, {}) as cell:
        lines = sorted(refused(cell, "check", text))
    assert [line.split(":")[1] for line in lines] == ["10", "7"]
    assert "'actuators.robot.safe_after_ms': expected less than or equal to 100, found 500" in lines[0]
    assert "unknown key 'lanes.arm.threds'; did you mean 'threads'?" in lines[1]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_driver_whose_library_is_missing(tmp_path: Path, command: str) -> None:
    """Distinguished from a driver that does not exist, with the command that installs it."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/thermo.py").write_text("import thermolib_unknown\n")
    with Cell(tmp_path, {}) as cell:
        (line,) = refused(cell, command, GOOD.replace("sensor.sim_arm", "ours.thermo"))
    assert (
        ":5: driver 'ours.thermo' needs the Python package 'thermolib_unknown': pip install thermolib_unknown" in line
    )


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_model_file_that_is_missing(tmp_path: Path, package: Path, command: str) -> None:
    (package / "arm-deviation.tflite").unlink()
    with Cell(tmp_path, {}) as cell:
        (line,) = refused(cell, command, GOOD.replace("model: arm-deviation", "model: mine"))
    assert f"{tmp_path}/reflexd.yaml:7: " in line
    assert "arm-deviation.tflite' does not exist: copy it there or correct 'file'" in line


@pytest.mark.parametrize("command", ["check", "run"])
def test_one_flipped_bit_in_a_model(tmp_path: Path, package: Path, command: str) -> None:
    model = bytearray((package / "arm-deviation.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (package / "arm-deviation.tflite").write_bytes(model)
    with Cell(tmp_path, {}) as cell:
        (line,) = refused(cell, command, GOOD.replace("model: arm-deviation", "model: mine"))
    assert f"{tmp_path}/reflexd.yaml:7: " in line
    assert "sha256 is" in line and "damaged" in line


def test_a_truncated_model_with_its_own_sha256(tmp_path: Path, package: Path) -> None:
    """The checksum is right, so the engine must refuse it."""
    model = (package / "arm-deviation.tflite").read_bytes()[:4000]
    old = hashlib.sha256((package / "arm-deviation.tflite").read_bytes()).hexdigest()
    (package / "arm-deviation.tflite").write_bytes(model)
    manifest = package / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace(old, hashlib.sha256(model).hexdigest()))
    with Cell(tmp_path, {}) as cell:
        lines = refused(cell, "run", GOOD.replace("model: arm-deviation", "model: mine"))
    assert sum("LiteRT refuses arm-deviation.tflite" in line for line in lines) == 1


@needs_recordings
@pytest.mark.parametrize("name", sorted(path.name for path in PUBLIC.glob("bad/*.tflite")))
def test_public_models_that_no_engine_here_runs(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    copy = Path(shutil.copy(PUBLIC / "bad" / name, tmp_path / "mine"))
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    (tmp_path / "mine/manifest.yaml").write_text(
        f"version: 1.0.0\nlicence: unknown\nfile: {name}\nsha256: {digest}\n"
        "decoder: classify\nlabels: [none, person]\npicture: {colour: grey}\n"
    )
    with Cell(tmp_path, {}) as cell:
        lines = refused(
            cell, "run", GOOD.replace("model: arm-deviation", "model: mine").replace("sensor.sim_arm", "camera.sim")
        )
    (line,) = [line for line in lines if f"LiteRT refuses {name}" in line]
    assert line.startswith(f"{tmp_path}/mine: ")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot make a full disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_reported_before_anything_moves(tmp_path: Path, full_disk: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["run_dir"] = str(full_disk)
        host = cell.actuate()
        daemon = cell.run()
        assert daemon.exit_code() == 1  # a restart is right: somebody may make room
        host.stop()
    assert cell.verbs() == ["safe", "safe"]  # at open and at the end
    (line,) = daemon.lines("No space left on device")
    assert "arm.ledger" in line or "arm.new" in line
    assert "MB" in line
    assert "Traceback" not in daemon.text


def test_two_daemons_in_one_run_dir(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, first = cell.start_both()
        done = len(cell.verbs())
        second = cell.run()
        assert second.exit_code() == 1  # the first one may end
        (line,) = second.lines("another reflexd already runs in")
        assert str(cell.run_dir) in line and "its own run_dir" in line
        cell.wait_for_count("arm", "samples", cell.counts("arm")["samples"] + 100)
        assert cell.verbs()[done:] == []
        assert first.stop() == 0
