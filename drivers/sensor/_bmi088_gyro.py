"""The gyroscope of a BMI088. Sources: see `_bmi088.py`."""

from __future__ import annotations

import numpy as np

from drivers.sensor._bmi088 import Chip, Frames
from drivers.sensor._spidev import SpiDevice


class Gyroscope(Chip):
    """Frames of six bytes without header: what is no multiple of six turns the axes, and nothing shows it."""

    name = "gyroscope"
    chip_id = 0x0F  # DS 5.5.1
    reset_register = 0x14  # API REG_GYRO_SOFTRESET
    reset_s = 0.030  # API GYRO_SOFTRESET_DELAY

    FIFO_STATUS = 0x0E  # API: bit 7 overrun, bits 6:0 frames
    RANGE, BANDWIDTH, LPM1, RATE_HBW = 0x0F, 0x10, 0x11, 0x13  # API; 0x13 AP: 0 is filtered, MSB and LSB locked
    FIFO_CONFIG_0, FIFO_CONFIG_1 = 0x3D, 0x3E  # API
    FIFO_DATA = 0x3F  # API
    STREAM = 0x80  # API GYRO_FIFO_MODE_STREAM, all axes; 0x40 stops when full
    DEPTH = 100  # PX4: frames in FIFO mode
    RANGES = {2000: 0, 1000: 1, 500: 2, 250: 3, 125: 4}  # API GYRO_RANGE (PX4 has other codes for 250 and 125)
    # API GYRO_BW_*: (rate, bandwidth) in Hz; bit 7 always reads 1 (API GYRO_ODR_RESET_VAL, AP writes 0x8_)
    RATES = {
        (2000, 532): 0x80,
        (2000, 230): 0x81,
        (1000, 116): 0x82,
        (400, 47): 0x83,
        (200, 23): 0x84,
        (100, 12): 0x85,
        (200, 64): 0x86,
        (100, 32): 0x87,
    }

    def __init__(self, spi: SpiDevice, range_dps: int, rate_hz: int, bandwidth_hz: int) -> None:
        settings = {
            self.RANGE: self.RANGES[range_dps],
            self.BANDWIDTH: self.RATES[rate_hz, bandwidth_hz],
            self.LPM1: 0x00,  # API GYRO_PM_NORMAL
            self.RATE_HBW: 0x00,
            self.FIFO_CONFIG_0: 0x00,  # no tag in the lowest bit of the data
            self.FIFO_CONFIG_1: self.STREAM,
        }
        super().__init__(spi, rate_hz, settings)

    def start(self) -> None:
        self.identify()
        self.reset()
        self.identify()
        self.configure()
        self.clear()

    def clear(self) -> None:
        """PX4: writing FIFO_CONFIG_0 empties the FIFO, only writing FIFO_CONFIG_1 clears the overrun."""
        self.write(self.FIFO_CONFIG_0, 0x00)
        self.write(self.FIFO_CONFIG_1, self.STREAM)

    def poll(self) -> Frames:
        # AP saw the axes exchanged after an overrun (commit 204d32c), so all of the FIFO is then lost
        before = self.now()
        status = self.read(self.FIFO_STATUS)[0]
        after = self.now()
        count = status & 0x7F
        if count > self.DEPTH:
            self.identify()
            return self._unreadable(f"{count} frames in a FIFO of {self.DEPTH}")
        if status & 0x80:
            return self._unreadable("its FIFO overran")
        if not count:
            return self._frames(np.empty((0, 3), np.int16), 0, before, after)
        data = self.read(self.FIFO_DATA, 6 * count)
        # the process may have stood still between the two reads, and the FIFO may have overrun meanwhile
        if (self.now() - before) * 2 > (self.DEPTH - count) * self.clock.period_ns:
            return self._unreadable("its FIFO overran")
        return self._frames(np.frombuffer(data, "<i2").reshape(count, 3), 0, before, after)
