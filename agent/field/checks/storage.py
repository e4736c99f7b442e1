"""Room on the disks that reflexd writes to, and how worn they are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, read

LOW, EMPTY, PLENTY = 0.05, 0.01, 0.5  # shares that are free
LOW_MB, EMPTY_MB = 200, 20  # a ledger takes 2.4 MB, a recording 10; /run is small, and half free is plenty there
SMART = ("smartctl", "-j", "-a")
PRE_EOL = {2: "its spare blocks are 80 % used", 3: "its spare blocks are nearly used up"}


def checks(box: Box) -> Iterator[Check]:
    yield from space(places(box), os.statvfs)
    yield from emmc(box)
    yield from nvme(box)


def places(box: Box) -> list[Path]:
    """Folders that are written to, one for each file system."""
    wanted = [box.view.run_dir, box.config.state_dir, Path("/var/log"), Path("/")]
    found: dict[int, Path] = {}
    for place in wanted:
        while not os.path.exists(place) and place != place.parent:  # or not to be seen by this user
            place = place.parent
        found.setdefault(place.stat().st_dev, place)
    return list(found.values())


def space(folders: list[Path], ask: Callable[[Path], Any]) -> Iterator[Check]:
    """ask: os.statvfs."""
    for folder in folders:
        title = f"disk space {folder}"
        try:
            told = ask(folder)
        except OSError as error:
            yield Check(title, SKIP, f"cannot be asked: {error.strerror}")
            continue
        yield _room(
            title, told.f_bavail * told.f_frsize / 1e6, told.f_blocks * told.f_frsize / 1e6, _inodes(told), folder
        )


def _inodes(told: Any) -> float:
    """Share that is free; file systems without a fixed number say 0 of 0."""
    return told.f_favail / told.f_files if told.f_files else 1.0


def _room(title: str, free_mb: float, total_mb: float, free_files: float, folder: Path) -> Check:
    share = free_mb / total_mb if total_mb else 0.0
    cause = f"{free_mb / 1e3:.1f} of {total_mb / 1e3:.1f} GB free"
    if free_files < LOW:
        cause += f", {free_files:.0%} of the file names"
    effect = "ledgers and recordings cannot be made: the daemon does not start"
    mend = f"sudo du -xh {folder} | sort -h | tail; sudo journalctl --vacuum-size=200M"
    if free_mb < EMPTY_MB or free_files < EMPTY:
        return Check(title, BAD, cause, effect, mend)
    if (free_mb < LOW_MB and share < PLENTY) or free_files < LOW or (share < LOW and free_mb < 10 * LOW_MB):
        return Check(title, WARN, cause, f"soon {effect}", mend)
    return Check(title, GOOD, cause)


def emmc(box: Box) -> Iterator[Check]:
    """JESD84-B51: life_time is two estimates in tenths, 0x01 up to 10 % used, 0x0b beyond its life; pre_eol_info 1 normal."""
    for folder in box.glob("sys/block/mmcblk*/device"):
        tenths = [int(one, 16) for one in re.findall(r"0x[0-9a-fA-F]{1,2}", read(folder / "life_time"))]
        spare = re.findall(r"0x[0-9a-fA-F]{1,2}", read(folder / "pre_eol_info"))
        used = max(tenths, default=0)
        if used:  # an SD card does not tell
            yield _worn(f"wear of {folder.parent.name}", used * 10, PRE_EOL.get(int(spare[0], 16) if spare else 0, ""))


def _worn(title: str, percent: int, trouble: str) -> Check:
    cause = "beyond its life" if percent > 100 else f"up to {percent} % used"
    cause += f", {trouble}" if trouble else ""
    effect = "it turns read-only or loses data, often at a power cut"
    mend = "copy the configuration and models, replace it; less writing: keep run_dir on tmpfs, fewer recordings"
    if percent > 100 or "nearly" in trouble:
        return Check(title, BAD, cause, effect, mend)
    if percent >= 80 or trouble:
        return Check(title, WARN, cause, effect, mend)
    return Check(title, GOOD, cause)


def nvme(box: Box) -> Iterator[Check]:
    for folder in box.glob("sys/class/nvme/nvme*"):
        told = box.tool([*SMART, f"/dev/{folder.name}"])
        found = _health_of(told)
        if found is None:
            yield Check(
                f"wear of {folder.name}", SKIP, "smartctl gives no answer: as root? apt-get install smartmontools"
            )
        else:
            yield _worn(f"wear of {folder.name}", *found)


def _health_of(told: str | None) -> tuple[int, str] | None:
    """(percent used, trouble) of `smartctl -j -a`."""
    try:
        log = json.loads(told or "")["nvme_smart_health_information_log"]
        warning = int(log.get("critical_warning", 0))
        return int(log["percentage_used"]), f"critical warning 0x{warning:02x}, spare nearly used up" if warning else ""
    except (ValueError, KeyError, TypeError):
        return None
