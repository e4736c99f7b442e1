"""The doctor's checks on made-up boards: a Jetson, a Raspberry Pi, a server, a virtual machine; nothing of this machine."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent import keys, ledger
from agent.config.models import Device
from agent.field.checks import clocks, devices, heat, network, rights, sources, storage, timers
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, span
from drivers.base import open_source
from drivers.camera import _v4l2_abi as abi
from tests.fielders import box, configuration, put, whole, write_ledger
from tests.test_v4l2_kernel import HEIGHT, WIDTH, FakeKernel, yuyv

CPU, ZONE, COOL = "sys/devices/system/cpu", "sys/class/thermal/thermal_zone0", "sys/class/thermal/cooling_device0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return configuration(tmp_path)


def cores(governors: list[str], top: int = 2000) -> dict[str, str]:
    found = {}
    for core, governor in enumerate(governors):
        folder = f"{CPU}/cpu{core}/cpufreq"
        found |= {f"{folder}/scaling_governor": governor, f"{folder}/scaling_max_freq": str(top)}
        found[f"{folder}/cpuinfo_max_freq"] = "2000"
    return found


# -- clocks ---------------------------------------------------------------------------------------------------------------


def test_governors(path: Path, tmp_path: Path) -> None:
    assert clocks.governor(box(path, tmp_path / "vm")).state == SKIP
    root = put(tmp_path / "a", cores(["performance"] * 3))
    assert clocks.governor(box(path, root)).state == GOOD
    slow = whole(clocks.governor(box(path, put(tmp_path / "b", cores(["schedutil", "schedutil", "performance"])))))
    assert slow.state == WARN and slow.cause == "cores 0-1: schedutil"
    capped = whole(clocks.governor(box(path, put(tmp_path / "c", cores(["performance"], top=1500)))))
    assert capped.state == WARN and "cores 0: kept below" in capped.cause
    assert span([5, 0, 2, 1]) == "0-2, 5"


def test_power_modes_of_a_jetson(path: Path, tmp_path: Path) -> None:
    assert clocks.nvpmodel(box(path)).state == SKIP
    assert clocks.nvpmodel(box(path, nvpmodel="NV Power Mode: MAXN_SUPER\n2\n")).state == GOOD
    assert whole(clocks.nvpmodel(box(path, nvpmodel="NVPM WARN: fan\nNV Power Mode: 15W\n0\n"))).cause == "15W"
    gpu = "sys/class/devfreq/17000000.gpu"
    assert clocks.gpu_clock(box(path, tmp_path / "vm")).state == SKIP
    for least, state in (("306", WARN), ("918", GOOD)):
        root = put(tmp_path / least, {f"{gpu}/min_freq": least, f"{gpu}/max_freq": "918"})
        assert whole(clocks.gpu_clock(box(path, root))).state == state


def test_clock_sources(path: Path, tmp_path: Path) -> None:
    file = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert clocks.clock_source(box(path, tmp_path / "vm")).state == SKIP
    for name, state in (("tsc", GOOD), ("arch_sys_counter", GOOD), ("hpet", WARN), ("acpi_pm", WARN)):
        assert whole(clocks.clock_source(box(path, put(tmp_path / name, {file: name})))).state == state


def test_time_of_day(path: Path, tmp_path: Path) -> None:
    assert clocks.time_of_day(box(path), (-1, 0, 0.0)).state == SKIP
    assert whole(clocks.time_of_day(box(path), (5, 0x40, 16.0))).state == WARN
    assert whole(clocks.time_of_day(box(path), (0, 0x40, 16.0))).state == WARN
    synced = clocks.time_of_day(
        box(path, chronyc="Reference ID    : C0A80101 (192.168.1.1)\nStratum : 3\n"), (0, 0, 0.012)
    )
    assert (synced.state, synced.cause) == (GOOD, "synchronised (chrony, 192.168.1.1), at most 12 ms off")
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    assert "timesyncd" in clocks.time_of_day(box(path, tmp_path), (0, 0, 0.1)).cause
    state, status, error_s = clocks.adjtimex()
    assert -1 <= state <= 5 and status >= 0 and error_s >= 0


# -- rights and timers ----------------------------------------------------------------------------------------------------


def test_rights(path: Path) -> None:
    assert rights.fifo(False, None, "x").state == SKIP and rights.fifo(True, None, "x").state == SKIP
    assert rights.fifo(True, True, "x").state == GOOD and whole(rights.fifo(True, False, "x")).state == WARN
    limits = "Max locked memory         65536                65536                bytes"
    assert rights.memory(None, "x", "").state == SKIP
    assert (
        rights.memory(True, "x", "Max locked memory  unlimited unlimited bytes").cause
        == "granted to x, limit unlimited"
    )
    refused = whole(rights.memory(False, "x", limits))
    assert refused.state == WARN and "64 KiB" in refused.cause and "LimitMEMLOCK" in refused.mend


def test_rights_are_really_tried_in_a_process_of_their_own(path: Path) -> None:
    from agent.field.checks.base import run_tool

    granted, who = rights.granted_to(box(path)._replace(tool=run_tool))
    assert set(granted) == {"SCHED_FIFO", "memory lock"} and "user" in who
    assert rights.granted_to(box(path))[0] == {}  # it gave no answer


@pytest.mark.parametrize(
    ("runtime", "period", "state"),
    [("950000", "1000000", GOOD), ("-1", "1000000", GOOD), ("500000", "1000000", WARN), ("0", "1", BAD)],
)
def test_throttling(path: Path, tmp_path: Path, runtime: str, period: str, state: str) -> None:
    files = {"proc/sys/kernel/sched_rt_runtime_us": runtime, "proc/sys/kernel/sched_rt_period_us": period}
    assert whole(rights.throttling(box(path, put(tmp_path, files)))).state == state
    assert rights.throttling(box(path, tmp_path / "none")).state == SKIP


def test_timers_are_measured_and_judged() -> None:
    late = timers.lateness(0.05, fifo=False)
    assert len(late) == 50 and min(late) >= 0
    assert timers.judge([0.05] * 100, "", "").state == GOOD
    assert whole(timers.judge([0.05] * 98 + [2.0] * 2, "", "")).state == WARN
    assert whole(timers.judge([0.05] * 999 + [6.0], "", "")).state == WARN  # once in a second
    assert whole(timers.judge([0.05] * 98 + [9.0] * 2, "", "")).state == BAD
    assert timers.judge([], "", "").state == SKIP


# -- devices --------------------------------------------------------------------------------------------------------------


def test_permissions_of_a_device(tmp_path: Path) -> None:
    root = put(tmp_path, {"dev/video0": "", "dev/v4l/by-id/usb-cam-index0": ""})
    os.chmod(root / "dev/video0", 0o660)
    missing = whole(devices.usable("lane yard", "/dev/video7", root, "nobody"))
    assert missing.state == BAD and "/dev/v4l/by-id/usb-cam-index0" in missing.mend
    refused = whole(devices.usable("lane yard", "/dev/video0", root, "nobody"))
    assert refused.state == BAD and "mode 0660" in refused.cause
    os.chmod(root / "dev/video0", 0o666)
    assert devices.usable("lane yard", "/dev/video0", root, "nobody").state == GOOD


def test_the_group_to_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put(tmp_path, {"dev/ttyUSB0": ""})
    os.chmod(root / "dev/ttyUSB0", 0o660)
    monkeypatch.setattr(devices, "group_name", lambda gid: "dialout")
    assert devices.usable("x", "/dev/ttyUSB0", root, "nobody").mend.startswith("sudo usermod -aG dialout nobody")
    os.chmod(root / "dev/ttyUSB0", 0o600)  # joining its group would not help
    assert "udev" in devices.usable("x", "/dev/ttyUSB0", root, "nobody").mend


def test_permission_bits() -> None:
    for mode, owner, group, uid, groups, good in (
        (0o600, 5, 5, 5, set(), True),
        (0o060, 5, 7, 6, {7}, True),
        (0o006, 5, 7, 6, {8}, True),
        (0o660, 5, 7, 6, {8}, False),
        (0o060, 5, 7, 5, {7}, False),
        (0o640, 5, 7, 6, {7}, False),
        (0o000, 5, 7, 0, set(), True),
    ):
        assert devices.allowed(owner, group, mode, uid, groups) is good


def test_which_options_name_devices(path: Path) -> None:
    device = Device.model_validate({"driver": "sensor.serial", "url": "/dev/ttyUSB0", "baud": 9600, "name": "dev"})
    assert devices.paths(device) == ["/dev/ttyUSB0"]
    assert [one.state for one in devices.checks(box(path))] == [SKIP]


# -- cameras and serial lines ---------------------------------------------------------------------------------------------


def test_a_camera_is_counted() -> None:
    stream = open_source("camera.sim", {"width": 64, "height": 48, "fps": 50, "pictures": 2}, "yard")
    check = sources.listen("yard", stream, 0.4)
    assert whole(check).state in (GOOD, WARN) and "50 wanted" in check.cause  # a busy box delivers fewer
    late = open_source("camera.sim", {"faults": [{"kind": "unplug", "at_s": 0, "for_s": 60}]}, "yard")
    assert whole(sources.listen("yard", late, 0.2)).state == BAD


def test_what_the_daemon_has_open_is_not_opened(tmp_path: Path) -> None:
    path = configuration(
        tmp_path, lanes={"yard": {"source": {"driver": "camera.v4l2", "fps": 50}, "model": "x"}}, rules={}
    )
    write_ledger(tmp_path, "yard", state=ledger.RUNNING, count=200)
    seen = box(path)
    (lane,) = sources.checks(seen._replace(view=seen.view._replace(pid=os.getpid())))
    assert lane.state == GOOD and "the daemon has it open: " in lane.cause and "50 wanted" in lane.cause
    write_ledger(tmp_path, "yard", state=ledger.GONE)
    seen = box(path)
    said = {"lanes": {"yard": {"why": "/dev/video0 may not be opened"}}}
    (lane,) = sources.checks(seen._replace(view=seen.view._replace(pid=os.getpid(), said=said)))
    assert whole(lane).state == BAD and "may not be opened" in lane.cause and "usermod -aG video" in lane.mend
    (lane,) = sources.checks(seen)  # nobody has it: it is tried
    assert whole(lane).state == BAD and "is not there" in lane.cause


def test_a_local_camera_tells_its_modes(kernel: FakeKernel) -> None:
    def picture() -> None:
        time.sleep(0.005)
        kernel.deliver(yuyv(1))

    kernel.while_waiting = [picture] * 1000
    options = {"device": str(kernel.path), "width": WIDTH, "height": HEIGHT}
    check = sources.listen("yard", open_source("camera.v4l2", options, "yard"), 0.2)
    assert check.state == GOOD and check.cause.startswith("32x16 yuyv of: yuyv 32x16; mjpg 32x16; ")
    kernel.refuse = {abi.QUERYCAP: errno.EBUSY}
    busy = whole(sources.listen("yard", open_source("camera.v4l2", options, "yard"), 0.2))
    assert busy.state == BAD and "fuser" in busy.mend


def test_readings_are_counted_one_by_one() -> None:
    stream = open_source("sensor.sim_arm", {"rate_hz": 1000}, "arm")
    stream.open()
    try:
        assert sources.count(stream, 0.5) == pytest.approx(1000, rel=0.05)
    finally:
        stream.close()


def test_rates_are_judged() -> None:
    assert sources.judge("x", 29.9, 30).state == GOOD
    assert whole(sources.judge("x", 15.0, 30)).state == WARN
    assert whole(sources.judge("x", 0.0, 30)).state == BAD
    assert sources.judge("x", 3.0, 0).cause == "3.0 a second"


def test_a_serial_line_and_a_relay_that_are_not_there(tmp_path: Path) -> None:
    line = {"driver": "sensor.serial", "url": "/dev/ttyNONE7", "rate_hz": 10, "framing": "csv", "channels": ["a"]}
    relay = {"driver": "actuator.serial_relay", "url": "/dev/ttyNONE8", "channels": {"off": {1: False}}, "safe": "off"}
    changes: dict[str, Any] = {"lanes": {"line": {"source": line, "model": "arm-deviation"}}, "rules": {}}
    path = configuration(tmp_path, actuators={"siren": {"device": relay, "rest": "off"}}, **changes)
    found = list(sources.checks(box(path)))
    assert [whole(one).state for one in found] == [BAD, BAD]


def test_a_relay_is_opened_and_not_moved() -> None:
    master, slave = os.openpty()
    try:
        device = Device.model_validate({"driver": "actuator.serial_relay", "url": os.ttyname(slave)})
        assert sources.relay("siren", device, 0).state == GOOD
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 1)
        assert sources.relay("siren", device, 77).state == SKIP  # its host has it
    finally:
        os.close(master)
        os.close(slave)


# -- disk, heat -----------------------------------------------------------------------------------------------------------


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
def test_room_on_a_disk(tmp_path: Path, blocks: int, free: int, files: int, state: str) -> None:
    disk = SimpleNamespace(f_frsize=4096, f_blocks=blocks, f_bavail=free, f_files=100 if files else 0, f_favail=files)
    (check,) = storage.space([tmp_path], lambda _: disk)
    assert whole(check).state == state


def test_a_folder_that_is_not_there_yet_is_asked_for_at_its_parent(path: Path, tmp_path: Path) -> None:
    assert all(place.exists() for place in storage.places(box(path)))
    assert {place.stat().st_dev for place in storage.places(box(path))} >= {tmp_path.stat().st_dev}


def test_wear_of_an_emmc(path: Path, tmp_path: Path) -> None:
    for name, life, spare, state in (
        ("a", "0x01 0x02", "0x01", GOOD),
        ("b", "0x09 0x01", "0x01", WARN),
        ("c", "0x0b 0x01", "0x01", BAD),
        ("d", "0x01 0x01", "0x02", WARN),
        ("e", "0x01 0x01", "0x03", BAD),
    ):
        folder = "sys/block/mmcblk0/device"
        root = put(tmp_path / name, {f"{folder}/life_time": life, f"{folder}/pre_eol_info": spare})
        assert [whole(one).state for one in storage.emmc(box(path, root))] == [state]
    assert not list(storage.emmc(box(path, put(tmp_path / "card", {"sys/block/mmcblk0/device/type": "SD"}))))


def test_wear_of_an_nvme(path: Path, tmp_path: Path) -> None:
    root = put(tmp_path, {"sys/class/nvme/nvme0/model": "x"})
    told = '{"nvme_smart_health_information_log": {"critical_warning": %d, "percentage_used": %d}}'
    for warning, used, state in ((0, 3, GOOD), (0, 85, WARN), (1, 3, BAD), (0, 120, BAD)):
        assert [whole(one).state for one in storage.nvme(box(path, root, smartctl=told % (warning, used)))] == [state]
    assert [one.state for one in storage.nvme(box(path, root))] == [SKIP]


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
    assert whole(heat.temperature(box(path, put(tmp_path, files)))).state == state
    assert heat.temperature(box(path, tmp_path / "none")).state == SKIP


def test_what_cools_and_what_slows_down(path: Path, tmp_path: Path) -> None:
    for kind, now, state in (("pwm-fan", "3", SKIP), ("Processor", "0", GOOD), ("cpufreq-cpu0", "2", WARN)):
        root = put(tmp_path / kind, {f"{COOL}/type": kind, f"{COOL}/cur_state": now, f"{COOL}/max_state": "3"})
        assert whole(heat.cooling(box(path, root))).state == state


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
        assert whole(heat.counters(box(path, put(tmp_path / name, files)))).state == state


# -- network --------------------------------------------------------------------------------------------------------------


def test_the_mark_survives_loopback_or_not() -> None:
    assert network.dscp(network.loopback_tos).state == GOOD
    assert whole(network.dscp(lambda _: 0)).state == WARN

    def refused(_: int) -> int:
        raise OSError("no loopback here")

    assert network.dscp(refused).state == SKIP


def test_ports() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert network.served("metrics", "127.0.0.1", port, True).state == GOOD
        assert whole(network.served("metrics", "127.0.0.1", port, False)).state == WARN
        assert network.remote("gate", "127.0.0.1", port).state == GOOD
    assert whole(network.served("metrics", "127.0.0.1", port, True)).state == WARN
    assert network.served("metrics", "127.0.0.1", port, False).state == GOOD
    assert whole(network.remote("gate", "127.0.0.1", port)).state == BAD


def test_ports_of_a_configuration(tmp_path: Path) -> None:
    away = {"endpoint": "tcp://127.0.0.1:9", "rest": "run"}
    seen = box(configuration(tmp_path, actuators={"gate": away}, rules={}, metrics={"port": 9}))
    assert [one.name for one in network.ports(seen)] == ["port of metrics", "port of actuator gate"]


def test_insecure(tmp_path: Path) -> None:
    assert network.insecure(box(configuration(tmp_path)).config).state == GOOD
    away = {"endpoint": "tcp://10.0.0.1:99", "rest": "run"}
    said = whole(
        network.insecure(box(configuration(tmp_path, insecure=True, actuators={"gate": away}, rules={})).config)
    )
    assert said.state == WARN and "gate can be reached" in said.cause


def test_key_files(tmp_path: Path) -> None:
    public, secret = keys.make(tmp_path / "keys", "box")
    assert network.secret(secret).state == GOOD
    secret.chmod(0o644)
    assert whole(network.secret(secret)).state == BAD and "chmod 600" in network.secret(secret).mend
    assert whole(network.secret(public)).state == BAD and whole(network.secret(tmp_path / "none")).state == BAD
    assert network.public("x", public).state == GOOD and whole(network.public("x", tmp_path / "none")).state == BAD


def test_authorised_keys(tmp_path: Path) -> None:
    folder = tmp_path / "authorised"
    assert whole(network.authorised(None)).state == BAD and whole(network.authorised(folder)).state == BAD
    folder.mkdir()
    assert whole(network.authorised(folder)).state == BAD
    keys.make(folder, "other")
    assert whole(network.authorised(folder)).state == WARN  # the secret one was copied along
    (folder / "other.key_secret").unlink()
    assert network.authorised(folder).state == GOOD
    (folder / "torn.key").write_text("metadata\n")
    assert whole(network.authorised(folder)).state == BAD


def test_keys_of_a_configuration(tmp_path: Path) -> None:
    _, secret = keys.make(tmp_path / "keys", "box")
    served = {"endpoint": "tcp://0.0.0.0:99", "rest": "run", "device": {"driver": "actuator.sim"}}
    away = {"endpoint": "tcp://10.0.0.1:99", "rest": "run", "server_key": str(tmp_path / "none.key")}
    seen = box(configuration(tmp_path, keys={"own": str(secret)}, actuators={"a": served, "b": away}, rules={}))
    assert [(one.name, one.state) for one in network.key_files(seen)] == [
        ("own key", GOOD),
        ("authorised keys", BAD),
        ("key of actuator b", BAD),
    ]
