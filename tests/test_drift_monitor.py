"""The drift monitor on tapes as lanes write them: what it says, that it says it once, and how it recovers."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.drift import published
from agent.drift.announce import AWAY_S, SILENT_S
from agent.drift.golden import BAD, GOOD, MISSING, RETRY_S, GoldenRuns, run
from agent.drift.monitor import Monitor
from agent.drift.settings import Model
from agent.drift.store import KEPT, Store
from agent.drift.watch import SAVE_S
from agent.packages import package
from tests.drift_fixtures import LIMITS, SECOND_MODEL, Clock, WatchedLane, lane_settings, room
from tests.waiting import until

LEARN = LIMITS.learn + 5


@pytest.fixture
def arm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[WatchedLane]:
    caplog.set_level(logging.INFO, "reflexd")
    lane = WatchedLane(tmp_path)
    lane.open_readings()
    lane.pass_second()
    yield lane
    lane.monitor.close()


def logged(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [message for message in caplog.messages if part in message]


def test_another_scale_is_reported_once_with_what_to_do_and_ends_by_itself(
    arm: WatchedLane, caplog: pytest.LogCaptureFixture
) -> None:
    arm.readings(LEARN)
    assert arm.report["state"] == "normal" and not caplog.messages
    arm.readings(40, scale=1.5)
    assert arm.report["state"] == "drifting"
    (message,) = logged(caplog, "lane arm drifts: ")
    assert "x spread 1.5" in message and "(learnt 0.99" in message and "y spread" in message
    assert "another range or unit" in message and "reflexd drift --relearn arm" in message
    arm.readings(60)
    assert arm.report["state"] == "normal"
    assert len(logged(caplog, "normal again: ")) == 2 and len(logged(caplog, "drifts: ")) == 1


def test_another_class_is_reported(arm: WatchedLane, caplog: pytest.LogCaptureFixture) -> None:
    arm.readings(LEARN)
    arm.readings(40, label="deviation")
    assert "share of other labels" in logged(caplog, "lane arm drifts: ")[0]


def test_what_was_learnt_outlives_the_monitor(arm: WatchedLane, caplog: pytest.LogCaptureFixture) -> None:
    arm.readings(LEARN)
    arm.restart()
    arm.pass_second()
    assert arm.report["state"] == "normal" and arm.report["learnt"] == 1.0
    arm.readings(40, scale=1.5)
    arm.restart()
    assert arm.report["state"] == "drifting" and len(logged(caplog, "drifts: ")) == 1


def test_another_model_under_the_name_of_the_lane_learns_anew_and_the_one_before_is_remembered(
    arm: WatchedLane, caplog: pytest.LogCaptureFixture
) -> None:
    arm.readings(LEARN)
    before = arm.settings.lanes
    arm.change(lanes={"arm": lane_settings(SECOND_MODEL)})
    arm.readings(3)
    assert arm.report["state"] == "learning" and len(logged(caplog, "lane arm: another model")) == 1
    arm.readings(LEARN)
    arm.change(lanes=before)
    assert arm.report["state"] == "normal" and arm.report["learnt"] == 1.0


def test_a_reload_that_changes_nothing_here_forgets_nothing(arm: WatchedLane) -> None:
    arm.readings(LEARN)
    drift = arm.monitor.watches["arm"].drift
    arm.change()
    assert arm.monitor.watches["arm"].drift is drift


def test_another_source_learns_its_input_anew(arm: WatchedLane, caplog: pytest.LogCaptureFixture) -> None:
    arm.readings(LEARN)
    arm.change(lanes={"arm": lane_settings(source="another")})
    assert len(logged(caplog, "its source is another one")) == 1
    assert "x level" not in arm.report["statistics"] and arm.report["scores"]["count"] > 0


def test_a_lane_that_leaves_the_configuration_is_no_longer_watched_and_one_that_comes_is(arm: WatchedLane) -> None:
    arm.change(lanes={"leg": lane_settings()})
    assert list(arm.monitor.watches) == ["leg"]
    arm.change(lanes={"leg": lane_settings(), "arm": lane_settings()})
    arm.readings(2)
    assert arm.report["statistics"]


def test_a_lane_is_learnt_again_where_somebody_asks_for_it(arm: WatchedLane, caplog: pytest.LogCaptureFixture) -> None:
    arm.readings(LEARN)
    arm.readings(40, scale=1.5)
    Store(arm.settings.state_dir).request_relearning("arm")
    arm.readings(LEARN, scale=1.5)
    assert arm.report["state"] == "normal" and len(logged(caplog, "learnt again")) == 1


def test_a_tape_that_is_away_is_said_once_and_again_when_it_is_back(
    arm: WatchedLane, caplog: pytest.LogCaptureFixture
) -> None:
    (arm.settings.run_dir / "arm.tape").unlink()
    for _ in range(int(3 * AWAY_S)):
        arm.pass_second()
    assert len(logged(caplog, "has no tape in run_dir")) == 1 and "no tape" in arm.report["trouble"]
    arm.open_readings()
    arm.readings(5)
    assert len(logged(caplog, "has a tape again")) == 1 and not arm.report["trouble"]
    assert arm.report["statistics"]


def test_a_tape_of_another_version_is_said_once(arm: WatchedLane, caplog: pytest.LogCaptureFixture) -> None:
    (arm.settings.run_dir / "arm.tape").unlink()
    (arm.settings.run_dir / "arm.tape").write_bytes(b"something else" * 1000)
    for _ in range(10):
        arm.pass_second()
    assert len(logged(caplog, "not a tape of this version")) == 1
    arm.open_readings()
    arm.readings(5)
    assert arm.report["statistics"]


def test_readings_that_are_no_numbers_are_said_once_and_do_not_drift(
    arm: WatchedLane, caplog: pytest.LogCaptureFixture
) -> None:
    arm.readings(LEARN)
    for _ in range(50):
        arm.write_rows(np.full((272, 2), np.nan, np.float32), 0.9)
        arm.pass_second()
    assert len(logged(caplog, "no numbers")) == 1 and arm.report["state"] == "normal"
    arm.readings(3)
    assert len(logged(caplog, "delivers numbers again")) == 1


def test_a_lane_that_has_no_scores_is_said_once_and_its_input_is_watched(
    arm: WatchedLane, caplog: pytest.LogCaptureFixture
) -> None:
    arm.readings(LEARN, score=None)
    arm.clock.now += SILENT_S
    arm.readings(5, score=None)
    assert len(logged(caplog, "has found nothing yet")) == 1
    assert arm.report["state"] == "normal" and "score" not in arm.report["statistics"]
    arm.readings(5)
    assert len(logged(caplog, "has scores now")) == 1 and "score" in arm.report["statistics"]


def test_a_damaged_file_of_what_was_learnt_is_learnt_again(arm: WatchedLane, caplog: pytest.LogCaptureFixture) -> None:
    arm.readings(LEARN)
    arm.monitor.close()
    (path,) = (arm.settings.state_dir / "drift").glob("arm-*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for content in ("{", '{"version": 1}', path.read_text().replace("mean", "mien")[:-40], "[]"):
        path.write_text(content)
        caplog.clear()
        arm.monitor = Monitor(arm.settings, arm.clock)
        assert len(logged(caplog, "is damaged, so what is normal is learnt again")) == 1
    arm.readings(LEARN)
    assert arm.report["state"] == "normal"


def test_a_disk_that_takes_nothing_is_said_once_and_the_watch_goes_on(
    arm: WatchedLane, caplog: pytest.LogCaptureFixture
) -> None:
    arm.settings.state_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(arm.settings.state_dir / "drift", ignore_errors=True)
    (arm.settings.state_dir / "drift").write_text("in the way")
    arm.readings(LEARN)
    for _ in range(3):
        arm.clock.now += SAVE_S
        arm.readings(3)
    assert len(logged(caplog, "what is normal cannot be written")) == 1 and arm.report["state"] == "normal"
    (arm.settings.state_dir / "drift").unlink()
    arm.clock.now += SAVE_S
    arm.readings(3)
    assert len(logged(caplog, "can be written again")) == 1


def test_only_the_newest_models_of_a_lane_are_remembered(arm: WatchedLane) -> None:
    for number in range(KEPT + 3):
        arm.change(lanes={"arm": lane_settings(f"{number:064x}"[::-1])})
        arm.readings(2)
    arm.monitor.close()
    assert len(list((arm.settings.state_dir / "drift").glob("arm-*.json"))) == KEPT


def test_a_camera_that_is_darkened_and_one_that_is_pushed_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, change in {
        "dark": lambda picture: picture // 2,
        "pushed": lambda picture: np.roll(picture, 30, 1),
    }.items():
        lane = WatchedLane(tmp_path / name, name)
        lane.open_picture()
        lane.pictures(LIMITS.learn // 4 + LEARN, lambda lane=lane: room(0, lane.random))  # type: ignore[misc]
        assert lane.report["state"] == "normal", lane.report
        lane.pictures(40, lambda lane=lane, change=change: change(room(0, lane.random)))  # type: ignore[misc]
        assert lane.report["state"] == "drifting"
        lane.monitor.close()
    (dark,), (pushed,) = logged(caplog, "lane dark drifts"), logged(caplog, "lane pushed drifts")
    assert "brightness 62" in dark and "view" in pushed and "the camera where it was?" in pushed


def test_a_slow_camera_is_waited_for(tmp_path: Path) -> None:
    lane = WatchedLane(tmp_path, "yard")
    lane.open_picture()
    lane.pass_second()
    for passed in (0.0, 0.1, 0.3):
        lane.clock.now += passed
        lane.monitor.step()
    assert not lane.report["statistics"]
    lane.show(room())
    lane.monitor.step()
    assert "brightness" in lane.report["statistics"]
    lane.monitor.close()


def test_the_report_is_read_by_the_group_and_not_when_it_is_old(arm: WatchedLane) -> None:
    arm.readings(3)
    path = arm.settings.run_dir / published.NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert published.read(arm.settings.run_dir)["arm"]["state"] == "learning"
    written = json.loads(path.read_text())["written"]
    assert published.read(arm.settings.run_dir, written + published.STALE_S + 1) == {}
    for content in ("", "[]", '{"lanes": [], "written": 0}', '{"lanes": {}}'):
        path.write_text(content)
        assert published.read(arm.settings.run_dir) == {}


def model_copy(folder: Path) -> Path:
    return Path(shutil.copytree(package.find("arm-deviation"), folder / "arm-copy"))


def model(folder: Path) -> Model:
    return Model(str(folder), "litert", package.read(folder).checksum)


@pytest.mark.slow
def test_golden_outputs_are_run_again_each_day_in_a_process_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, clock = model_copy(tmp_path), Clock()
    watched, runs = model(folder), GoldenRuns(24.0, clock.now)

    def results_after(seconds: float) -> str:
        clock.now += seconds
        before, runs.ended = runs.ended, None
        runs.poll([watched], clock.now)

        def done() -> bool:
            runs.poll([watched], clock.now)
            return runs.ended is not None

        until(done, "the golden run's end")
        assert before is None or runs.ended != before
        return runs.results[watched].state

    runs.poll([watched], clock.now + 86_399)
    assert not runs.results
    assert results_after(86_400) == GOOD
    weights = (folder / "arm-deviation.tflite").read_bytes()
    (folder / "arm-deviation.tflite").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert results_after(86_400) == BAD and results_after(RETRY_S) == BAD
    assert len(logged(caplog, "model arm-copy: golden outputs: ")) == 1
    (folder / "arm-deviation.tflite").write_bytes(weights)
    assert results_after(RETRY_S) == GOOD
    assert len(logged(caplog, "golden outputs are good again")) == 1


def test_a_package_that_was_exchanged_since_is_not_compared(tmp_path: Path) -> None:
    folder = model_copy(tmp_path)
    assert run(folder, "litert", "another").state == MISSING
    (folder / "manifest.yaml").unlink()
    assert run(folder, "litert", "another").state == BAD


def test_the_monitor_writes_no_file_that_others_can_read(arm: WatchedLane) -> None:
    arm.readings(LEARN)
    arm.monitor.close()
    for path in arm.settings.state_dir.rglob("*"):
        assert not os.stat(path).st_mode & 0o077, path
