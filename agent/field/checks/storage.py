"""Free space on the disks that reflexd writes to, and their wear."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, read_text

LOW, EMPTY, PLENTY = 0.05, 0.01, 0.5  # shares that are free
LOW_MB, EMPTY_MB = 200, 20  # a ledger takes 2.4 MB, a recording 10; /run is small, and half free is plenty there
SMART = ("smartctl", "-j", "-a")
PRE_EOL = {2: "its spare blocks are 80 % used", 3: "its spare blocks are nearly used up"}


def checks(box: Box) -> Iterator[Check]:
    yield from space(folders(box), os.statvfs)
    yield from emmc(box)
    yield from nvme(box)


def folders(box: Box) -> list[Path]:
    """Folders that are written to, one for each file system."""
    by_device: dict[int, Path] = {}
    for folder in (box.view.run_dir, box.config.state_dir, Path("/var/log"), Path("/")):
        while not os.path.exists(folder) and folder != folder.parent:  # or not readable by this user
            folder = folder.parent
        by_device.setdefault(folder.stat().st_dev, folder)
    return list(by_device.values())


def space(folders: list[Path], statvfs: Callable[[Path], Any]) -> Iterator[Check]:
    for folder in folders:
        try:
            usage = statvfs(folder)
        except OSError as error:
            yield Check(f"disk space {folder}", SKIP, f"cannot be read: {error.strerror}")
            continue
        free_mb, total_mb = usage.f_bavail * usage.f_frsize / 1e6, usage.f_blocks * usage.f_frsize / 1e6
        yield _space_on(folder, free_mb, total_mb, _free_inodes(usage))


def _free_inodes(usage: Any) -> float:
    """Share that is free; file systems without a fixed number report 0 of 0."""
    return usage.f_favail / usage.f_files if usage.f_files else 1.0


def _space_on(folder: Path, free_mb: float, total_mb: float, free_inodes: float) -> Check:
    title, share = f"disk space {folder}", free_mb / total_mb if total_mb else 0.0
    cause = f"{free_mb / 1e3:.1f} of {total_mb / 1e3:.1f} GB free"
    if free_inodes < LOW:
        cause += f", {free_inodes:.0%} of the inodes"
    effect = "ledgers and recordings cannot be made: the daemon does not start"
    fix = f"sudo du -xh {folder} | sort -h | tail; sudo journalctl --vacuum-size=200M"
    if free_mb < EMPTY_MB or free_inodes < EMPTY:
        return Check(title, BAD, cause, effect, fix)
    if (free_mb < LOW_MB and share < PLENTY) or free_inodes < LOW or (share < LOW and free_mb < 10 * LOW_MB):
        return Check(title, WARN, cause, f"soon {effect}", fix)
    return Check(title, GOOD, cause)


def emmc(box: Box) -> Iterator[Check]:
    """JESD84-B51. life_time: two estimates in tenths, 0x01 up to 10 % used, 0x0b worn out; pre_eol_info 1: normal."""
    for folder in box.glob("sys/block/mmcblk*/device"):
        tenths = [int(digits, 16) for digits in re.findall(r"0x[0-9a-fA-F]{1,2}", read_text(folder / "life_time"))]
        spare = re.findall(r"0x[0-9a-fA-F]{1,2}", read_text(folder / "pre_eol_info"))
        used = max(tenths, default=0)
        if used:  # an SD card reports none
            yield _wear(folder.parent.name, used * 10, PRE_EOL.get(int(spare[0], 16) if spare else 0, ""))


def _wear(name: str, percent: int, trouble: str) -> Check:
    cause = "beyond its life" if percent > 100 else f"up to {percent} % used"
    cause += f", {trouble}" if trouble else ""
    effect = "it turns read-only or loses data, often at a power cut"
    fix = "copy the configuration and models, replace it; less writing: keep run_dir on tmpfs, fewer recordings"
    if percent > 100 or "nearly" in trouble:
        return Check(f"wear of {name}", BAD, cause, effect, fix)
    if percent >= 80 or trouble:
        return Check(f"wear of {name}", WARN, cause, effect, fix)
    return Check(f"wear of {name}", GOOD, cause)


def nvme(box: Box) -> Iterator[Check]:
    for folder in box.glob("sys/class/nvme/nvme*"):
        health = _smart_health(box.tool([*SMART, f"/dev/{folder.name}"]))
        if health is None:
            cause = "smartctl gives no answer: as root? apt-get install smartmontools"
            yield Check(f"wear of {folder.name}", SKIP, cause)
        else:
            yield _wear(folder.name, *health)


def _smart_health(stdout: str | None) -> tuple[int, str] | None:
    """(percent used, trouble) of `smartctl -j -a`."""
    try:
        log = json.loads(stdout or "")["nvme_smart_health_information_log"]
        warning = int(log.get("critical_warning", 0))
        return int(log["percentage_used"]), f"critical warning 0x{warning:02x}, spare nearly used up" if warning else ""
    except (ValueError, KeyError, TypeError):
        return None
