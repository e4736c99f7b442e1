"""A GPIO chip for actuator.gpio: the kernel's gpio-sim, or its driver of a USB chip that a child process plays.

Needs root, and the modules gpio-sim (with configfs) or uhid and hid-cp2112.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agent.benches.io import cp2112

CONFIG = Path("/sys/kernel/config/gpio-sim")
DEVICES = Path("/sys/devices/platform")
LINES, BARE = 8, 7
READY_S = 60.0
# linux/gpio.h: _IOWR(0xB4, 0x0F, struct gpio_v2_line_values), which is two words of 64 bits: levels, and which of them
SET_VALUES = 0xC010B40F
VALUES = struct.Struct("=QQ")


class SimChip:
    """The outside of a simulated chip's lines. path: its device. polled: it looks for edges only now and then."""

    polled = False

    def __init__(self, folder: Path) -> None:
        name = (folder / "bank0/chip_name").read_text().strip()
        self.path = f"/dev/{name}"
        self.lines = DEVICES / (folder / "dev_name").read_text().strip() / name

    def level(self, line: int) -> int:
        return int((self.lines / f"sim_gpio{line}/value").read_text())

    def pull(self, line: int, up: bool) -> None:
        """What an input then reads."""
        (self.lines / f"sim_gpio{line}/pull").write_text("pull-up" if up else "pull-down")


class UsbChip:
    """The outside of a CP2112. The kernel asks it for its levels every ten ticks, 40 ms."""

    polled = True

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        end = time.monotonic() + READY_S
        while not (name := self._ask()["chip"]):
            if time.monotonic() > end:
                raise OSError("the kernel makes no chip of it: modprobe hid-cp2112")
            time.sleep(0.05)
        self.path = f"/dev/{name}"

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise OSError("the process that plays a CP2112 has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def level(self, line: int) -> int:
        return int(self._ask()["levels"]) >> line & 1

    def pull(self, line: int, up: bool) -> None:
        self._ask(pull={line: int(up)})


Chip = SimChip | UsbChip


def reason() -> str:
    """Why this machine cannot; empty where it can."""
    if CONFIG.is_dir() and os.access(CONFIG, os.W_OK):
        return ""
    if os.access(cp2112.UHID, os.R_OK | os.W_OK):
        return ""
    return (
        "no gpio-sim (modprobe gpio-sim; configfs) and no /dev/uhid (modprobe uhid hid-cp2112) that this user may use"
    )


@contextmanager
def chip() -> Iterator[Chip]:
    """Raises OSError where the kernel makes none."""
    with _sim() if CONFIG.is_dir() else _usb() as made:
        yield made


@contextmanager
def _usb() -> Iterator[Chip]:
    command = [sys.executable, "-m", cp2112.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield UsbChip(child)
        finally:
            child.kill()


@contextmanager
def _sim() -> Iterator[Chip]:
    folder = CONFIG / f"reflexd-{os.getpid()}"
    try:
        (folder / "bank0").mkdir(parents=True)
        (folder / "bank0/num_lines").write_text(str(LINES))
        (folder / "live").write_text("1")
        yield SimChip(folder)
    finally:
        with suppress(OSError):  # where it could not be made
            (folder / "live").write_text("0")
        for path in (folder / "bank0", folder):
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
