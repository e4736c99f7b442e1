"""The outside of a Silicon Labs CP2112: a USB chip with eight GPIO lines, for the kernel's own driver hid-cp2112.

Where a kernel has no gpio-sim (Debian's has none): the driver is the real one, and this process, through /dev/uhid, is
the USB device. It answers the feature reports of AN495 that the driver asks for.

    echo '{"pull": {"3": 1}}' | python -m agent.benches.io.cp2112

One JSON line out for each line in: {"chip": "gpiochip1", "outputs": mask, "levels": mask}.
"""

from __future__ import annotations

import json
import os
import select
import struct
import sys
from contextlib import suppress
from pathlib import Path

UHID = "/dev/uhid"
DEVICES = Path("/sys/devices/virtual/misc/uhid")
# linux/uhid.h: types of events
DESTROY, GET_REPORT, GET_REPLY, CREATE, SET_REPORT, SET_REPLY = 1, 9, 10, 11, 13, 14
EVENT = 8192  # larger than any
USB, VENDOR, PRODUCT = 3, 0x10C4, 0xEA90
# a vendor's page with one feature report; the driver asks for its reports by number, whatever is described
DESCRIPTOR = bytes.fromhex("0600ff 0901 a101 8502 0901 150026ff00 7508 9504 b102 c0")
# AN495: numbers of feature reports
CONFIG, GET, SET = 0x02, 0x03, 0x04
CONSTANT = {
    0x05: bytes.fromhex("05 0c 03"),  # part 12, version 3
    0x06: bytes.fromhex("06 000186a0 02 00 0000 0000 00 0000"),  # SMBus at 100 kHz, no time-outs
    0x20: bytes.fromhex("20 00"),  # its memory is locked
}


class Device:
    """outputs, latch, inputs: masks of the eight lines."""

    def __init__(self) -> None:
        self.outputs = self.latch = self.inputs = 0
        self.unique = f"reflexd-{os.getpid()}"
        self.fd = os.open(UHID, os.O_RDWR | os.O_CLOEXEC)
        self._create()

    def _create(self) -> None:
        identity = struct.pack("=128s64s64s", b"CP2112", b"", self.unique.encode())
        numbers = struct.pack("=HHIIII", len(DESCRIPTOR), USB, VENDOR, PRODUCT, 0, 0)
        os.write(self.fd, struct.pack("=I", CREATE) + identity + numbers + DESCRIPTOR)

    @property
    def levels(self) -> int:
        return (self.latch & self.outputs) | (self.inputs & ~self.outputs & 0xFF)

    def handle(self) -> None:
        """One event of the kernel."""
        event = os.read(self.fd, EVENT)
        (kind,) = struct.unpack_from("=I", event)
        if kind == GET_REPORT:
            request, number, _ = struct.unpack_from("=IBB", event, 4)
            data = self._report(number)
            os.write(self.fd, struct.pack("=IIHH", GET_REPLY, request, 0 if data else 5, len(data)) + data)
        elif kind == SET_REPORT:
            request, number, _, size = struct.unpack_from("=IBBH", event, 4)
            self._set(number, event[12 : 12 + size])
            os.write(self.fd, struct.pack("=IIH", SET_REPLY, request, 0))

    def _report(self, number: int) -> bytes:
        if number == CONFIG:
            return bytes([CONFIG, self.outputs, 0xFF, 0, 0])
        if number == GET:
            return bytes([GET, self.levels])
        return CONSTANT.get(number, b"")

    def _set(self, number: int, data: bytes) -> None:
        if number == CONFIG:
            self.outputs = data[1]
        elif number == SET:  # levels, and which lines
            self.latch = (self.latch & ~data[2]) | (data[1] & data[2])

    def chip(self) -> str:
        """Name of the kernel's chip; empty until the driver has made it."""
        for folder in DEVICES.glob("*:10C4:EA90.*"):
            with suppress(OSError):
                if f"HID_UNIQ={self.unique}" in (folder / "uevent").read_text().split():
                    return next((path.name for path in folder.glob("gpiochip*")), "")
        return ""

    def pull(self, lines: dict[str, int]) -> None:
        for line, high in lines.items():
            bit = 1 << int(line)
            self.inputs = self.inputs | bit if high else self.inputs & ~bit


def main() -> None:
    device = Device()
    ready = select.poll()
    for fd in (device.fd, sys.stdin.fileno()):
        ready.register(fd, select.POLLIN)
    while True:
        for fd, _ in ready.poll():
            if fd == device.fd:
                device.handle()
                continue
            line = sys.stdin.readline()
            if not line:  # the kernel removes the device with the descriptor
                return
            device.pull(json.loads(line).get("pull", {}))
            state = {"chip": device.chip(), "outputs": device.outputs, "levels": device.levels}
            print(json.dumps(state), flush=True)


if __name__ == "__main__":
    main()
