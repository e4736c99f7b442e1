"""A serial sensor with noise on its line, invalid data, and unplugged: the lane recovers each time."""

from __future__ import annotations

import os
import random
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.sensor import serial, sim_arm
from drivers.sensor._checksum import total
from tests.processes import Cell, arm

RATE_HZ = 200
CRACKLE = 60  # frames; the model's window is 32 readings long
SEED = 11


class Arm:
    """The arm's controller at the far end of a pseudo terminal, which keeps its name when it is plugged in again."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.far = -1
        self.random = random.Random(SEED)
        # crackling: a noise burst now and then; noisy: after every frame; invalid: bursts only; trickle: half frames
        self.mode = "clean"
        self.frames = list(frames(200))
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.plug()
        self.thread.start()

    def plug(self) -> None:
        far, near = os.openpty()
        tty.setraw(near)
        os.set_blocking(far, False)
        new = self.link.with_suffix(".new")
        new.symlink_to(os.ttyname(near))
        os.close(near)
        new.rename(self.link)
        with self.lock:
            self.far = far

    def unplug(self) -> None:
        with self.lock:
            os.close(self.far)
            self.far = -1

    def run(self) -> None:
        number = 0
        while not self.done.wait(1 / RATE_HZ):
            with self.lock:
                if self.far >= 0:
                    self.send(number)
            number += 1

    def send(self, number: int) -> None:
        data = {"invalid": b"", "trickle": b"1"}.get(self.mode)
        if data is None:
            data = frame(number, self.frames[number % len(self.frames)])
        if self.mode in ("noisy", "invalid") or self.mode == "crackling" and number % CRACKLE == 0:
            data += self.random.randbytes(self.random.randrange(80)) + b"\n" * self.random.randrange(2)
        try:
            os.write(self.far, data)
        except (BlockingIOError, OSError):
            pass  # the driver has it not open

    def end(self) -> None:
        self.done.set()
        self.thread.join()
        if self.far >= 0:
            self.unplug()


def frames(count: int) -> Iterator[list[float]]:
    """Readings of an arm without faults."""
    driver = sim_arm.Driver(sim_arm.Options(rate_hz=RATE_HZ, pace="fast"), "arm")
    driver.open()
    for _ in range(count):
        sample = driver.read(1.0)
        assert sample is not None
        yield sample.payload[-1].tolist()
    driver.close()


def frame(number: int, reading: list[float]) -> bytes:
    body = ",".join([str(number % 256), *(f"{value:.3f}" for value in reading)]).encode()
    return body + b"*%04X\n" % total(body, "crc16_ccitt")


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Arm]:
    arm_ = Arm(tmp_path / "ttyARM")
    yield arm_
    arm_.end()


def lane(controller: Arm) -> dict[str, Any]:
    channels = ["n", *sim_arm.CHANNELS]
    section = arm(
        driver="sensor.serial",
        url=str(controller.link),
        rate_hz=RATE_HZ,
        checksum="crc16_ccitt",
        channels=channels,
        sequence={"channel": "n"},
        timeout_ms=400,
    )
    return {"arm": section}


def test_occasional_noise_costs_frames_and_nothing_else(tmp_path: Path, controller: Arm) -> None:
    with Cell(tmp_path, lane(controller)) as cell:
        _, daemon = cell.start_both()
        assert cell.counts("arm")["lost"] == 0
        controller.mode = "crackling"
        cell.wait_for_count("arm", "lost", 3)
        controller.mode = "clean"
        cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 20)
        assert cell.verbs() == ["safe", "run"]
        assert cell.counts("arm")["faults"] == 0
        assert not daemon.lines("WARNING lane")


def test_noise_that_breaks_every_window_makes_the_actuator_safe(tmp_path: Path, controller: Arm) -> None:
    """Good frames still arrive, but never enough in a row for a window: a lane without inferences is not healthy."""
    with Cell(tmp_path, lane(controller)) as cell:
        cell.start_both()
        done = len(cell.verbs())
        controller.mode = "noisy"
        cell.wait_for("safe", after=done)
        assert cell.counts("arm")["lost"] >= 5
        controller.mode = "clean"
        cell.wait_for("run", after=done + 1)
        assert cell.counts("arm")["faults"] == 0


def test_unplugged_and_plugged_in_again_as_another_terminal(tmp_path: Path, controller: Arm) -> None:
    with Cell(tmp_path, lane(controller)) as cell:
        _, daemon = cell.start_both()
        first = os.readlink(controller.link)
        done = len(cell.verbs())
        held = os.openpty()  # so that the name of the old terminal is not reused at once
        controller.unplug()
        line = daemon.wait_for("trying again until it is back")
        assert str(controller.link) in line and "gone" in line
        cell.wait_for("safe", after=done)
        controller.plug()
        for end in held:
            os.close(end)
        daemon.wait_for("arm: arm is back")
        cell.wait_for("run", after=done + 1)
        assert os.readlink(controller.link) != first or controller.far >= 0
        assert cell.counts("arm")["faults"] >= 1
        assert len(daemon.lines("trying again")) == len(daemon.lines("arm is back")) == 1
        assert daemon.stop() == 0


def test_invalid_data_instead_of_frames(tmp_path: Path, controller: Arm) -> None:
    """As from another baud rate."""
    with Cell(tmp_path, lane(controller)) as cell:
        _, daemon = cell.start_both()
        done = len(cell.verbs())
        controller.mode = "invalid"
        line = daemon.wait_for("trying again until it is back")
        assert str(controller.link) in line
        assert "bad frames in a row" in line and "check baud" in line or "no good frame for 400 ms" in line
        cell.wait_for("safe", after=done)
        controller.mode = "clean"
        daemon.wait_for("arm: arm is back")
        cell.wait_for("run", after=done + 1)
        assert len(daemon.lines("trying again")) == 1


def test_an_incomplete_frame_does_not_block_the_reader(controller: Arm) -> None:
    """A lane has heartbeats to send, also while bytes arrive slowly."""
    controller.mode = "trickle"
    driver = serial.Driver(
        serial.Options(url=str(controller.link), rate_hz=RATE_HZ, channels=["a"], timeout_ms=600_000), "arm"
    )
    driver.open()
    for _ in range(10):
        # A byte comes every 5 ms. If each restarted the wait, this call would return only with the end of the test:
        # the frame never ends, and the device's own timeout is longer than the test's.
        assert driver.read(0.02) is None
    driver.close()
