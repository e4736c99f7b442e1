"""Which device a name leads to: the same answer for links, several nodes of one number, two numbers of one port."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SYSTEM = Path("/sys")
# Of /dev/pts, where only the node that the kernel has made can be opened, and each mount counts from 0.
PSEUDO_TERMINALS = range(136, 144)
# A device of these is one port. Not of others: a USB interface or a PCI card may have several ports, and one parent.
PORT_BUSES = ("usb-serial", "serial-base")
PORT_DRIVERS = ("cdc_acm",)


def identity(name: str, system: Path = SYSTEM) -> str:
    """Of a device or a file; of one that is not there, its path without links."""
    try:
        entry = os.stat(name)
    except (OSError, ValueError):
        return os.path.realpath(name)
    if not stat.S_ISCHR(entry.st_mode):
        return f"file {entry.st_dev}:{entry.st_ino}"  # hard links share it
    number = f"{os.major(entry.st_rdev)}:{os.minor(entry.st_rdev)}"
    return _port(system / "dev/char" / number / "device") or f"device {number}"


def has_other_nodes(name: str) -> bool:
    """A lock of its node does not keep those out who open another one of the same device."""
    try:
        entry = os.stat(name)
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(entry.st_mode) and os.major(entry.st_rdev) not in PSEUDO_TERMINALS


def _port(device: Path) -> str:
    """Where the kernel has the port, whatever its number; empty for what is no port of its own."""
    bus, driver = (os.path.basename(os.path.realpath(device / link)) for link in ("subsystem", "driver"))
    return os.path.realpath(device) if bus in PORT_BUSES or driver in PORT_DRIVERS else ""
