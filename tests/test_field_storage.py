"""The doctor's checks of disks, heat and throttling, on made-up boards: a Jetson, a Raspberry Pi, a server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.field.checks import heat, storage
from agent.field.checks.base import BAD, GOOD, SKIP, WARN
from tests.field_fixtures import box, complete, configuration, write_files

CPU, ZONE, COOL = "sys/devices/system/cpu", "sys/class/thermal/thermal_zone0", "sys/class/thermal/cooling_device0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return configuration(tmp_path)


@pytest.mark.parametrize(
    ("blocks", "free", "files", "state"),
    [
        (10_000_000, 5_000_000, 100, GOOD),
        (10_000_000, 30_000, 100, WARN),
        (10_000_000, 3_000, 100, BAD),
        (10_000_000, 5_000_000, 3, WARN),
        (100_000_000, 800_000, 100, GOOD),
        (25_000, 24_000, 100, GOOD),
        (0, 0, 0, BAD),
    ],
)
def test_free_space_on_a_disk(tmp_path: Path, blocks: int, free: int, files: int, state: str) -> None:
    disk = SimpleNamespace(f_frsize=4096, f_blocks=blocks, f_bavail=free, f_files=100 if files else 0, f_favail=files)
    (check,) = storage.space([tmp_path], lambda _: disk)
    assert complete(check).state == state


def test_a_folder_that_does_not_exist_yet_is_checked_at_its_parent(path: Path, tmp_path: Path) -> None:
    assert all(folder.exists() for folder in storage.folders(box(path)))
    assert {folder.stat().st_dev for folder in storage.folders(box(path))} >= {tmp_path.stat().st_dev}


def test_wear_of_an_emmc(path: Path, tmp_path: Path) -> None:
    for name, life, spare, state in (
        ("a", "0x01 0x02", "0x01", GOOD),
        ("b", "0x09 0x01", "0x01", WARN),
        ("c", "0x0b 0x01", "0x01", BAD),
        ("d", "0x01 0x01", "0x02", WARN),
        ("e", "0x01 0x01", "0x03", BAD),
    ):
        folder = "sys/block/mmcblk0/device"
        root = write_files(tmp_path / name, {f"{folder}/life_time": life, f"{folder}/pre_eol_info": spare})
        assert [complete(check).state for check in storage.emmc(box(path, root))] == [state]
    assert not list(storage.emmc(box(path, write_files(tmp_path / "card", {"sys/block/mmcblk0/device/type": "SD"}))))


def test_wear_of_an_nvme(path: Path, tmp_path: Path) -> None:
    root = write_files(tmp_path, {"sys/class/nvme/nvme0/model": "x"})
    report = '{"nvme_smart_health_information_log": {"critical_warning": %d, "percentage_used": %d}}'
    for warning, used, state in ((0, 3, GOOD), (0, 85, WARN), (1, 3, BAD), (0, 120, BAD)):
        assert [
            complete(check).state for check in storage.nvme(box(path, root, smartctl=report % (warning, used)))
        ] == [state]
    assert [check.state for check in storage.nvme(box(path, root))] == [SKIP]


@pytest.mark.parametrize(
    ("celsius", "trips", "state"),
    [
        (50, {}, GOOD),
        (90, {}, WARN),
        (105, {}, BAD),
        (82, {"passive": 85}, WARN),
        (70, {"passive": 85, "critical": 100}, GOOD),
        (97, {"critical": 100}, BAD),
        (50, {"passive": 0}, GOOD),
    ],
)
def test_temperatures(path: Path, tmp_path: Path, celsius: int, trips: dict[str, int], state: str) -> None:
    files = {f"{ZONE}/type": "cpu-thermal", f"{ZONE}/temp": str(celsius * 1000)}
    for number, (kind, at) in enumerate(trips.items()):
        files |= {f"{ZONE}/trip_point_{number}_type": kind, f"{ZONE}/trip_point_{number}_temp": str(at * 1000)}
    assert complete(heat.temperature(box(path, write_files(tmp_path, files)))).state == state
    assert heat.temperature(box(path, tmp_path / "none")).state == SKIP


def test_a_fan_that_turns_and_a_core_that_is_slowed_down(path: Path, tmp_path: Path) -> None:
    for kind, now, state in (("pwm-fan", "3", SKIP), ("Processor", "0", GOOD), ("cpufreq-cpu0", "2", WARN)):
        root = write_files(tmp_path / kind, {f"{COOL}/type": kind, f"{COOL}/cur_state": now, f"{COOL}/max_state": "3"})
        assert complete(heat.cooling(box(path, root))).state == state


def test_throttling_since_boot(path: Path, tmp_path: Path) -> None:
    count = f"{CPU}/cpu0/thermal_throttle/core_throttle_count"
    pi, oc = "sys/devices/platform/soc/soc:firmware/get_throttled", "sys/class/hwmon/hwmon1/oc1_event_cnt"
    assert heat.counters(box(path, tmp_path / "none")).state == SKIP
    for name, files, state in (
        ("a", {count: "0"}, GOOD),
        ("b", {count: "7"}, WARN),
        ("c", {pi: "50005"}, WARN),
        ("d", {pi: "0"}, GOOD),
        ("e", {oc: "2"}, WARN),
        ("f", {oc: "0"}, GOOD),
    ):
        assert complete(heat.counters(box(path, write_files(tmp_path / name, files)))).state == state
