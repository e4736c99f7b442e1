"""A new version of a model in a running cell: beside the old one, on probation, accepted, or taken back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.control.client import ask
from tests.model_versions import SHADOW, UpdatedCell
from tests.processes import arm
from tests.waiting import until

AFTER_SHADOW = 4 + SHADOW + 30  # runs of an engine: its warm-up, beside the lane, and some in it


@pytest.mark.parametrize("workers", [0, 1])
def test_a_good_version_runs_beside_the_old_one_then_alone_and_stays(tmp_path: Path, workers: int) -> None:
    with UpdatedCell(tmp_path) as cell:
        cell.config["workers"] = workers
        cell.add("2.0")
        _, daemon = cell.start_both()
        assert cell.runs() == "1.0.0"
        assert cell.swap("2.0") == {"ok": True}
        state = cell.wait_for_outcome()
        assert (state.current, state.previous, state.rejected) == ("2.0", None, {})
        assert [event.event for event in state.history] == ["added", "trial", "probation", "accepted"]
        assert cell.runs() == "2.0"
        counts = cell.counts("arm")
        assert (counts["lost"], counts["faults"]) == (0, 0)
        assert daemon.stop() == 0
        cell.run()
        until(lambda: cell.runs() == "2.0", cell.logs)  # also after a restart


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("slow 4", "an inference takes 6"),
        ("nan 4", "output 'StatefulPartitionedCall_1:0' has values that are NaN"),
        ("exception 4", "the engine fails: it fails, as the test wants"),
        ("other 4", "inputs it finds something else than version 1.0.0; 5% are allowed"),
    ],
)
def test_a_version_that_is_faulty_beside_the_old_one_never_decides(tmp_path: Path, fault: str, reason: str) -> None:
    with UpdatedCell(tmp_path) as cell:
        cell.add("2.0", fault)
        _, daemon = cell.start_both()
        assert cell.swap("2.0") == {"ok": True}
        state = cell.wait_for_outcome()
        assert state.current is None
        assert reason in state.rejected["2.0"]
        assert "probation" not in [event.event for event in state.history]
        assert reason in daemon.wait_for("version 2.0 is rejected")
        assert reason in cell.status()["updates"]["arm-deviation"]["rejected"]["2.0"]
        assert cell.runs() == "1.0.0"
        assert (cell.counts("arm")["faults"], cell.counts("arm")["lost"]) == (0, 0)
        assert "was rejected" in cell.swap("2.0")["error"]  # it is not tried again


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, reason",
    [
        ("slow", "capture to decision takes"),
        ("nan", "a fault: model arm-deviation: output 'StatefulPartitionedCall_1:0' has values that are NaN"),
        ("exception", "a fault: model arm-deviation: the engine fails: it fails, as the test wants"),
        ("other", "inputs it finds something else than version 1.0.0"),
    ],
)
def test_a_version_that_fails_on_probation_is_taken_back(tmp_path: Path, fault: str, reason: str) -> None:
    with UpdatedCell(tmp_path, probation_samples=100_000) as cell:
        cell.add("2.0", f"{fault} {AFTER_SHADOW}")
        _, daemon = cell.start_both()
        assert cell.swap("2.0") == {"ok": True}
        state = cell.wait_for_outcome()
        assert (state.current, reason in state.rejected["2.0"]) == (None, True), state
        assert state.history[-1].event == "rolled back"
        until(lambda: cell.runs() == "1.0.0", cell.logs)
        done = cell.counts("arm")["inferences"]
        cell.wait_for_count("arm", "inferences", done + 50)
        until(lambda: cell.status()["lanes"]["arm"]["healthy"], cell.logs)
        assert cell.counts("arm")["lost"] == 0, daemon.text


@pytest.mark.slow
def test_a_version_that_ends_the_daemon_twice_is_taken_back_at_the_third_start(tmp_path: Path) -> None:
    with UpdatedCell(tmp_path) as cell:
        cell.add("2.0", "crash 8")
        cell.actuate()
        daemon = cell.run()
        cell.wait_for("run")
        assert cell.swap("2.0") == {"ok": True}
        assert daemon.exit_code() == -9
        assert cell.run().exit_code() == -9  # the trial goes on, and ends it again
        last = cell.run()
        last.wait_for("version 2.0 is rejected: reflexd started 2 times while it was on trial")
        until(lambda: cell.runs() == "1.0.0", cell.logs)
        assert cell.state().trial is None


def test_what_cannot_replace_the_version_in_use_is_rejected_before_it_computes(tmp_path: Path) -> None:
    with UpdatedCell(tmp_path) as cell:
        cell.add("2.0", labels=["normal", "deviation", "collision", "too-fast"])
        cell.start_both()
        assert cell.swap("2.0") == {"ok": True}
        assert "it lacks the label 'overspeed'" in cell.wait_for_outcome().rejected["2.0"]


def test_a_damaged_version_in_the_store_gives_way_to_the_configured_package(tmp_path: Path) -> None:
    with UpdatedCell(tmp_path, {"arm": arm(), "other": arm()}) as cell:
        cell.add("2.0")
        cell.store.begin_trial("2.0")
        cell.store.commit()
        with open(cell.store.folder("2.0") / "arm-deviation.tflite", "r+b") as file:
            file.seek(3000)
            file.write(b"\xff\xff\xff")
        _, daemon = cell.start_both()
        assert cell.runs() == cell.runs("other") == "1.0.0"
        assert len(daemon.lines("the version in the store cannot be used, the configuration's runs")) == 1


@pytest.mark.parametrize(
    "request_, error",
    [
        ({"model": "movenet", "version": "2.0"}, "model 'movenet' is not updated here"),
        ({"version": "2.0"}, "model 'None' is not updated here"),
        ({"model": "arm-deviation", "version": 2}, "expected a version, as text"),
        ({"model": "arm-deviation", "version": "../x"}, "'../x' cannot name a version"),
        ({"model": "arm-deviation", "version": "9.9"}, "no version 9.9 on this box"),
    ],
)
def test_a_request_that_cannot_be_met_is_answered_with_the_reason(
    running: UpdatedCell, request_: dict[str, object], error: str
) -> None:
    answer = ask(running.run_dir, {"do": "swap", **request_}) or {}
    assert not answer["ok"]
    assert error in answer["error"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpdatedCell]:
    with UpdatedCell(tmp_path_factory.mktemp("cell")) as cell:
        cell.start_both()
        yield cell


@pytest.mark.slow
def test_a_rollback_in_the_store_is_followed_without_a_restart(tmp_path: Path) -> None:
    with UpdatedCell(tmp_path) as cell:
        cell.add("2.0")
        cell.store.begin_trial("2.0")
        cell.store.commit()
        cell.start_both()
        assert cell.runs() == "2.0"
        cell.store.rollback("a person wants it")
        assert cell.swap(None) == {"ok": True}
        until(lambda: cell.runs() == "1.0.0", cell.logs)
        assert cell.counts("arm")["lost"] == 0
