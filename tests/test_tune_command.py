"""`reflexd tune` as a command: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.config.models import Config
from agent.control import client as control
from agent.errors import ConfigError
from agent.tune import write
from agent.tune.candidates import Candidate
from agent.tune.measure import Changes, Measured, Measurement
from agent.tune.propose import Outcome, Proposal, Row
from agent.tune.trace import latency
from tests.processes import PERSON, arm, camera
from tests.tuning import cell_config, trace, tune

CELL = """\
# the cell in hall 3
node: cell-1
run_dir: ./run
state_dir: ./state
lanes:
  floor:
    source: {driver: camera.sim, width: 1920, height: 1080, pictures: 3}
    model: objects      # 80 labels
    # where the arm can hit a person
    zones: {reach: [[0, 0], [1, 0], [1, 1]]}
actuators:
  robot: {device: {driver: actuator.sim}, rest: run}
rules:
  person:
    any: [{lane: floor, label: person, score: 0.5}]
    actuator: robot
    verb: stop
"""


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A robot cell at 15 ms, whose lane with person-coarse takes 2."""
    path = tmp_path / "cell.yaml"
    path.write_text(CELL)

    def measured(self: Measurement, lane: str, settings: Mapping[str, Changes]) -> dict[str, Measured]:
        results = {"model: person-coarse": trace(inference_ms=1.0), "model: motion-blobs": trace((), inference_ms=3.0)}
        return {name: results.get(name) or trace() for name in settings}

    monkeypatch.setattr(Measurement, "__call__", measured)
    return path


def test_the_report_has_the_costly_part_every_change_and_what_to_type_next(cell: Path) -> None:
    result = tune(cell, "--budget-ms", "10")
    assert result.exception is None and result.return_value == 0
    text = " ".join(result.stdout.split())
    assert "floor simulated camera.sim 15.0 15.0 / 10 missed by 5.02" in text
    assert "Lane floor: inference costs most: 14.0 of 15.0 ms at p50 (93 %), in the model objects." in text
    assert "as it is 15.0 15.0 2 of 2" in text
    assert "model: motion-blobs 4.02 4.02 0 of 2 loses 2 of 2 events, at 1, 4 s" in text
    assert "model: person-coarse 2.02 2.02 2 of 2 <--" in text
    assert "Proposed: lanes.floor: model: person-coarse." in text
    assert "p50 15.0 -> 2.02 ms, p99 15.0 -> 2.02 ms; events kept 2 of 2." in text
    assert f"Next: reflexd tune -c {cell} --budget-ms 10 --write" in text
    assert max(map(len, result.stdout.splitlines())) <= 80 + len(str(cell))
    assert cell.read_text() == CELL, "nothing is written without --write"


