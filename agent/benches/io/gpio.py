"""A chip of the kernel's module gpio-sim for actuator.gpio. Needs root and the module; configfs is mounted."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CONFIG = Path("/sys/kernel/config/gpio-sim")
DEVICES = Path("/sys/devices/platform")
LINES, BARE = 8, 7
# linux/gpio.h: _IOWR(0xB4, 0x0F, struct gpio_v2_line_values), which is two words of 64 bits: levels, and which of them
SET_VALUES = 0xC010B40F
VALUES = struct.Struct("=QQ")


class Chip:
    """A simulated chip: the outside of its lines. path: its device."""

    def __init__(self, folder: Path) -> None:
        name = (folder / "bank0/chip_name").read_text().strip()
        self.folder = folder
        self.path = f"/dev/{name}"
        self.lines = DEVICES / (folder / "dev_name").read_text().strip() / name

    def level(self, line: int) -> int:
        return int((self.lines / f"sim_gpio{line}/value").read_text())

    def pull(self, line: int, up: bool) -> None:
        """What an input then reads."""
        (self.lines / f"sim_gpio{line}/pull").write_text("pull-up" if up else "pull-down")

    def unplug(self) -> None:
        (self.folder / "live").write_text("0")


def reason() -> str:
    """Why this machine cannot; empty where it can."""
    if not CONFIG.is_dir():
        return "this kernel has no gpio-sim (modprobe gpio-sim), or configfs is not mounted"
    return "" if os.access(CONFIG, os.W_OK) else "only root can make a simulated chip"


@contextmanager
def chip(name: str = "reflexd", named: dict[int, str] | None = None) -> Iterator[Chip]:
    """named: names of lines, by offset."""
    folder = CONFIG / f"{name}-{os.getpid()}"
    made = [folder, folder / "bank0", *(folder / f"bank0/line{line}" for line in named or {})]
    try:
        for path in made:
            path.mkdir()
        (folder / "bank0/num_lines").write_text(str(LINES))
        for line, line_name in (named or {}).items():
            (folder / f"bank0/line{line}/name").write_text(line_name)
        (folder / "live").write_text("1")
        yield Chip(folder)
    finally:
        with suppress(OSError):  # not yet made, or unplugged by a test
            (folder / "live").write_text("0")
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir()


@contextmanager
def server() -> Iterator[dict[str, Any]]:
    """Yields the driver's options."""
    with chip() as made:
        yield {"chip": made.path, "lines": {"on": {0: True}, "off": {0: False}}, "safe": "off"}


@contextmanager
def bare(options: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """One system call on another line of the chip. options: those that `server` yields."""
    import gpiod
    from gpiod.line import Direction

    values = VALUES.pack(1, 1)
    with gpiod.request_lines(options["chip"], {BARE: gpiod.LineSettings(direction=Direction.OUTPUT)}) as request:

        def switch() -> None:
            fcntl.ioctl(request.fd, SET_VALUES, values)

        yield switch
