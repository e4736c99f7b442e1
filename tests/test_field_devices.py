"""The doctor's checks of files in /dev, cameras and serial lines."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agent import ledger
from agent.config.models import Device
from agent.field.checks import devices, sources
from agent.field.checks.base import BAD, GOOD, SKIP, WARN
from drivers.base import open_source
from drivers.camera import _v4l2_abi as abi
from tests.field_fixtures import box, complete, configuration, write_files, write_ledger
from tests.test_v4l2_kernel import HEIGHT, WIDTH, FakeKernel, yuyv


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return configuration(tmp_path)


def test_permissions_of_a_device(tmp_path: Path) -> None:
    root = write_files(tmp_path, {"dev/video0": "", "dev/v4l/by-id/usb-cam-index0": ""})
    os.chmod(root / "dev/video0", 0o660)
    missing = complete(devices.usable("lane yard", "/dev/video7", root, "nobody"))
    assert missing.state == BAD and "/dev/v4l/by-id/usb-cam-index0" in missing.fix
    refused = complete(devices.usable("lane yard", "/dev/video0", root, "nobody"))
    assert refused.state == BAD and "mode 0660" in refused.cause
    os.chmod(root / "dev/video0", 0o666)
    assert devices.usable("lane yard", "/dev/video0", root, "nobody").state == GOOD


def test_the_advice_names_the_group_to_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_files(tmp_path, {"dev/ttyUSB0": ""})
    os.chmod(root / "dev/ttyUSB0", 0o660)
    monkeypatch.setattr(devices, "_group_name", lambda gid: "dialout")
    assert devices.usable("x", "/dev/ttyUSB0", root, "nobody").fix.startswith("sudo usermod -aG dialout nobody")
    os.chmod(root / "dev/ttyUSB0", 0o600)  # joining its group would not help
    assert "udev" in devices.usable("x", "/dev/ttyUSB0", root, "nobody").fix


def test_permission_bits() -> None:
    for mode, owner, group, uid, groups, good in (
        (0o600, 5, 5, 5, set(), True),
        (0o060, 5, 7, 6, {7}, True),
        (0o006, 5, 7, 6, {8}, True),
        (0o660, 5, 7, 6, {8}, False),
        (0o060, 5, 7, 5, {7}, False),
        (0o640, 5, 7, 6, {7}, False),
        (0o000, 5, 7, 0, set(), True),
    ):
        assert devices.allowed(owner, group, mode, uid, groups) is good


def test_options_that_name_devices(path: Path) -> None:
    device = Device.model_validate({"driver": "sensor.serial", "url": "/dev/ttyUSB0", "baud": 9600, "name": "dev"})
    assert devices.paths(device) == ["/dev/ttyUSB0"]
    assert [check.state for check in devices.checks(box(path))] == [SKIP]


def test_the_rate_of_a_camera_is_measured() -> None:
    stream = open_source("camera.sim", {"width": 64, "height": 48, "fps": 50, "pictures": 2}, "yard")
    check = sources.measure("yard", stream, 0.4)
    assert complete(check).state in (GOOD, WARN) and "50 wanted" in check.cause  # a busy box delivers fewer
    late = open_source("camera.sim", {"faults": [{"kind": "unplug", "at_s": 0, "for_s": 60}]}, "yard")
    assert complete(sources.measure("yard", late, 0.2)).state == BAD


def test_a_device_that_the_daemon_has_open_is_not_opened(tmp_path: Path) -> None:
    path = configuration(
        tmp_path, lanes={"yard": {"source": {"driver": "camera.v4l2", "fps": 50}, "model": "x"}}, rules={}
    )
    write_ledger(tmp_path, "yard", state=ledger.RUNNING, count=200)
    cell = box(path)
    (lane,) = sources.checks(cell._replace(view=cell.view._replace(pid=os.getpid())))
    assert lane.state == GOOD and "the daemon has it open: " in lane.cause and "50 wanted" in lane.cause
    write_ledger(tmp_path, "yard", state=ledger.GONE)
    cell = box(path)
    reply = {"lanes": {"yard": {"reason": "/dev/video0 may not be opened"}}}
    (lane,) = sources.checks(cell._replace(view=cell.view._replace(pid=os.getpid(), reply=reply)))
    assert complete(lane).state == BAD and "may not be opened" in lane.cause and "usermod -aG video" in lane.fix
    (lane,) = sources.checks(cell)  # no daemon has it open: it is tried
    assert complete(lane).state == BAD and "is not there" in lane.cause


def test_the_modes_of_a_local_camera(kernel: FakeKernel) -> None:
    def picture() -> None:
        time.sleep(0.005)
        kernel.deliver(yuyv(1))

    kernel.while_waiting = [picture] * 1000
    options = {"device": str(kernel.path), "width": WIDTH, "height": HEIGHT}
    check = sources.measure("yard", open_source("camera.v4l2", options, "yard"), 0.2)
    assert check.state == GOOD and check.cause.startswith("32x16 yuyv of: yuyv 32x16; mjpg 32x16; ")
    kernel.refuse = {abi.QUERYCAP: errno.EBUSY}
    busy = complete(sources.measure("yard", open_source("camera.v4l2", options, "yard"), 0.2))
    assert busy.state == BAD and "fuser" in busy.fix


def test_every_reading_counts() -> None:
    stream = open_source("sensor.sim_arm", {"rate_hz": 1000}, "arm")
    stream.open()
    try:
        assert sources.measure_rate(stream, 0.5) == pytest.approx(1000, rel=0.05)
    finally:
        stream.close()


def test_rates_are_judged() -> None:
    assert sources.judge("x", 29.9, 30).state == GOOD
    assert complete(sources.judge("x", 15.0, 30)).state == WARN
    assert complete(sources.judge("x", 0.0, 30)).state == BAD
    assert sources.judge("x", 3.0, 0).cause == "3.0 a second"


def test_a_serial_line_and_a_relay_that_do_not_exist(tmp_path: Path) -> None:
    line = {"driver": "sensor.serial", "url": "/dev/ttyNONE7", "rate_hz": 10, "framing": "csv", "channels": ["a"]}
    relay = {"driver": "actuator.serial_relay", "url": "/dev/ttyNONE8", "channels": {"off": {1: False}}, "safe": "off"}
    changes: dict[str, Any] = {"lanes": {"line": {"source": line, "model": "arm-deviation"}}, "rules": {}}
    path = configuration(tmp_path, actuators={"siren": {"device": relay, "rest": "off"}}, **changes)
    checks = list(sources.checks(box(path)))
    assert [complete(check).state for check in checks] == [BAD, BAD]


def test_a_relay_is_opened_and_not_moved() -> None:
    master, slave = os.openpty()
    try:
        device = Device.model_validate({"driver": "actuator.serial_relay", "url": os.ttyname(slave)})
        assert sources.relay("siren", device, 0).state == GOOD
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 1)
        assert sources.relay("siren", device, 77).state == SKIP  # its host has it
    finally:
        os.close(master)
        os.close(slave)
