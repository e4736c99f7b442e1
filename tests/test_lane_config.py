"""Mistakes that `reflexd check` reports in a lane with a refining model, a gate or smaller pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared import mistakes

LANE = """\
lanes:
  yard:
    source: {{driver: camera.sim}}
    model: {model}
    {line}
actuators:
  siren: {{device: {{driver: actuator.log}}, rest: quiet}}
rules:
  person:
    any: [{{lane: yard, label: {label}, within_ms: 500, absent: {absent}}}]
    actuator: siren
    verb: alarm
"""


def mistakes_of(
    folder: Path, line: str, model: str = "person-coarse", label: str = "person", absent: str = "false"
) -> list[str]:
    return mistakes(folder / "yard.yaml", LANE.format(line=line, model=model, label=label, absent=absent))


@pytest.mark.parametrize(
    "line",
    [
        "gate: {keyframe: {}}",
        "gate: {motion: {crop: true}, keyframe: {min_changed: 0.2}}",
        "shrink: auto",
        "shrink: 4",
        "refine: {model: person-coarse, label: person}",
    ],
)
def test_valid_lanes(tmp_path: Path, line: str) -> None:
    assert mistakes_of(tmp_path, line) == []


@pytest.mark.parametrize(
    "line, expected",
    [
        (
            "gate: {outlier: {j1: {tolerance: 5}}}",
            "5: 'outlier' is for readings; for pictures use 'keyframe' or 'motion'",
        ),
        (
            "gate: {motion: {}, active_interval_ms: 500}",
            "5: active_interval_ms is 500, but for rule 'person' the lane is missing after within_ms",
        ),
        ("gate: {keyframe: {min_changed: 3}}", "5: 'lanes.yard.gate.keyframe.min_changed'"),
        ("gate: {}", "5: 'lanes.yard.gate'"),
        ("shrink: 0", "5: 'lanes.yard.shrink'"),
        ("shrink: often", "5: 'lanes.yard.shrink'"),
        ("refine: {model: nothing, label: person}", "5: no model package 'nothing'"),
        (
            "refine: {model: person-coarse, label: persn}",
            "5: no label 'persn' in model 'person-coarse'; did you mean 'person'?",
        ),
        ("refine: {model: arm-deviation, label: person}", "5: model 'arm-deviation' cannot read a part of a picture"),
        ("refine: {model: pcb-inspect, label: person}", "5: model 'pcb-inspect' cannot read a part of a picture"),
        ("refine: {model: person-coarse, label: person, band: [0.9, 0.2]}", "5: 'lanes.yard.refine'"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, line: str, expected: str) -> None:
    lines = mistakes_of(tmp_path, line)
    assert len(lines) == 1 and lines[0].startswith(expected), lines


def test_commands_hold_for_a_minute_at_most(tmp_path: Path) -> None:
    source = "{driver: camera.sim, timeout_ms: %d}"
    for timeout_ms, expected in ((60_000, []), (60_001, ["60001 ms, but a command holds for 60000 ms at most"])):
        text = LANE.format(line="", model="person-coarse", label="person", absent="false")
        lines = mistakes(tmp_path / "yard.yaml", text.replace("{driver: camera.sim}", source % timeout_ms))
        assert [line.split(": ", 1)[1].split(":")[0] for line in lines] == expected


def test_a_pose_needs_the_refining_model_up_to_score_1(tmp_path: Path) -> None:
    lines = mistakes_of(
        tmp_path, "refine: {model: person-coarse, label: person, band: [0.3, 0.8]}\n    then: pose-fall"
    )
    assert any("let band end at 1" in mistake for mistake in lines)


def test_the_idle_interval_is_shorter_than_within_ms_of_an_absence(tmp_path: Path) -> None:
    lines = mistakes_of(tmp_path, "gate: {keyframe: {}, idle_interval_ms: 1000}", absent="true")
    assert len(lines) == 1 and lines[0].startswith("5: idle_interval_ms is 1000, but for rule 'person'")


def test_readings_have_other_gates(tmp_path: Path) -> None:
    lines = mistakes_of(tmp_path, "gate: {motion: {}}", model="arm-deviation", label="deviation")
    assert any(
        mistake.startswith("5: 'keyframe' and 'motion' are for pictures; for readings use 'outlier'")
        for mistake in lines
    )
    lines = mistakes_of(tmp_path, "shrink: 2", model="arm-deviation", label="deviation")
    assert any("reads no pictures: there is nothing to shrink" in mistake for mistake in lines)
