"""models/heart in a lane: simulated events, and PhysioNet's records."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from agent.offline import offline_lane
from agent.packages import package
from agent.packages.package import BUNDLED
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from drivers.base import DeviceFault, open_source
from models.train.data import DataError
from models.train.heart import atr, evaluate
from tests.shared import DATA, needs_recordings

HEART = BUNDLED / "heart"
LABELS = ("fibrillation", "flat-line", "heart-rate-jump", "lead-off")
RULES = {
    label: {
        "any": [{"lane": "bed", "label": label, "score": 0.5, "hits": 3, "of": 4}],
        "actuator": "nurse",
        "verb": label,
        "hold_ms": 5000,
    }
    for label in LABELS
}
VF_S = 53_546 / 250  # cu01.atr: [


class Call(NamedTuple):
    """Seconds into the run, and the alarm; "" at its end."""

    at_s: float
    verb: str


def calls(driver: str, options: dict[str, Any], seconds: float = 1e9) -> list[Call]:
    """Every decision of the lane on a fast source, through the same steps as in the daemon."""
    lane = offline_lane("bed", driver, options, Perception(package.open_package(HEART)))
    rules = {name: RuleConfig.model_validate(rule) for name, rule in RULES.items()}
    scene = Scene(Rules(rules, {"nurse": ""}))
    made: list[Call] = []
    start = -1
    for sample, decisions in lane.play(scene):
        start = sample.t_capture if start < 0 else start
        at_s = (sample.t_capture - start) / 1e9
        made += [Call(at_s, decision.verb) for decision in decisions]
        if at_s > seconds:
            break
    return made


def test_a_slower_source_is_refused() -> None:
    with pytest.raises(DeviceFault, match="heart wants 250 readings a second, the source gives 200: set its rate_hz"):
        calls("sensor.sim_heart", {"rate_hz": 200})


@pytest.mark.parametrize(
    "kind, label, soonest_s, latest_s",
    [
        ("rate", "heart-rate-jump", 1.0, 5.0),
        ("flat_line", "flat-line", 4.0, 6.0),  # four seconds make it one
        ("lead_off", "lead-off", 1.0, 3.0),
    ],
)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.slow
def test_an_event_raises_its_own_alarm_and_no_other(
    kind: str, label: str, soonest_s: float, latest_s: float, seed: int
) -> None:
    made = calls("sensor.sim_heart", {"seed": seed, "faults": [{"kind": kind, "at_s": 40, "for_s": 15}]}, 80.0)
    assert [call.verb for call in made] == ["", label, ""]
    assert soonest_s <= made[1].at_s - 40 <= latest_s
    assert 55 < made[2].at_s < 70


@pytest.mark.parametrize("seed", range(6))
def test_fibrillation_is_called_within_ten_seconds(seed: int) -> None:
    made = calls(
        "sensor.sim_heart", {"seed": seed, "faults": [{"kind": "fibrillation", "at_s": 40, "for_s": 30}]}, 75.0
    )
    assert made[0].verb == "" and made[1].at_s > 40  # its first seconds may raise a jump
    assert next(call.at_s for call in made if call.verb == "fibrillation") - 40 < 10


@pytest.mark.slow
def test_ten_healthy_minutes_raise_no_alarm() -> None:
    """Rates from rest to effort, each two minutes: steps small enough to be no jump."""
    steps = [{"kind": "rate", "at_s": 120 * n, "for_s": 120, "amount": 60 + 10 * n} for n in range(5)]
    assert [call.verb for call in calls("sensor.sim_heart", {"faults": steps, "noise_mv": 0.03}, 600.0)] == [""]


def test_the_same_run_gives_the_same_calls() -> None:
    run = {
        "seed": 4,
        "faults": [{"kind": "rate", "at_s": 30, "for_s": 10}, {"kind": "fibrillation", "at_s": 60, "for_s": 10}],
    }
    assert calls("sensor.sim_heart", run, 80.0) == calls("sensor.sim_heart", run, 80.0) != []


@needs_recordings
def test_the_onset_in_cu01_is_called_within_ten_seconds_and_nothing_before() -> None:
    made = calls("sensor.wfdb", {"path": str(DATA / "ecg/cu01"), "signals": {"ecg": "ECG"}}, 260.0)
    assert made[0] == (pytest.approx(8.2, abs=0.1), "")
    assert VF_S < made[1].at_s < VF_S + 10
    assert next(call.at_s for call in made if call.verb == "fibrillation") < VF_S + 10


@needs_recordings
@pytest.mark.parametrize("name", ["MLII", "V5"])
@pytest.mark.slow
def test_the_half_hour_of_record_100_raises_no_alarm(name: str) -> None:
    made = calls("sensor.wfdb", {"path": str(DATA / "ecg/100"), "signals": {"ecg": name}, "rate_hz": 250})
    assert [call.verb for call in made] == [""]


@needs_recordings
@pytest.mark.parametrize("name", ["MLII", "V5"])
@pytest.mark.slow
def test_beats_agree_with_the_annotations(name: str) -> None:
    source = open_source(
        "sensor.wfdb", {"path": str(DATA / "ecg/100"), "signals": {"ecg": name}, "rate_hz": 250}, "bed"
    )
    source.open()
    peaks = evaluate.detect_beats(source.rows[:, 0], 250, 2000, 62)
    truth = atr.read(DATA / "ecg/100.atr").beats * (250 / 360)
    right, missed, false = evaluate.match_beats(peaks, truth, evaluate.TOLERANCE_S * 250)
    assert right + missed == 2273
    assert right / (right + missed) >= 0.99 and right / (right + false) >= 0.99


@needs_recordings
def test_the_evaluation_counts_beats_alarms_and_the_onset(tmp_path: Path) -> None:
    for kind in ("hea", "dat", "atr"):
        (tmp_path / f"cu01.{kind}").symlink_to(DATA / f"ecg/cu01.{kind}")
    figures = evaluate.evaluate(HEART, tmp_path)["records"]["cu01"]["ECG"]
    assert figures["beats"] == 203 and figures["sensitivity"] >= 0.99 and figures["precision"] >= 0.99
    assert figures["windows_without_fibrillation"] > 800 and figures["false_alarms"] == 0
    wild = figures["fibrillation_at_214.2_s"]
    assert wild["first_alarm_s"] < 10 and wild["of_them_alarmed"] > 0.9 * wild["windows_in_it"]


def test_evaluation_reports_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no \\*.hea"):
        evaluate.evaluate(HEART, tmp_path)
    (tmp_path / "a.hea").write_text("a 1 250\na.dat 16\n")
    (tmp_path / "a.atr").write_bytes(b"")
    with pytest.raises(DataError, match="a.atr"):
        evaluate.evaluate(HEART, tmp_path)
    (tmp_path / "a.atr").write_bytes(b"\1\4\0\0")
    with pytest.raises(DataError, match="a.dat: no such file"):
        evaluate.evaluate(HEART, tmp_path)
    (tmp_path / "a.dat").write_bytes(bytes(2000))
    with pytest.raises(DataError, match="4.0 s of ECG; the model needs 8 s"):
        evaluate.evaluate(HEART, tmp_path)


def test_each_beat_is_matched_once() -> None:
    right, missed, false = evaluate.match_beats(np.array([10, 12, 50, 90]), np.array([11, 49, 70]), 3)
    assert (right, missed, false) == (2, 1, 2)
