"""Both GPIO drivers on a chip of the kernel: gpio-sim, or hid-cp2112 with a USB chip that a child process plays."""

import json
import signal
import time

import gpiod
import pytest

from agent.benches.io import cp2112
from agent.benches.io import gpio as bench
from drivers.actuator import gpio as actuator
from drivers.base import DeviceMissing
from drivers.sensor import gpio as sensor
from tests.processes import Process
from tests.waiting import until

needs_chip = pytest.mark.skipif(bool(bench.reason()), reason=bench.reason())

LINES = {"on": {0: True, 1: True}, "off": {0: False, 1: False}}


@pytest.fixture
def chip():
    with bench.chip() as chip:
        yield chip


def opened(module, **options):
    driver = module.Driver(module.Options.model_validate(options), "gate")
    driver.open()
    return driver


def levels(chip):
    return [chip.level(line) for line in (0, 1)]


@needs_chip
def test_levels_active_low_and_pulses(chip):
    driver = opened(actuator, chip=chip.path, lines=LINES, safe="off", active_low=[1], pulse_ms={"on": 50})
    assert levels(chip) == [0, 1]
    driver.apply("on", {})
    until(lambda: levels(chip) == [0, 1])
    driver.close()
    driver = opened(actuator, chip=chip.path, lines=LINES, safe="off", read_back=True)
    driver.apply("on", {})
    assert levels(chip) == [1, 1]
    driver.safe()
    assert levels(chip) == [0, 0]
    with pytest.raises(DeviceMissing, match="busy"):
        opened(actuator, chip=chip.path, lines=LINES, safe="off")
    driver.close()


@needs_chip
def test_the_standby_makes_the_lines_safe(chip, tmp_path):
    device = {"driver": "actuator.gpio", "chip": chip.path, "lines": LINES, "safe": "off", "active_low": [0]}
    path = tmp_path / "reflexd.yaml"
    actuators = {"horn": {"device": device, "rest": "off"}}
    path.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "realtime": False, "actuators": actuators}))
    host = Process(tmp_path / "log", "actuate", str(path))
    host.wait_for("listens at")
    until(lambda: levels(chip) == [1, 0])
    host.signal(signal.SIGSTOP)
    host.wait_for_standby("is safe: by the standby")


@needs_chip
def test_edges_with_the_kernels_stamps(chip):
    lines = [{"line": 0}, {"line": 1, "active_low": True}]
    driver = opened(sensor, chip=chip.path, lines=lines, rate_hz=0.1, timeout_ms=60_000)
    assert until(lambda: driver.read(0.05)).payload.tolist() == [[0, 1, 0, 0]]
    before = time.monotonic_ns()
    chip.pull(0, True)
    sample = until(lambda: driver.read(0.05))
    assert sample.payload.tolist() == [[1, 1, 1, 0]] and before <= sample.t_capture <= time.monotonic_ns()
    chip.pull(1, True)
    assert until(lambda: driver.read(0.05)).payload.tolist() == [[1, 0, 1, 1]]
    driver.close()


@needs_chip
def test_edges_that_the_kernel_has_no_room_for(chip):
    if chip.polled:
        pytest.skip("this chip is polled: needs gpio-sim")
    driver = opened(sensor, chip=chip.path, lines=[{"line": 0}], buffer=16, rate_hz=0.1, timeout_ms=60_000)
    until(lambda: driver.read(0.05))
    for step in range(100):
        chip.pull(0, not step % 2)
    sample = until(lambda: driver.read(0.05))
    # two edges may share one run of the interrupt's thread, which numbers them
    assert driver.lost > 0 and sample.payload[-1].tolist() == [0, sample.sequence]
    driver.close()


@needs_chip
def test_the_bare_call_of_the_bench():
    with bench.server() as options, bench.bare(options) as switch:
        switch()
        assert gpiod.is_gpiochip_device(options["chip"])


def test_the_reports_of_the_usb_chip(monkeypatch):
    """As the kernel's driver asks for them: AN495 of Silicon Labs, linux/uhid.h."""
    written, asked = [], []
    monkeypatch.setattr(cp2112.os, "open", lambda *_: 99)
    monkeypatch.setattr(cp2112.os, "write", lambda fd, data: written.append(data))
    monkeypatch.setattr(cp2112.os, "read", lambda fd, size: asked.pop(0))
    device = cp2112.Device()
    create = written.pop()
    assert len(create) == 4 + 128 + 64 + 64 + 20 + len(cp2112.DESCRIPTOR) and create[:4] == b"\x0b\0\0\0"
    asked += [
        bytes.fromhex("0d000000 07000000 02 00 0500 0203ff0000"),
        bytes.fromhex("0d000000 08000000 04 00 0300 04ff02"),
    ]
    asked += [bytes.fromhex("09000000 09000000 03 00"), bytes.fromhex("09000000 0a000000 99 00")]
    device.pull({"0": 1, "2": 1})
    for _ in range(4):
        device.handle()
    assert written == [
        bytes.fromhex("0e000000 07000000 0000"),
        bytes.fromhex("0e000000 08000000 0000"),
        bytes.fromhex("0a000000 09000000 0000 0200 0306"),
        bytes.fromhex("0a000000 0a000000 0500 0000"),
    ]
    assert device.chip() == ""
