"""What the monitor finds, as doctor, status, metrics and `reflexd drift` show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.drift import published
from agent.drift.metrics import families
from agent.field.checks import drift
from agent.field.checks.base import BAD, GOOD, SKIP, WARN
from agent.field.lanes import lane_statuses
from agent.field.snapshot import read_snapshot
from tests.drift_fixtures import drifting_report
from tests.field_fixtures import box, configuration, exit_code, reflexd, write_ledger


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return drifting_report(tmp_path_factory.mktemp("watched"))


def shown(folder: Path, report: dict[str, Any]) -> Path:
    """The configuration of a box whose monitor has published this."""
    path = configuration(folder, drift={})
    (folder / "run").mkdir(exist_ok=True)
    published.write(folder / "run", {"arm": report})
    return path


def test_the_doctor_says_what_drifts_and_what_to_do(tmp_path: Path, drifting: dict[str, Any]) -> None:
    (check,) = drift.checks(box(shown(tmp_path, drifting)))
    assert check.state == WARN and "x spread 1.5" in check.cause
    assert "another range or unit" in check.fix and "reflexd drift --relearn arm" in check.fix


def test_the_doctor_calls_bad_golden_outputs_bad(tmp_path: Path, drifting: dict[str, Any]) -> None:
    golden = {"state": "bad", "causes": ["arm-deviation: sha256 is other"], "age_s": 3.0}
    _, check = drift.checks(box(shown(tmp_path, {**drifting, "golden": golden})))
    assert check.state == BAD and "sha256 is other" in check.cause and "reflexd model verify" in check.fix


def test_the_doctor_on_a_box_where_nothing_drifts_or_is_watched(tmp_path: Path, drifting: dict[str, Any]) -> None:
    still = {**drifting, "state": "learning", "learnt": 0.25, "drifts": []}
    (check,) = drift.checks(box(shown(tmp_path, still)))
    assert (check.state, check.cause) == (GOOD, "learning: 25% of what it needs")
    (check,) = drift.checks(box(shown(tmp_path, {**still, "trouble": "has no tape in run_dir"})))
    assert check.state == WARN and check.cause == "has no tape in run_dir"
    (tmp_path / "run" / published.NAME).unlink()
    (check,) = drift.checks(box(configuration(tmp_path, drift={})))
    assert check.state == SKIP
    (check,) = drift.checks(box(configuration(tmp_path)))
    assert check.state == SKIP and "'drift: {}' in the configuration" in check.cause


def test_status_shows_what_drifts_at_its_lane(tmp_path: Path, drifting: dict[str, Any]) -> None:
    path = shown(tmp_path, drifting)
    write_ledger(tmp_path)
    (lane,) = lane_statuses(read_snapshot(path))
    assert lane.drift == "drifting" and lane.drifts == drifting["drifts"]
    assert "another range or unit" in lane.drift_note and lane.drift_note.endswith("reflexd drift --relearn arm")
    for more, note in (
        ({"state": "learning", "learnt": 0.4}, "40% of what it needs"),
        ({"state": "waiting", "trouble": "has no tape in run_dir"}, "has no tape in run_dir"),
        ({"state": "normal", "golden": {"causes": ["arm-deviation: sha256 is other"]}}, "reflexd model verify; copy"),
    ):
        calm = {**drifting, "drifts": [], "causes": [], "accept": "", **more}
        (lane,) = lane_statuses(read_snapshot(shown(tmp_path, calm)))
        assert lane.drift_note.startswith(note)
    path = shown(tmp_path, drifting)
    assert "~ drifts: x spread 1.5" in reflexd("status", "-c", str(path)).output


def test_the_command_shows_each_lane_and_ends_with_1_where_one_drifts(tmp_path: Path, drifting: dict[str, Any]) -> None:
    result = reflexd("drift", "-c", str(shown(tmp_path, drifting)))
    assert exit_code(result) == 1 and result.output.startswith("arm: drifting; golden outputs not yet\n")
    normal = {**drifting, "state": "normal", "drifts": [], "causes": [], "accept": ""}
    result = reflexd("drift", "-c", str(shown(tmp_path, normal)))
    assert exit_code(result) == 0 and result.output.startswith("arm: normal")


def test_every_figure_has_a_metric(drifting: dict[str, Any]) -> None:
    samples = {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in families({"arm": drifting})
        for sample in family.samples
    }
    assert samples["reflexd_drift_alarm", (("lane", "arm"), ("statistic", "x spread"))] == 1.0
    assert samples["reflexd_drift_alarm", (("lane", "arm"), ("statistic", "x level"))] == 0.0
    assert samples["reflexd_drift_learnt", (("lane", "arm"),)] == 1.0
    assert samples["reflexd_score_share", (("lane", "arm"), ("le", "1"))] == pytest.approx(1.0, abs=0.01)
    assert not any(name == "reflexd_golden_good" for name, _ in samples), "not run yet"
    assert list(families({})) == []
