"""What the two chips of a Bosch BMI088 have in common: access to registers, identity, settings, moments of frames.

Sources, named at each value here and in the modules of the two chips:
DS: data sheet BST-BMI088-DS001 (1.3 and 1.4).
API: Bosch's BMI08x_SensorAPI, bmi08_defs.h 1.9.0.
PX4: src/drivers/imu/bosch/bmi088 of PX4-Autopilot. AP: AP_InertialSensor_BMI088.cpp of ArduPilot.
Linux: drivers/iio/accel/bmi088-accel-core.c; its unused FIFO registers (0x0E, 0x3F) are those of the gyroscope.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from agent.data import Array
from drivers.base import DeviceFault, DeviceMissing
from drivers.sensor._frame_clock import FrameClock
from drivers.sensor._spidev import SpiDevice

READ = 0x80  # DS 6.1, API SPI_RD_MASK: bit 7 of the address
CHIP_ID = 0x00  # DS 5.3.1, 5.5.1
SOFT_RESET = 0xB6  # API SOFT_RESET_CMD
WRITE_TRIES = 3  # AP writes up to eight times: "may take several tries"
BAD_RUN = 5  # of them in a row: a fault


class Frames(NamedTuple):
    """raw: int16 [k, 3], k >= 0. stamps: int64 [k], when they were measured. lost: frames lost before them."""

    raw: Array
    stamps: Array
    lost: int


class Chip(ABC):
    """bad: FIFOs that overran or could not be read, since start."""

    name = ""
    chip_id = 0
    reset_register = 0
    reset_s = 0.0
    dummy = 0  # bytes between the address and the answer

    def __init__(self, spi: SpiDevice, rate_hz: float, settings: dict[int, int]) -> None:
        """settings: register -> value, in the order in which they are written."""
        self.spi = spi
        self.settings = settings
        self.clock = FrameClock(rate_hz)
        self.bad = self.bad_run = 0
        self.t_written = 0

    @abstractmethod
    def start(self) -> None:
        """From any state to a running, empty FIFO. Raises DeviceMissing, DeviceFault."""

    @abstractmethod
    def clear(self) -> None:
        """Empty the FIFO."""

    @abstractmethod
    def poll(self) -> Frames:
        """What the FIFO has. Raises DeviceMissing, DeviceFault."""

    def now(self) -> int:
        return time.monotonic_ns()

    def read(self, register: int, count: int = 1) -> bytes:
        return self.spi.transfer(bytes((register | READ,)), self.dummy + count)[self.dummy :]

    def write(self, register: int, value: int) -> None:
        self.spi.transfer(bytes((register, value)))
        self.t_written = self.now()
        # DS 6.1: 2 us between two writes in normal mode, 1 ms in suspend mode (Linux waits 1 ms, too)
        time.sleep(0.001)

    def identify(self) -> None:
        """Raises DeviceMissing where nothing answers, DeviceFault where another chip does."""
        chip_id = self.read(CHIP_ID)[0]
        if chip_id in (0x00, 0xFF):
            raise DeviceMissing(
                f"{self.spi.path}: no {self.name} answers (0x{chip_id:02X}): check power, wiring and chip select"
            )
        if chip_id != self.chip_id:
            raise DeviceFault(
                f"{self.spi.path}: chip id 0x{chip_id:02X} is not that of a BMI088 {self.name} (0x{self.chip_id:02X}): "
                "another chip, or the two chip selects exchanged"
            )

    def reset(self) -> None:
        self.spi.transfer(bytes((self.reset_register, SOFT_RESET)))
        time.sleep(self.reset_s)

    def configure(self) -> None:
        """Raises DeviceFault where a register does not keep its value."""
        for register, value in self.settings.items():
            self._write_checked(register, value)

    def _write_checked(self, register: int, value: int) -> None:
        for _ in range(WRITE_TRIES):
            self.write(register, value)
            kept = self.read(register)[0]
            if kept == value:
                return
        raise DeviceFault(
            f"{self.spi.path}: register 0x{register:02X} of the {self.name} keeps 0x{kept:02X}, not 0x{value:02X}: "
            "lower speed_hz, shorter wires?"
        )

    def check_settings(self) -> None:
        """Raises DeviceFault after a dip of the supply: the chip is then in its reset state, with another range."""
        for register, value in self.settings.items():
            kept = self.read(register)[0]
            if kept != value:
                self.identify()
                raise DeviceFault(
                    f"{self.spi.path}: the {self.name} lost its settings (register 0x{register:02X} is 0x{kept:02X}, "
                    f"not 0x{value:02X}): a dip of its supply?"
                )

    def _frames(self, raw: Array, lost: int, before: int, after: int) -> Frames:
        """before, after: when the fill level was read."""
        self.bad_run = 0
        if not len(raw) + lost:
            return Frames(raw, np.empty(0, np.int64), 0)
        stamps = self.clock.advance(len(raw) + lost, before, after)
        return Frames(raw, stamps[lost:], lost)

    def _unreadable(self, what: str) -> Frames:
        """The FIFO is emptied; what was in it is lost."""
        self.bad, self.bad_run = self.bad + 1, self.bad_run + 1
        if self.bad_run >= BAD_RUN:
            raise DeviceFault(
                f"{self.spi.path}: {self.name}: {what}, {BAD_RUN} times in a row: "
                "lower speed_hz, shorter wires, a less busy processor?"
            )
        self.clear()
        lost = self.clock.missed(self.t_written)
        self.clock.advance(lost, self.t_written, self.t_written)
        return Frames(np.empty((0, 3), np.int16), np.empty(0, np.int64), lost)
