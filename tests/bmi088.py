"""A simulated BMI088: two register files that obey the data sheet, behind spidev's ioctl, on an injected clock."""

from __future__ import annotations

import os
import struct
from ctypes import memmove, string_at

from drivers.sensor import _spidev

PENDING = 400  # frames that are made one by one; of a longer silence only the last are


class Clock:
    """Stands for the module `time`."""

    def __init__(self):
        self.ns = 5_000_000_000_000

    def monotonic_ns(self):
        return self.ns

    def sleep(self, seconds):
        self.ns += max(0, round(seconds * 1e9))


class Chip:
    """motion: frame number -> three int16. slow: the chip's clock is slower by this share. taken: moments of frames."""

    reset_ns = 0

    def __init__(self, clock, motion):
        self.clock, self.motion = clock, motion
        self.slow = 0.0
        self.ignored = []  # writes without effect
        self.power_up()

    def power_up(self):
        self.registers = dict(self.defaults)
        self.fifo, self.number, self.moments = [], 0, {}
        self.usable = self.clock.ns + self.reset_ns
        self.due = None

    def restart_sampling(self):
        rate = self.rate()
        self.period = 1e9 / rate * (1 + self.slow) if rate else 0
        self.due = self.clock.ns + self.period if rate else None

    def advance(self):
        if self.due is None:
            return
        late = int((self.clock.ns - self.due) / self.period) - PENDING
        if late > 0:
            self.number, self.due = self.number + late, self.due + late * self.period
            self.skip(late)
        while self.due <= self.clock.ns:
            self.moments[self.number] = self.due
            self.push(struct.pack("<3h", *self.motion(self.number)))
            self.number, self.due = self.number + 1, self.due + self.period

    def transfer(self, sent):
        self.advance()
        address, body = sent[0] & 0x7F, sent[1:]
        if sent[0] & 0x80:
            return bytes(1) + self.answer(address, len(body))
        if self.clock.ns < self.usable or not self.write(address, body[0]):
            self.ignored.append((address, body[0]))
        return bytes(len(sent))

    def plain(self, address, count):
        return bytes(self.registers.get(address + at, 0) for at in range(count))


