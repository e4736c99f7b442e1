"""The bundled scenes on their recordings decide what a person sees in the clips."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.build import make_lane, rules_of
from agent.config.load import load_config
from agent.config.models import Config
from agent.data import Decision, Evidence
from agent.lane import Lane
from agent.rules.fusion import explain
from agent.rules.scene import Scene
from agent.scenes import catalog
from agent.view.source import with_source
from tests.shared import DATA, needs_recordings
from tests.test_crossing import PASSES
from tests.test_heart import VF_S


class Step(NamedTuple):
    """One sample of one lane: its evidence and decisions, and the verb in force at the scene's actuator."""

    lane: str
    at_s: float
    frame: int
    evidence: list[Evidence]
    decisions: list[Decision]
    verb: str


def steps(config: Config, beside: Path, names: list[str], seconds: float = 1e9) -> Iterator[Step]:
    """The scene's own lanes, fast: sample after sample of all of them in the order of their times, from 0 on."""
    scene = Scene(rules_of(config))
    actuator = next(iter(config.actuators))
    lanes = [make_lane(name, with_source(config, name, None, beside), beside, 0) for name in names]
    starts, heads = {}, {}
    try:
        for lane in lanes:
            lane.open()
            first = lane.source.read(5.0)
            assert first
            starts[lane.name], heads[lane.name] = first.t_capture, first._replace(t_capture=0)
        while heads:
            lane = min((lane for lane in lanes if lane.name in heads), key=lambda lane: heads[lane.name].t_capture)
            sample = heads[lane.name]
            decisions = [item for item in lane.step(sample, scene) or [] if item.actuator == actuator]
            in_force = scene.current(actuator)
            at_s = sample.t_capture / 1e9
            if at_s > seconds:
                return
            evidence = list(lane.evidence or ())
            yield Step(
                lane=lane.name,
                at_s=at_s,
                frame=sample.sequence,
                evidence=evidence,
                decisions=decisions,
                verb=in_force.verb if in_force else "",
            )
            advance(lane, heads, starts[lane.name])
    finally:
        for lane in lanes:
            lane.source.close()


def advance(lane: Lane, heads: dict[str, Any], start: int) -> None:
    try:
        sample = lane.source.read(5.0)
    except EOFError:
        del heads[lane.name]
        return
    assert sample
    heads[lane.name] = sample._replace(t_capture=sample.t_capture - start)


def clip(name: str, folder: Path, lane: str) -> list[Step]:
    """Of one lane on its recording, frame by frame."""
    path = catalog.on_recordings(name, DATA, folder)
    frames = list(steps(load_config(path), folder, [lane]))
    assert [frame.frame for frame in frames] == list(range(len(frames)))
    return frames


def verbs(frames: list[Step], first: int, last: int) -> set[str]:
    return {frame.verb for frame in frames[first : last + 1]}


def changes(frames: list[Step]) -> list[tuple[str, int]]:
    """Each verb with the frame from which on it is in force."""
    return [(verb, next(group).frame) for verb, group in groupby(frames, key=lambda frame: frame.verb)]


@needs_recordings
def test_the_robot_stops_while_the_worker_is_past_the_striped_line(tmp_path: Path) -> None:
    """worker-zone-detection.gif, 71 frames at 15 Hz.

    By eye: he enters at the lower edge, right of the line, has a foot on it at frames 33 to 39, both feet left of it
    from 42 on, and stays in the picture until the end.
    """
    frames = clip("robot-cell", tmp_path, "floor")
    assert verbs(frames, 3, 38) == {"stop"}
    # A second's hold after the last foot; a box is as coarse as a sixteenth of the picture, so he seems to stay longer.
    assert verbs(frames, 42 + 6 + 15, 70) == {"run"}
    assert all(any(item.label == "person" and item.score > 0.9 for item in frame.evidence) for frame in frames[57:])
    assert [verb for verb, _ in changes(frames)] == ["run", "stop", "run"]


# First and last frame, by eye and to four frames, that show a part of a visitor; each stands at the table meanwhile.
VISITS = [(60, 198), (228, 448), (504, 698), (748, 870), (924, 1200), (1236, 1358)]


@needs_recordings
@pytest.mark.slow
def test_each_of_six_visitors_at_the_wall_is_one_alarm(tmp_path: Path) -> None:
    """one-by-one-person-detection.mp4, 10 Hz: from below to the table at the wall, and away to the right."""
    frames = clip("perimeter", tmp_path, "wall")
    verb_changes = changes(frames)
    assert [verb for verb, _ in verb_changes] == ["watch"] + ["alarm", "watch"] * 6
    for (first, last), (_, started), (_, ended) in zip(VISITS, verb_changes[1::2], verb_changes[2::2]):
        assert 4 <= started - first <= 25  # on the way to the wall is not at the wall
        assert 15 <= ended - last <= 40  # the hold is three seconds
    evidence = [item for frame in frames for item in frame.evidence]
    assert not any(item.label == "climbing" and item.score >= 0.5 for item in evidence)  # nobody does


