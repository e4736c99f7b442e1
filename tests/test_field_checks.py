"""The doctor's checks of clocks, rights and timers, on made-up boards: a Jetson, a server, a virtual machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.field.checks import clocks, rights, timers
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, core_ranges, run_tool
from tests.field_fixtures import box, complete, configuration, write_files

CPU = "sys/devices/system/cpu"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return configuration(tmp_path)


def cores(governors: list[str], top: int = 2000) -> dict[str, str]:
    files = {}
    for core, governor in enumerate(governors):
        folder = f"{CPU}/cpu{core}/cpufreq"
        files |= {f"{folder}/scaling_governor": governor, f"{folder}/scaling_max_freq": str(top)}
        files[f"{folder}/cpuinfo_max_freq"] = "2000"
    return files


def test_governors(path: Path, tmp_path: Path) -> None:
    assert clocks.governor(box(path, tmp_path / "vm")).state == SKIP
    root = write_files(tmp_path / "a", cores(["performance"] * 3))
    assert clocks.governor(box(path, root)).state == GOOD
    slow = complete(
        clocks.governor(box(path, write_files(tmp_path / "b", cores(["schedutil", "schedutil", "performance"]))))
    )
    assert slow.state == WARN and slow.cause == "cores 0-1: schedutil"
    capped = complete(clocks.governor(box(path, write_files(tmp_path / "c", cores(["performance"], top=1500)))))
    assert capped.state == WARN and "cores 0: limited below" in capped.cause
    assert core_ranges([5, 0, 2, 1]) == "0-2, 5"


def test_power_modes_of_a_jetson(path: Path, tmp_path: Path) -> None:
    assert clocks.nvpmodel(box(path)).state == SKIP
    assert clocks.nvpmodel(box(path, nvpmodel="NV Power Mode: MAXN_SUPER\n2\n")).state == GOOD
    assert complete(clocks.nvpmodel(box(path, nvpmodel="NVPM WARN: fan\nNV Power Mode: 15W\n0\n"))).cause == "15W"
    gpu = "sys/class/devfreq/17000000.gpu"
    assert clocks.gpu_clock(box(path, tmp_path / "vm")).state == SKIP
    for least, state in (("306", WARN), ("918", GOOD)):
        root = write_files(tmp_path / least, {f"{gpu}/min_freq": least, f"{gpu}/max_freq": "918"})
        assert complete(clocks.gpu_clock(box(path, root))).state == state


def test_clock_sources(path: Path, tmp_path: Path) -> None:
    file = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert clocks.clock_source(box(path, tmp_path / "vm")).state == SKIP
    for name, state in (("tsc", GOOD), ("arch_sys_counter", GOOD), ("hpet", WARN), ("acpi_pm", WARN)):
        assert complete(clocks.clock_source(box(path, write_files(tmp_path / name, {file: name})))).state == state


def test_time_of_day(path: Path, tmp_path: Path) -> None:
    assert clocks.time_of_day(box(path), (-1, 0, 0.0)).state == SKIP
    assert complete(clocks.time_of_day(box(path), (5, 0x40, 16.0))).state == WARN
    assert complete(clocks.time_of_day(box(path), (0, 0x40, 16.0))).state == WARN
    synced = clocks.time_of_day(
        box(path, chronyc="Reference ID    : C0A80101 (192.168.1.1)\nStratum : 3\n"), (0, 0, 0.012)
    )
    assert (synced.state, synced.cause) == (GOOD, "synchronised (chrony, 192.168.1.1), at most 12 ms off")
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    assert "timesyncd" in clocks.time_of_day(box(path, tmp_path), (0, 0, 0.1)).cause
    state, status, error_s = clocks.adjtimex()
    assert -1 <= state <= 5 and status >= 0 and error_s >= 0


def test_rights(path: Path) -> None:
    assert rights.fifo(False, None, "x").state == SKIP and rights.fifo(True, None, "x").state == SKIP
    assert rights.fifo(True, True, "x").state == GOOD and complete(rights.fifo(True, False, "x")).state == WARN
    limits = "Max locked memory         65536                65536                bytes"
    assert rights.memory(None, "x", "").state == SKIP
    assert (
        rights.memory(True, "x", "Max locked memory  unlimited unlimited bytes").cause
        == "granted to x, limit unlimited"
    )
    refused = complete(rights.memory(False, "x", limits))
    assert refused.state == WARN and "64 KiB" in refused.cause and "LimitMEMLOCK" in refused.fix


def test_rights_are_tried_in_a_child_process(path: Path) -> None:
    granted, holder = rights.granted(box(path)._replace(tool=run_tool))
    assert set(granted) == {"SCHED_FIFO", "memory lock"} and "user" in holder
    assert rights.granted(box(path))[0] == {}  # the child process gave no answer


@pytest.mark.parametrize(
    ("runtime", "period", "state"),
    [("950000", "1000000", GOOD), ("-1", "1000000", GOOD), ("500000", "1000000", WARN), ("0", "1", BAD)],
)
def test_throttling(path: Path, tmp_path: Path, runtime: str, period: str, state: str) -> None:
    files = {"proc/sys/kernel/sched_rt_runtime_us": runtime, "proc/sys/kernel/sched_rt_period_us": period}
    assert complete(rights.throttling(box(path, write_files(tmp_path, files)))).state == state
    assert rights.throttling(box(path, tmp_path / "none")).state == SKIP


def test_timers_are_measured_and_judged() -> None:
    late = timers.lateness(0.05, fifo=False)
    assert len(late) == 50 and min(late) >= 0
    assert timers.judge([0.05] * 100, "", "").state == GOOD
    assert complete(timers.judge([0.05] * 98 + [2.0] * 2, "", "")).state == WARN
    assert complete(timers.judge([0.05] * 999 + [6.0], "", "")).state == WARN  # once in a second
    assert complete(timers.judge([0.05] * 98 + [9.0] * 2, "", "")).state == BAD
    assert timers.judge([], "", "").state == SKIP