class Gyroscope(Chip):
    reset_ns = 30_000_000
    defaults = {0x00: 0x0F, 0x0F: 0, 0x10: 0x80, 0x11: 0, 0x13: 0, 0x3D: 0, 0x3E: 0}
    depth = 100

    def power_up(self):
        super().power_up()
        self.overrun = False
        self.restart_sampling()

    def rate(self):
        return (2000, 2000, 1000, 400, 200, 100, 200, 100)[self.registers[0x10] & 7]

    def skip(self, count):
        self.overrun = self.registers[0x3E] == 0x80

    def push(self, frame):
        if self.registers[0x3E] != 0x80:
            return
        self.fifo.append(frame)
        if len(self.fifo) > self.depth:
            del self.fifo[0]
            self.overrun = True

    def answer(self, address, count):
        if self.clock.ns < self.usable:
            return bytes(count)
        if address == 0x0E:
            return bytes((len(self.fifo) | self.overrun << 7,)) * count
        if address != 0x3F:
            return self.plain(address, count)
        data = b"".join(self.fifo[: count // 6])
        del self.fifo[: count // 6]
        # as ArduPilot saw it: after an overrun the axes are exchanged
        return (data[4:] + data[:4] if self.overrun else data).ljust(count, b"\0")

    def write(self, address, value):
        if address == 0x14 and value == 0xB6:
            self.power_up()
        elif address not in self.registers or address == 0x00:
            return False
        else:
            self.registers[address] = value | (0x80 if address == 0x10 else 0)
            if address in (0x3D, 0x3E):
                self.fifo.clear()
                self.overrun = self.overrun and address != 0x3E
            if address == 0x10:
                self.restart_sampling()
        return True


class Accelerometer(Chip):
    reset_ns = 1_000_000
    # DS: it starts suspended (0x7C is 3) and off (0x7D is 0), 100 Hz, 6 g
    defaults = {0x00: 0x1E, 0x02: 0, 0x22: 0, 0x23: 0, 0x40: 0xA8, 0x41: 0x01, 0x48: 0x02, 0x49: 0x10, 0x6D: 0}
    defaults |= {0x7C: 0x03, 0x7D: 0x00}
    size = 1024
    deflection = (2000, 2000, 1500)  # raw, of the self test

    def power_up(self):
        super().power_up()
        self.spi = False
        self.skipped = 0
        self.written = 0  # when the last register was

    def rate(self):
        on = self.registers[0x7C] == 0 and self.registers[0x7D] == 4
        return 12.5 * 2 ** ((self.registers[0x40] & 15) - 5) if on else 0

    def skip(self, count):
        self.skipped += count

    def push(self, frame):
        if self.registers[0x49] & 0x40:
            self.append(b"\x84" + frame)

    def append(self, frame):
        self.fifo.append(frame)
        while sum(map(len, self.fifo)) > self.size - 2:
            self.skipped += self.fifo.pop(0)[0] == 0x84

    def answer(self, address, count):
        if not self.spi or self.clock.ns < self.usable:
            self.spi = True  # DS 6.1: with the rising edge of this very access
            return b"\xff" * count
        return b"\x5a" + self.content(address, count - 1)  # the dummy byte

    def content(self, address, count):
        skip = bytes((0x40, min(self.skipped, 255))) if self.skipped else b""
        if address == 0x24:
            length = len(skip) + sum(map(len, self.fifo))
            return (length or 0x8000).to_bytes(2, "little")[:count]
        if address == 0x12 and self.registers[0x6D]:
            sign = 1 if self.registers[0x6D] == 0x0D else -1
            return struct.pack("<3h", *(sign * value for value in self.deflection))[:count]
        if address != 0x26:
            return self.plain(address, count)
        data, self.skipped = skip, 0
        while self.fifo and len(data) + len(self.fifo[0]) <= count:
            data += self.fifo.pop(0)
        return data.ljust(count, b"\x80")

    def write(self, address, value):
        suspended = self.registers[0x7C] == 3 or self.registers[0x7D] == 0
        early, self.written = self.clock.ns - self.written < (1_000_000 if suspended else 2_000), self.clock.ns
        if early or not self.spi:
            return False
        if address == 0x7E:
            if value == 0xB6:
                self.power_up()
            self.fifo, self.skipped = [], 0
        elif address not in self.registers or address < 0x40 or (suspended and address not in (0x7C, 0x7D)):
            return False
        else:
            self.registers[address] = value
            if address in (0x40, 0x7C, 0x7D):
                self.restart_sampling()
        return True


class Bus:
    """Replaces ioctl. failing: errno of transfers. stuck: all that is received. before: called before each transfer."""

    def __init__(self, clock, chips):
        """chips: path -> chip."""
        self.clock, self.chips = clock, chips
        self.failing, self.stuck, self.before = 0, None, lambda path, sent: None
        self.settings = {}

    def ioctl(self, fd, request, argument):
        path = os.readlink(f"/proc/self/fd/{fd}")
        if request != _spidev.MESSAGE:
            self.settings[request] = bytes(argument)
            return
        if self.failing:
            raise OSError(self.failing, os.strerror(self.failing))
        assert argument.bits_per_word == 8
        sent = string_at(argument.tx_buf, argument.len)
        self.before(path, sent)
        self.clock.sleep(20e-6 + argument.len * 8 / argument.speed_hz)
        received = self.chips[path].transfer(sent)
        if self.stuck is not None:
            received = bytes((self.stuck,)) * len(sent)
        assert len(received) == len(sent)
        memmove(argument.rx_buf, received, len(sent))