@needs_recordings
def test_vehicles_have_green_while_a_car_is_there_and_people_while_the_road_is_empty(tmp_path: Path) -> None:
    """car-detection.mp4, 12.5 Hz; a second without a car gives people green, which ends a second after the next car."""
    frames = clip("crossing", tmp_path, "above")
    white, green, red, last = PASSES  # the second pair overlaps
    cars = [white, (green[0], red[1]), last]
    for first, end in cars:
        assert verbs(frames, first + 14, end) == {"vehicles"}
    for (_, end), (first, _) in zip([(0, 0), *cars], [*cars, (len(frames), 0)]):
        assert verbs(frames, end + 14, first - 1) == {"people"}


@needs_recordings
def test_a_fall_alerts_the_desk_and_bending_does_not(tmp_path: Path) -> None:
    """S2-Fall-13.mp4, 15 Hz. By eye: bent down until frame 12, upright at 16 to 40, falls from 44, lies from 76 on."""
    frames = clip("campus", tmp_path, "yard")
    assert verbs(frames, 0, 44) == {"quiet"}
    assert verbs(frames, 64, len(frames)) == {"look"}


# -- the bed --------------------------------------------------------------------------------------------


def bed(folder: Path, **source: Any) -> Config:
    """source: of the ear."""
    path = catalog.on_recordings("bedside", DATA, folder)
    data = json.loads(path.read_text())
    data["lanes"]["ear"]["source"].update(source)
    path.write_text(json.dumps(data))
    return load_config(path)


def decisions(config: Config, folder: Path, lanes: list[str], seconds: float) -> list[tuple[float, Decision]]:
    return [(step.at_s, decision) for step in steps(config, folder, lanes, seconds) for decision in step.decisions]


@needs_recordings
@pytest.mark.slow
def test_a_fall_and_a_scream_together_call_the_nurse(tmp_path: Path) -> None:
    """S1-Fall-15.mp4: leans from 1.6 s, on his hands at 2.4 s, down at 3 s; the scream sounds from 2 to 4 s."""
    made = decisions(bed(tmp_path), tmp_path, ["room", "ear", "heart"], 5.9)
    assert [decision.verb for _, decision in made] == ["quiet", "call"]
    at_s, call = made[1]
    assert 2.4 < at_s < 4.0
    assert {item.lane for item in call.evidence} == {"room", "ear"} and call.confidence >= 0.9
    assert call.missing_lanes == ("heart",)  # whose model needs eight seconds before its first result
    fall, scream = r"falling [01]\.\d\d at -?\d+ ms", r"scream 0\.\d\d at -?\d+ ms"
    assert re.fullmatch(rf"{fall}, {scream}; without heart; confidence 0\.9\d", explain(call))


@needs_recordings
@pytest.mark.slow
def test_a_fall_alone_or_a_scream_alone_calls_nobody(tmp_path: Path) -> None:
    for lanes, sounds in (["room", "ear", "heart"], "quiet"), (["ear", "heart"], "screaming"):
        folder = tmp_path / sounds
        folder.mkdir()
        config = bed(folder, **({"sounds": []} if sounds == "quiet" else {}))
        made = decisions(config, folder, lanes, 5.9)
        assert {decision.verb for _, decision in made} == {"quiet"}, (lanes, made)


@needs_recordings
def test_the_highest_score_of_a_single_source_is_not_enough(tmp_path: Path) -> None:
    """Whatever score a model gives: the other lanes find nothing, or are missing."""
    config = bed(tmp_path)
    for label in ("falling", "scream", "heart-rate-jump"):
        for missing in (False, True):
            rules = rules_of(config)
            for number in range(20):
                for condition in config.rules["needs-help"].sum:
                    same = condition.label == label
                    now = number * 50_000_000
                    evidence = [Evidence(condition.lane, label, 1.0, now)] if same else []
                    if same or not (missing or condition.label == "groan"):
                        rules.decide(condition.lane, now, now, evidence)
            (rule,) = [rule for rule in rules.rules if rule.name == "needs-help"]
            assert 0.5 < rule.confidence < 0.9 and rules.in_force["nurse"].rule != "needs-help"


@needs_recordings
def test_the_heart_that_fibrillates_is_an_emergency_within_ten_seconds(tmp_path: Path) -> None:
    made = decisions(bed(tmp_path), tmp_path, ["heart"], 40.0)
    start_s = 190.0
    at_s, first = next((at_s, decision) for at_s, decision in made if decision.verb == "emergency")
    assert VF_S < start_s + at_s < VF_S + 10 and first.rule == "heart-stops"
    assert all(start_s + at_s > VF_S for at_s, decision in made if decision.verb != "quiet")


def test_the_simulated_heart_calls_when_it_races_and_more_when_it_stops(tmp_path: Path) -> None:
    path = catalog.find("bedside")
    made = decisions(load_config(path), tmp_path, ["heart"], 80.0)
    calls = [(decision.verb, at_s) for at_s, decision in made if decision.verb in ("call", "emergency")]
    assert calls[0][0] == "call" and 25 < calls[0][1] < 30
    assert 64 < next(at_s for verb, at_s in calls if verb == "emergency") < 70
