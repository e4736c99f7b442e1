"""Write GRUB's two BIOS stages into a raw image, as grub-bios-setup does for a disk: no loop device, no root.

Offsets: GRUB 2's include/grub/i386/pc/boot.h and boot/i386/pc/diskboot.S.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

SECTOR = 512
CORE_START = 1 << 20  # the BIOS boot partition
CORE_SIZE = 1 << 20
TABLE_START = 440  # disk signature and partition table are kept
KERNEL_SECTOR = 0x5C  # in boot.img: start of the second stage, u64
DRIVE_CHECK = 0x66  # in boot.img: a jump over the work-around for a BIOS that passes a wrong drive
BLOCKLIST = 0x200 - 12  # in core.img's first sector: start of the rest of it, u64


def link_stages(boot: bytes, core: bytes) -> tuple[bytes, bytes]:
    """(first 440 bytes of the disk, core image), each with the place of its next part."""
    first, rest = bytearray(boot[:SECTOR]), bytearray(core)
    struct.pack_into("<Q", first, KERNEL_SECTOR, CORE_START // SECTOR)
    first[DRIVE_CHECK : DRIVE_CHECK + 2] = b"\x90\x90"
    struct.pack_into("<Q", rest, BLOCKLIST, CORE_START // SECTOR + 1)
    return bytes(first[:TABLE_START]), bytes(rest)


def main() -> None:
    image, boot, core = (Path(name) for name in sys.argv[1:])
    first, rest = link_stages(boot.read_bytes(), core.read_bytes())
    if len(rest) > CORE_SIZE:
        sys.exit(f"{core}: {len(rest)} bytes, the BIOS boot partition has {CORE_SIZE}")
    with open(image, "r+b") as disk:
        disk.write(first)
        disk.seek(CORE_START)
        disk.write(rest)


if __name__ == "__main__":
    main()
