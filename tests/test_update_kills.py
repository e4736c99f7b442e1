"""kill -9 of the daemon at random moments of a trial: the old or the new version runs, whole. And what is recorded."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from agent.packages import package
from agent.recorder.recording import read
from tests.model_versions import UpdatedCell
from tests.recordings import files, replayed
from tests.waiting import until

KILLS = 8


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_daemon_that_is_killed_at_any_moment_of_a_trial_runs_a_whole_version(tmp_path: Path) -> None:
    moments = random.Random(15)
    with UpdatedCell(tmp_path, shadow_samples=5, probation_samples=200) as cell:
        cell.actuate()
        for kill in range(KILLS):
            number = f"2.{kill}"
            cell.add(number)
            daemon = cell.run()
            until(lambda: cell.runs() != "", cell.logs)  # noqa: B023 - called here
            running = cell.runs()
            assert running in {"1.0.0", *cell.store.versions()}
            package.open_package(cell.store.current_folder() or package.find("arm-deviation"))
            done = cell.counts("arm")["inferences"]
            cell.wait_for_count("arm", "inferences", done + 20)
            before = cell.state()
            cell.swap(number)
            time.sleep(moments.uniform(0.0, 2.0))  # the moment, not a wait
            daemon.signal(signal.SIGKILL)
            daemon.exit_code()
            after = cell.state()
            assert after.current in {before.current, number, *([before.trial.version] if before.trial else [])}
        last = cell.run()
        until(lambda: cell.runs() != "", cell.logs)
        until(lambda: cell.state().trial is None, lambda: last.text)
        assert cell.runs() == (cell.state().current or "1.0.0")


@pytest.mark.slow
def test_recordings_name_the_version_that_decided_and_are_replayed_with_it(tmp_path: Path) -> None:
    with UpdatedCell(tmp_path) as cell:
        cell.add("2.0")
        _, daemon = cell.start_both()
        until(lambda: files(cell.state_dir), cell.logs)
        cell.wait_for_count("arm", "inferences", 200)
        cell.swap("2.0")
        cell.wait_for_outcome()
        until(lambda: cell.runs() == "2.0", cell.logs)
        cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 300)
        assert daemon.stop() == 0
        recordings = files(cell.state_dir)
        versions = [str(read(path).header["versions"]) for path in recordings]
        assert "1.0.0" in versions[0] and "2.0" in versions[-1], versions
        for path in recordings:
            code, output = replayed(path)
            assert code == 0, output