def test_beside_a_running_daemon_it_takes_no_core_from_its_lanes(cell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    priorities = []
    made = Measurement.__init__

    def noted(self: Measurement, loaded: Config, base_folder: Path, as_lane: bool) -> None:
        priorities.append(as_lane)
        made(self, loaded, base_folder, as_lane)

    monkeypatch.setattr(Measurement, "__init__", noted)
    monkeypatch.setattr(control, "ask", lambda *_: {"state": "running"})
    text = " ".join(tune(cell, "--budget-ms", "10").stdout.split())
    assert "at normal priority, as the daemon runs beside it" in text and priorities == [False]


def test_json_has_the_same_figures(cell: Path) -> None:
    result = tune(cell, "--budget-ms", "10", "--json")
    lane = json.loads(result.stdout)["lanes"]["floor"]
    assert (lane["verdict"], lane["costly"], lane["measured_on"]["kind"]) == ("proposed", "inference", "simulated")
    proposal = lane["proposal"]
    assert proposal["changes"] == {"model": "person-coarse"}
    assert proposal["before"]["p50_ms"] > 15 > 10 > proposal["p99_ms"]
    assert (proposal["events"], proposal["events_kept"], proposal["events_new"]) == (2, 2, 0)
    assert {row["reason"] for row in lane["tried"]} >= {"", "loses 2 of 2 events, at 1, 4 s"}


def test_write_changes_one_line_and_keeps_a_backup(cell: Path) -> None:
    result = tune(cell, "--budget-ms", "10", "--write")
    assert result.exception is None and result.return_value == 0
    assert cell.read_text() == CELL.replace("model: objects      # 80", "model: person-coarse      # 80")
    (backup,) = cell.parent.glob("cell.yaml.*.bak")
    assert backup.read_text() == CELL
    assert backup.name in result.stdout and "systemctl reload reflexd" in result.stdout
    assert load_config(cell).lanes["floor"].model == "person-coarse"
    assert sorted(file.name for file in cell.parent.iterdir() if file.name.startswith(".")) == []


def test_where_the_file_cannot_be_changed_the_report_is_printed_and_nothing_written(cell: Path) -> None:
    shared = CELL.replace("floor:\n", "floor: &same\n", 1).replace("actuators:", "  gate: *same\nactuators:", 1)
    cell.write_text(shared)
    result = tune(cell, "--budget-ms", "10", "--write")
    assert "change lanes.floor.model to person-coarse" in str(result.exception)
    assert "model: person-coarse" in result.stdout and "<--" in result.stdout
    assert cell.read_text() == shared and not list(cell.parent.glob("*.bak"))


def test_a_change_that_check_refuses_is_not_written(tmp_path: Path) -> None:
    path = cell_config(tmp_path, {"arm": arm()})
    before = path.read_bytes()
    speed = latency(trace())
    assert speed
    row = Row(Candidate("shrink", {("shrink",): 2}), speed, None)
    outcome = Outcome("arm", 10.0, speed, None, [row], Proposal(row, speed, None, trace()))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"nothing was written: .*: model 'arm-deviation' reads no pictures") as error:
        write.write(path, [outcome])
    assert ".tune.yaml" not in str(error.value)
    assert path.read_bytes() == before and not list(tmp_path.glob("*.bak"))


def test_a_lane_that_cannot_be_met_says_by_how_much_and_ends_with_1(
    cell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(self: Measurement, lane: str, settings: Mapping[str, Changes]) -> dict[str, Measured]:
        return {name: trace(inference_ms=12.0 if name.startswith("threads") else 14.0) for name in settings}

    monkeypatch.setattr(Measurement, "__call__", measured)
    result = tune(cell, "--budget-ms", "3", "--write")
    assert result.return_value == 1
    text = " ".join(result.stdout.split())
    assert "Lane floor cannot meet the budget here." in text
    assert "ms above 3; what limits it is inference, 1" in text
    assert "--write" not in text and cell.read_text() == CELL
    lane = json.loads(tune(cell, "--budget-ms", "3", "--json").stdout)["lanes"]["floor"]
    assert lane["verdict"] == "cannot be met" and lane["missed_by_ms"] >= 10.0


def test_a_real_lane_within_a_large_budget_needs_no_change(tmp_path: Path) -> None:
    result = tune(cell_config(tmp_path), "--budget-ms", "1e6", "--seconds", "2")
    assert result.exception is None and result.return_value == 0
    assert "nothing to change" in result.stdout and "simulated camera.sim" in result.stdout


@pytest.mark.slow
def test_a_real_lane_cannot_meet_a_microsecond(tmp_path: Path) -> None:
    path = cell_config(tmp_path, {"floor": {**camera(), "model": str(PERSON)}, "arm": arm(fault_every_s=1)})
    result = tune(path, "--budget-ms", "0.001", "--seconds", "2", "--json")
    assert result.exception is None and result.return_value == 1
    lanes = json.loads(result.stdout)["lanes"]
    assert {lane["verdict"] for lane in lanes.values()} == {"cannot be met"}
    assert all(lane["missed_by_ms"] > 0 and lane["p50_ms"] > 0 for lane in lanes.values())
    assert lanes["arm"]["measured_on"]["samples"] > 1900
