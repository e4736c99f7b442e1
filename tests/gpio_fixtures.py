"""A scripted chip in place of the kernel's: what gpiod asks of it, and what it answers."""

import errno
import os
from types import SimpleNamespace

import gpiod
from gpiod.line import Value

NAMES = {"horn": 4, "lamp": 5}
RISING, FALLING = gpiod.EdgeEvent.Type.RISING_EDGE, gpiod.EdgeEvent.Type.FALLING_EDGE


class Kernel:
    """levels: by offset, as the wire has them. failing: errno of every call, or 0. stuck: lines that do not follow."""

    def __init__(self):
        self.levels = {}
        self.settings = {}
        self.history = []
        self.events = []
        self.seqnos = {}
        self.failing = 0
        self.stuck = set()
        self.held = None
        self.reader, self.writer = os.pipe()

    def check(self):
        if self.failing:
            raise OSError(self.failing, os.strerror(self.failing))

    def edge(self, line, active, stamp, lost=0):
        """An edge on the wire, after `lost` others for which there was no room."""
        self.seqnos[line] = self.seqnos.get(line, 0) + 1 + lost
        kind = RISING if active else FALLING
        self.events.append(gpiod.EdgeEvent(kind.value, stamp, line, 0, self.seqnos[line]))
        self.levels[line] = active
        os.write(self.writer, b"x")

    def close(self):
        os.close(self.reader)
        os.close(self.writer)

    def chip(self, path):
        """In place of gpiod.Chip."""
        self.check()
        return Chip(self)


class Chip:
    def __init__(self, kernel):
        self.kernel = kernel

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def get_info(self):
        return gpiod.ChipInfo("gpiochip9", "scripted", 8)

    def line_offset_from_id(self, line):
        if isinstance(line, int):
            if line >= 8:
                raise ValueError("line offset of out range")
            return line
        if line not in NAMES:
            raise OSError(errno.ENOENT, "No such file or directory")
        return NAMES[line]

    def get_line_info(self, line):
        held = self.kernel.held is not None and self.line_offset_from_id(line) in self.kernel.held.lines
        return SimpleNamespace(used=held, consumer="reflexd" if held else "")

    def request_lines(self, config, consumer, buffer):
        if self.kernel.held is not None:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.kernel.held = Request(self.kernel, config)
        return self.kernel.held


class Request:
    def __init__(self, kernel, config):
        self.kernel = kernel
        self.lines = list(config)
        self.fd = kernel.reader
        kernel.settings = config
        kernel.seqnos = {}
        for line, settings in config.items():
            if settings.direction is gpiod.line.Direction.OUTPUT:
                kernel.levels[line] = bool(settings.output_value) != settings.active_low
        kernel.history.append(dict(kernel.levels))

    def set_values(self, values):
        self.kernel.check()
        for line, value in values.items():
            if line not in self.kernel.stuck:
                self.kernel.levels[line] = bool(value) != self.kernel.settings[line].active_low
        self.kernel.history.append(dict(self.kernel.levels))

    def get_values(self, lines=None):
        self.kernel.check()
        levels = (
            self.kernel.levels.get(line, False) != self.kernel.settings[line].active_low for line in lines or self.lines
        )
        return [Value.ACTIVE if level else Value.INACTIVE for level in levels]

    def read_edge_events(self, count):
        self.kernel.check()
        events = self.kernel.events[:count]
        del self.kernel.events[:count]
        os.read(self.kernel.reader, len(events) or 1)
        return events

    def release(self):
        self.kernel.held = None
