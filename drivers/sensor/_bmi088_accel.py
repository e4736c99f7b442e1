"""The accelerometer of a BMI088. Sources: see `_bmi088.py`."""

from __future__ import annotations

import time

import numpy as np

from agent.data import Array
from drivers.base import DeviceFault
from drivers.sensor._bmi088 import CHIP_ID, Chip, Frames
from drivers.sensor._spidev import SpiDevice

# DS 4.9.1 (as PX4 and AP have it), API FIFO_HEADER_*: the header without the tags in its two lowest bits, and the
# bytes that follow it
DATA, SKIP, SENSOR_TIME, CONFIGURATION, DROP, EMPTY = 0x84, 0x40, 0x44, 0x48, 0x50, 0x80
LENGTHS = {DATA: 6, SKIP: 1, SENSOR_TIME: 3, CONFIGURATION: 1, DROP: 1}
SIZE = 1024  # bytes of FIFO (PX4)
FIFO_RESET = 0xB0  # PX4: written to the register of the soft reset
TEMPERATURE_INVALID = 0x80  # DS 5.3.7


class Accelerometer(Chip):
    """Frames with headers, so that lost ones are counted by the chip itself."""

    name = "accelerometer"
    chip_id = 0x1E  # DS 5.3.1
    reset_register = 0x7E  # API REG_ACCEL_SOFTRESET
    # API ACCEL_SOFTRESET_DELAY_MS is 1; PX4 (pull request 12585) found that too short and waits 5
    reset_s = 0.005
    dummy = 1  # DS 6.1.2: the first byte of an answer is not valid

    ERROR = 0x02  # DS 5.3.2: bit 0 fatal, bits 4:2 error code
    TEMPERATURE = 0x22  # DS 5.3.7: MSB first
    FIFO_LENGTH, FIFO_DATA = 0x24, 0x26  # API: 14 bits; bit 15 is set when empty (AP)
    CONF, RANGE = 0x40, 0x41  # API
    FIFO_CONFIG_0, FIFO_CONFIG_1 = 0x48, 0x49  # API
    SELF_TEST = 0x6D  # API
    PWR_CONF, PWR_CTRL = 0x7C, 0x7D  # API
    RANGES = {3: 0, 6: 1, 12: 2, 24: 3}  # PX4, Linux
    RATES = {100: 0x08, 200: 0x09, 400: 0x0A, 800: 0x0B, 1600: 0x0C}  # API ACCEL_ODR_*: 1,000 Hz does not exist
    FILTERS = {"normal": 0xA0, "osr2": 0x90, "osr4": 0x80}  # API ACCEL_BW_*, in the upper four bits

    def __init__(self, spi: SpiDevice, range_g: int, rate_hz: int, bandwidth: str) -> None:
        settings = {
            self.CONF: self.FILTERS[bandwidth] | self.RATES[rate_hz],
            self.RANGE: self.RANGES[range_g],
            self.PWR_CONF: 0x00,  # API ACCEL_PM_ACTIVE
            self.PWR_CTRL: 0x04,  # API ACCEL_POWER_ENABLE
            self.FIFO_CONFIG_0: 0x02,  # PX4: bit 1 is always 1; bit 0 clear: the oldest frames are overwritten
            self.FIFO_CONFIG_1: 0x50,  # PX4: bit 6 acceleration, bit 4 is always 1
        }
        super().__init__(spi, rate_hz, settings)

    def start(self) -> None:
        self._to_spi()
        self.identify()
        self.reset()
        self._to_spi()
        self.identify()
        self._power_on()
        self.configure()
        error = self.read(self.ERROR)[0]
        if error & 0x1D:
            raise DeviceFault(f"{self.spi.path}: the accelerometer reports error 0x{error:02X}: switch it off and on")
        self.clear()

    def _to_spi(self) -> None:
        """DS 6.1: it starts as an I2C device; a rising edge of its chip select, as of any read, makes it SPI."""
        self.read(CHIP_ID)

    def _power_on(self) -> None:
        """It starts suspended, and ignores other settings until it is on."""
        self._write_checked(self.PWR_CONF, 0x00)
        time.sleep(0.005)  # API POWER_CONFIG_DELAY
        self._write_checked(self.PWR_CTRL, 0x04)
        time.sleep(0.050)  # DS 3, quick start; Linux waits 5 ms before it talks to the chip again

    def clear(self) -> None:
        self.write(self.reset_register, FIFO_RESET)

    def poll(self) -> Frames:
        before = self.now()
        length = int.from_bytes(self.read(self.FIFO_LENGTH, 2), "little")
        after = self.now()
        if length == 0xFFFF:
            self.identify()
        if length & 0x8000 or not length:
            return self._frames(np.empty((0, 3), np.int16), 0, before, after)
        if length > SIZE:
            return self._unreadable(f"a FIFO of {length} bytes")
        try:
            raw, lost = parse(self.read(self.FIFO_DATA, length))
        except ValueError as error:
            self.identify()
            return self._unreadable(str(error))
        return self._frames(raw, lost, before, after)

    def temperature_c(self) -> float | None:
        """None while the chip has no valid value. Measured every 1.28 s (DS 5.3.7)."""
        high, low = self.read(self.TEMPERATURE, 2)
        if high == TEMPERATURE_INVALID:
            return None
        return celsius(high, low)

    def test_itself(self) -> None:
        """DS 4.6.1 (API: the same values and waits): pushes the proof mass to both sides. Raises DeviceFault.

        Needs a sensor at rest. The settings are lost: call `start` afterwards.
        """
        self.write(self.RANGE, self.RANGES[24])
        self.write(self.CONF, 0xA7)
        time.sleep(0.003)
        deflected = [self._deflected(direction) for direction in (0x0D, 0x09)]
        self.write(self.SELF_TEST, 0x00)
        milli_g = (deflected[0] - deflected[1]) * (24_000 / 32768)
        if (milli_g < (1000, 1000, 500)).any():
            x, y, z = milli_g
            raise DeviceFault(
                f"{self.spi.path}: the accelerometer's self test moved x by {x:.0f}, y by {y:.0f}, z by {z:.0f} mg, "
                "not by 1000, 1000, 500: was it at rest? Else it is broken"
            )

    def _deflected(self, direction: int) -> Array:
        self.write(self.SELF_TEST, direction)
        time.sleep(0.050)
        return np.frombuffer(self.read(0x12, 6), "<i2").astype(np.float64)  # DS 5.3.4: data registers


def celsius(high: int, low: int) -> float:
    # DS 5.3.7: eleven bits, two's complement, 0.125 degrees each, 0 is 23 degrees
    value = high * 8 + low // 32
    return (value - 2048 if value > 1023 else value) * 0.125 + 23


def parse(data: bytes) -> tuple[Array, int]:
    """Acceleration int16 [k, 3] and how many frames the chip lost. Raises ValueError at an impossible header."""
    frames, lost, at = [], 0, 0
    while at < len(data):
        header = data[at] & 0xFC
        if header == EMPTY:
            break
        if header not in LENGTHS:
            raise ValueError(f"a FIFO frame with the header 0x{data[at]:02X}")
        body = data[at + 1 : at + 1 + LENGTHS[header]]
        at += 1 + LENGTHS[header]
        if len(body) < LENGTHS[header]:
            break  # the chip repeats a frame that was not read to its end
        if header == DATA:
            frames.append(body)
        elif header == SKIP:
            lost += body[0]  # at most 255: then it may have been more
    return np.frombuffer(b"".join(frames), "<i2").reshape(len(frames), 3), lost
