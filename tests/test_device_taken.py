"""A device that another process has: two hosts with folders of their own are kept apart, and the other one is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.base import DeviceMissing
from drivers.camera import v4l2
from drivers.holder import ANOTHER, Claim, holder, named
from drivers.sensor import _spidev
from drivers.sensor.serial import open_port
from tests.processes import Process
from tests.waiting import until

OPENS = "import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); print(flush=True); sys.stdin.read()"
LOCKS = OPENS.replace("print", "import fcntl; fcntl.flock(fd, fcntl.LOCK_EX); print")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the file `device` open, and locked."""
    (tmp_path / "device").touch()
    with subprocess.Popen(
        [sys.executable, "-c", LOCKS, str(tmp_path / "device")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def host(folder: Path, url: str) -> Process:
    """Of a relay, with a run_dir of its own."""
    folder.mkdir()
    device = {"driver": "actuator.serial_relay", "url": url, "channels": {"off": {1: False}}, "safe": "off"}
    path = folder / "reflexd.yaml"
    actuators = {"relay": {"device": device, "rest": "off", "verbs": ["off"]}}
    path.write_text(json.dumps({"run_dir": str(folder / "run"), "realtime": False, "actuators": actuators}))
    process = Process(folder / "log", "actuate", str(path))
    process.wait_for("listens at")
    return process


def test_kind_two_hosts_of_one_relay_board_with_folders_of_their_own(tmp_path: Path, line: tuple[int, str]) -> None:
    """12: the second says once who has the board, and makes it safe itself once that one has ended."""
    far, url = line
    (tmp_path / "alias").symlink_to(url)
    first = host(tmp_path / "a", url)
    frame = bytes.fromhex("a00100a1")
    assert os.read(far, 4) == frame
    second = host(tmp_path / "b", str(tmp_path / "alias"))
    assert re.search(rf"alias: busy, '.*', pid {first.popen.pid}, has it open", second.wait_for("busy"))
    assert first.stop() == 0
    assert os.read(far, 4) == frame, "at its end"
    second.wait_for("the device is back, and safe")
    assert os.read(far, 4) == frame
    assert second.stop() == 0 and len(second.lines("busy")) == 1


def test_kind_who_has_a_device_is_named_by_each_driver(
    tmp_path: Path, other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """12: also under another name; without the arguments of its command, as a password may be among them."""
    device, link = tmp_path / "device", tmp_path / "link"
    link.symlink_to(device)
    for path in (device, link):
        assert (
            holder(path)
            == named(other.pid)
            == f"'{Path(f'/proc/{other.pid}/comm').read_text().strip()}', pid {other.pid},"
        )
    with pytest.raises(DeviceMissing, match=f"busy, .*pid {other.pid}, or another lane has it open"):
        _spidev.SpiDevice(str(link), 1000)
    camera = v4l2.Driver(v4l2.Options(device=str(device)))
    assert f"in use by {named(other.pid)} (fuser" in str(camera._device_error(OSError(16, "busy")))
    assert holder(tmp_path / "none") == ANOTHER == named(1 << 30)


def test_a_port_that_this_process_has_open_twice_is_another_programs(line: tuple[int, str]) -> None:
    """Only other processes are looked for."""
    with open_port(line[1], 9600), pytest.raises(DeviceMissing, match=f"busy, {ANOTHER} has it open"):
        open_port(line[1], 9600)


def test_a_claim_ends_with_its_process_and_leaves_nothing(tmp_path: Path) -> None:
    name = f"test {tmp_path} {'x' * 200}"
    script = "import sys; from drivers.holder import Claim; c = Claim(sys.argv[1:], 'x'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(DeviceMissing, match=f"x: busy: .* pid {process.pid}, has it"):
            Claim([f"{name} 2", name], "x: busy")
        Claim([f"{name} 2"], "what was taken before is free again").release()
        for _ in range(1100):  # a host tries five times a second
            with pytest.raises(DeviceMissing, match="x: busy: .* has it"):
                Claim([name], "x: busy")
        process.kill()
    claim = until(lambda: Claim([name], "busy"), "the claim")
    claim.release()
    claim.release()
