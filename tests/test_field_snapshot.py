"""The snapshot of a daemon and its lanes from a configuration, a lock and ledgers, however broken."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from agent.box.folders import default_run_dir
from agent.field import format, lanes, snapshot
from agent.field import outline as outline_module
from agent.field.board import BoardMonitor
from agent.field.outline import read_outline
from agent.field.snapshot import View
from agent.field.status import lines, read_status
from agent.field.valid_parts import read_config
from tests.field_fixtures import MS, configuration, write_ledger


def test_the_valid_lanes_of_a_broken_configuration_are_read(tmp_path: Path) -> None:
    good = {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}
    path = configuration(tmp_path, lanes={"arm": good, "leg": {"modle": "x"}}, metrics={"port": "no"}, nonsense=1)
    config = read_config(path)
    assert list(config.lanes) == ["arm"] and list(config.actuators) == ["robot"] and config.metrics.port == 0
    outline, mistakes = read_outline(path)
    assert outline.run_dir == tmp_path / "run" and not mistakes
    assert outline.lanes["arm"] == ("arm-deviation", "sensor.sim_arm", True) and list(outline.actuators) == ["robot"]
    assert any("reflexd check" in line for line in lines(read_status(path, BoardMonitor())))


def test_the_run_dir_of_a_file_that_is_not_yaml_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text(f"node: a\nrun_dir: '{tmp_path}/run'  # here\nlanes: {{arm: [\n", encoding="utf-8")
    outline, mistakes = read_outline(path)
    assert (outline.lanes, outline.run_dir) == ({}, tmp_path / "run") and len(mistakes) == 1
    assert read_config(path).lanes == {}


def test_without_a_configuration_the_run_dir_of_the_service_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, user = tmp_path / "system", tmp_path / "user"
    monkeypatch.setattr(outline_module, "SYSTEM_RUN_DIR", system)
    monkeypatch.setattr(outline_module, "default_run_dir", lambda: user)
    assert read_outline(tmp_path / "nlane.yaml")[0].run_dir == user
    system.mkdir()
    assert read_outline(tmp_path / "nlane.yaml")[0].run_dir == system
    user.mkdir()
    (user / "reflexd.lock").touch()
    assert read_outline(tmp_path / "nlane.yaml")[0].run_dir == user
    assert default_run_dir() != user


def test_files_that_are_not_ledgers_hide_no_ledger(tmp_path: Path) -> None:
    complete = write_ledger(tmp_path, "arm")
    (tmp_path / "run/damaged.ledger").write_bytes(complete.read_bytes()[:5000])
    (tmp_path / "run/foreign.ledger").write_bytes(b"x" * complete.stat().st_size)
    (tmp_path / "run/folder.ledger").mkdir()
    ledgers, troubles = snapshot.read_ledgers(tmp_path / "run")
    assert list(ledgers) == ["arm"]
    assert [Path(trouble.split(":")[0]).stem for trouble in troubles] == ["damaged", "folder", "foreign"]


def test_a_missing_run_dir_is_reported_and_does_not_crash(tmp_path: Path) -> None:
    view = snapshot.read_snapshot(configuration(tmp_path))
    assert (view.pid, view.reply, view.ledgers) == (0, {}, {}) and str(tmp_path / "run") in view.troubles[0]


def test_the_process_that_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.lock"
    assert snapshot.lock_holder(path) == 0
    with open(path, "a", encoding="ascii") as file:
        assert snapshot.lock_holder(path) == 0
        fcntl.flock(file, fcntl.LOCK_EX)
        assert snapshot.lock_holder(path) == os.getpid()
        assert snapshot.lock_holder(path, tmp_path / "none") == 0
    assert snapshot.lock_holder(path) == 0


def test_a_lock_of_the_same_number_on_another_device_is_not_ours(tmp_path: Path) -> None:
    path, locks = tmp_path / "a.lock", tmp_path / "locks"
    path.touch()
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 1 ff:ff:{path.stat().st_ino} 0 EOF\n", encoding="ascii")
    assert snapshot.lock_holder(path, locks) == 0


def test_the_uptime_of_a_process() -> None:
    assert (snapshot.uptime_s(os.getpid()) or -1) >= 0
    assert snapshot.uptime_s(0) is None


def view(folder: Path, pid: int = 0, now: int = 0) -> View:
    current = snapshot.read_snapshot(configuration(folder))
    return current._replace(pid=pid, now=now or current.now)


def test_a_dead_daemons_lane_keeps_the_figures_of_its_last_seconds(tmp_path: Path) -> None:
    last = time.monotonic_ns()
    write_ledger(tmp_path, count=1000, every_ms=10, last=last)
    (lane,) = lanes.lane_statuses(view(tmp_path, now=last + 3_600_000 * MS))
    assert (lane.state, lane.label, lane.other_boot) == ("stopped", "normal", False)
    assert lane.rate_hz == pytest.approx(100, rel=0.02)
    assert (lane.p50_ms, lane.p99_ms) == (4.0, 4.0)  # transport, preprocess, inference, decision: 1 ms each
    assert lane.newest_age_s == pytest.approx(3600, abs=5)
    # ten seconds of samples, then nothing but gaps
    assert [value for value in lane.spark if value is not None] == [4.0] * 10 and lane.spark[0] is None


def test_times_of_another_boot_are_reported_as_such(tmp_path: Path) -> None:
    write_ledger(tmp_path, last=time.monotonic_ns() + 10_000_000 * MS)
    (lane,) = lanes.lane_statuses(view(tmp_path))
    assert lane.other_boot and lane.newest_age_s is None and lane.evidence_age_s is None and lane.rate_hz > 0


def test_a_lane_that_lives_and_reads_no_sample_has_rate_zero(tmp_path: Path) -> None:
    write_ledger(tmp_path, last=time.monotonic_ns() - 20_000 * MS)
    (lane,) = lanes.lane_statuses(view(tmp_path, pid=os.getpid()))
    assert (lane.rate_hz, lane.state) == (0.0, "closed") and lane.reason == "has not started yet"


def test_a_ledger_of_an_earlier_run_is_not_a_running_lane(tmp_path: Path) -> None:
    write_ledger(tmp_path, "old")
    statuses = {lane.name: lane for lane in lanes.lane_statuses(view(tmp_path, pid=1))}
    assert statuses["old"].state == "stopped" and "earlier run" in statuses["old"].reason
    assert (statuses["arm"].state, statuses["arm"].reason) == ("unknown", "no ledger")


def test_figures_are_short() -> None:
    for seconds, text in (
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (14, "14 s"),
        (180, "3 min"),
        (7200, "2 h"),
        (1e6, "12 d"),
    ):
        assert format.ago(seconds) == text
    for value, text in ((None, "-"), (0.061, "0.06"), (9.99, "9.99"), (9.996, "10.0"), (12.34, "12.3"), (1234, "1234")):
        assert format.ms(value) == text
    assert [format.rate(value) for value in (0, 0.5, 29.97, 99.6, 1002.3)] == ["0.0", "0.5", "30.0", "100", "1002"]
    assert [format.bar(share, 4) for share in (0, 0.5, 1, 1.01)] == ["[----]", "[##--]", "[####]", "[####!"]
    assert format.sparkline([None, 0.0, 1.0, 9.0], 2.0) == " ▁▅█"
    assert format.plain("a\x1b[2Jb\n") == "a?[2Jb?" and format.clip("x" * 90) == "x" * 77 + "..."
