"""The scenes that come along: whole, clear about mistakes, and deciding what a person sees in their clips."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from agent import yamlfile
from agent.build import make_lane, rules_of
from agent.cli import cli
from agent.config.load import load_config
from agent.config.models import Config
from agent.data import Decision, Evidence
from agent.errors import ConfigError
from agent.lane import Lane
from agent.rules.fusion import explain
from agent.rules.scene import Scene
from agent.scenes import catalog
from agent.scenes.catalog import MARK
from agent.view.source import with_source
from tests.processes import Process
from tests.shared import DATA, ROOT, needs_recordings
from tests.test_crossing import PASSES
from tests.test_heart import VF_S
from tests.waiting import until

NAMES = catalog.names()
OVERLAY: dict[str, Any] = yamlfile.read(catalog.HERE / f"{catalog.RECORDINGS}.yaml").data


# -- whole ------------------------------------------------------------------------------------------------------------------


def checked(path: Path) -> None:
    result = CliRunner().invoke(cli, ["check", "-c", str(path)], catch_exceptions=False)
    assert ": good: " in result.stdout


def test_the_five_of_the_field_and_no_stray_file_are_there() -> None:
    assert {"robot-cell", "perimeter", "crossing", "bedside", "campus"} <= set(NAMES)
    assert set(OVERLAY) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_is_good_and_its_models_load(name: str) -> None:
    checked(catalog.find(name))


@needs_recordings
@pytest.mark.parametrize("name", sorted(OVERLAY))
def test_a_scene_on_recordings_is_good_and_its_models_load(name: str, tmp_path: Path) -> None:
    checked(catalog.on_recordings(name, DATA, tmp_path))


# -- mistakes ---------------------------------------------------------------------------------------------------------------


def refused(*words: str) -> str:
    """The one line that the command says before it ends with 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "agent", "run", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2 and not ended.stdout
    (line,) = ended.stderr.splitlines()
    return line


def test_a_scene_that_is_not_there() -> None:
    assert refused("--scene", "robot-sell") == "no scene 'robot-sell'; did you mean 'robot-cell'?"
    assert refused("--scene", "../../etc") == f"no scene '../../etc'; there is {', '.join(NAMES)}"
    with pytest.raises(ConfigError, match="no scene 'recordings'; "):
        catalog.find("recordings")


def test_a_folder_of_recordings_that_is_not_there(tmp_path: Path) -> None:
    clip = tmp_path / "nowhere/video-intel/worker-zone-detection.gif"
    said = refused("--scene", "robot-cell", "--data", str(tmp_path / "nowhere"))
    assert said == f"{clip}: no such recording: --data names a folder laid out like the project's ../shared/data"


def files_of(entry: Any) -> list[str]:
    """What of the recordings a scene reads, below their folder."""
    if isinstance(entry, dict):
        packages = [one["file"] for one in entry.get("packages", {}).values()]
        return packages + [file for key, one in entry.items() if key != "packages" for file in files_of(one)]
    if isinstance(entry, list):
        return [file for one in entry for file in files_of(one)]
    return [entry.removeprefix(MARK)] if isinstance(entry, str) and entry.startswith(MARK) else []


@needs_recordings
@pytest.mark.parametrize(
    "name, missing", [(name, file) for name in sorted(OVERLAY) for file in files_of(OVERLAY[name])]
)
def test_each_recording_that_is_missing_is_named(name: str, missing: str, tmp_path: Path) -> None:
    for file in set(files_of(OVERLAY[name])) - {missing}:
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).symlink_to(DATA / file)
    with pytest.raises(ConfigError) as raised:
        catalog.on_recordings(name, tmp_path / "data", tmp_path)
    (said,) = raised.value.mistakes
    assert said.startswith(f"{tmp_path}/data/{missing}: no such recording: --data names a folder")


# -- whole processes --------------------------------------------------------------------------------------------------------

PLAYED = "import sys, pathlib; from agent import demo; sys.exit(demo.play(*map(pathlib.Path, sys.argv[1:]), 0))"


def sooner(folder: Path) -> Path:
    """The bed, whose heart takes its time, with one that stops as soon as the model has seen enough of it."""
    scene = yamlfile.read(catalog.find("bedside")).data
    scene["lanes"]["heart"]["source"]["faults"] = [{"kind": "flat_line", "at_s": 8, "for_s": 60}]
    path = folder / "bedside.yaml"
    path.write_text(json.dumps(scene), encoding="utf-8")
    return path


class Play(Process):
    """`reflexd run --scene NAME`, or the same of a configuration of ours; until told to stop."""

    def __init__(self, folder: Path, config: Config, *words: str) -> None:
        self.log = folder / "log"
        self.config = config
        with open(self.log, "wb") as file:
            self.popen = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=file, stderr=file)

    def ordered(self) -> bool:
        """The daemon said that a rule has ordered something, and the actuator that it did that."""
        assert self.popen.poll() is None, self.text
        return bool(re.search(r" actuator \S+: \S+ by (?!rest:)", self.text)) and self.acted()

    def acted(self) -> bool:
        """Something other than resting was applied, and not for safety's sake alone."""
        return any(self.done(name, verb) for name, verb in orders(self.config))

    def done(self, actuator: str, verb: str) -> bool:
        """A line of JSON from actuator.log, or one of actuator.sim's, whose safe state is also said: once more than that."""
        told = sum(one.get("verb") == verb and one["actuator"] == actuator for one in self.json())
        moved = len(re.findall(rf" {actuator}: {verb} $", self.text, re.MULTILINE))
        return told > 0 and verb != "safe" or moved > 1 + len(self.lines(f"actuator {actuator} is safe: "))

    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line[line.index("{") :]) for line in self.lines(' {"t_ns": ') if line.endswith("}")]


def orders(config: Config) -> set[tuple[str, str]]:
    """(actuator, verb) that a rule gives and rest does not."""
    given = {(rule.actuator, rule.verb) for rule in config.rules.values()}
    return given - {(name, one.rest) for name, one in config.actuators.items()}


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Play]]:
    """All of them at once: most of their time is waiting for something to happen."""
    found = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp("play")
        path = sooner(folder) if name == "bedside" else catalog.find(name)
        own = ["-c", PLAYED, str(path), str(folder)]
        words = own if name == "bedside" else ["-m", "agent", "run", "--scene", name]
        found[name] = Play(folder, load_config(path), *words)
    if DATA.is_dir():
        folder = tmp_path_factory.mktemp("play")
        config = load_config(catalog.on_recordings("campus", DATA, folder))
        found["campus on recordings"] = Play(
            folder, config, "-m", "agent", "run", "--scene", "campus", "--data", str(DATA)
        )
    yield found
    for play in found.values():
        if play.popen.poll() is None:
            play.stop()


@pytest.mark.parametrize("name", [*NAMES, pytest.param("campus on recordings", marks=needs_recordings)])
def test_a_rule_moves_the_actuator_and_the_end_is_in_order(plays: dict[str, Play], name: str) -> None:
    play = plays[name]
    until(play.ordered, lambda: play.text)
    assert play.stop() == 0
    assert re.search(r"is safe: \S+ has left", play.text)  # good-byes, not silence
    (*_, table) = play.text.rpartition("\nlane ")
    assert re.search(r"[1-9]\d* samples, [1-9]\d* inferences, ", table), play.text
    assert play.acted()


# -- what a person sees in the clips ------------------------------------------------------------------------------------------


class Moment(NamedTuple):
    """One sample of one lane: what it showed, what was decided, and the verb in force at the scene's actuator."""

    lane: str
    at_s: float
    frame: int
    evidence: list[Evidence]
    decisions: list[Decision]
    verb: str


def watched(config: Config, beside: Path, lanes: list[str], seconds: float = 1e9) -> Iterator[Moment]:
    """The scene's own lanes, fast: sample after sample of all of them in the order of their times, from 0 on."""
    scene = Scene(rules_of(config))
    actuator = next(iter(config.actuators))
    made = [make_lane(name, with_source(config, name, None, beside), beside, 0) for name in lanes]
    starts, heads = {}, {}
    try:
        for lane in made:
            lane.open()
            first = lane.source.read(5.0)
            assert first
            starts[lane.name], heads[lane.name] = first.t_capture, first._replace(t_capture=0)
        while heads:
            lane = min((one for one in made if one.name in heads), key=lambda one: heads[one.name].t_capture)
            sample = heads[lane.name]
            decisions = [one for one in lane.step(sample, scene) or [] if one.actuator == actuator]
            standing = scene.current(actuator)
            at_s = sample.t_capture / 1e9
            if at_s > seconds:
                return
            evidence = list(lane.evidence or ())
            yield Moment(lane.name, at_s, sample.sequence, evidence, decisions, standing.verb if standing else "")
            advance(lane, heads, starts[lane.name])
    finally:
        for lane in made:
            lane.source.close()


def advance(lane: Lane, heads: dict[str, Any], start: int) -> None:
    try:
        sample = lane.source.read(5.0)
    except EOFError:
        del heads[lane.name]
        return
    assert sample
    heads[lane.name] = sample._replace(t_capture=sample.t_capture - start)


def clip(name: str, folder: Path, lane: str) -> list[Moment]:
    """Of one lane on its recording, frame by frame."""
    path = catalog.on_recordings(name, DATA, folder)
    found = list(watched(load_config(path), folder, [lane]))
    assert [one.frame for one in found] == list(range(len(found)))
    return found


def verbs(found: list[Moment], first: int, last: int) -> set[str]:
    return {one.verb for one in found[first : last + 1]}


def turns(found: list[Moment]) -> list[tuple[str, int]]:
    """Each verb with the frame from which on it is in force."""
    return [(verb, next(group).frame) for verb, group in groupby(found, key=lambda one: one.verb)]


@needs_recordings
def test_the_robot_stops_while_the_worker_is_past_the_striped_line(tmp_path: Path) -> None:
    """worker-zone-detection.gif, 71 frames at 15 Hz. By eye: he comes in at the lower edge, right of the line, has a foot on it

    at frames 33 to 39, both feet left of it from 42 on, and stays in the picture until the end.
    """
    found = clip("robot-cell", tmp_path, "floor")
    assert verbs(found, 3, 38) == {"stop"}
    # A second's hold after the last foot; a box is as coarse as a sixteenth of the picture, so he seems to be there for longer.
    assert verbs(found, 42 + 6 + 15, 70) == {"run"}
    assert all(any(one.label == "person" and one.score > 0.9 for one in moment.evidence) for moment in found[57:])
    assert [verb for verb, _ in turns(found)] == ["run", "stop", "run"]


# First and last frame by eye, to four frames, in which something of a visitor is seen; each stands at the table meanwhile.
VISITS = [(60, 198), (228, 448), (504, 698), (748, 870), (924, 1200), (1236, 1358)]


@needs_recordings
def test_each_of_six_visitors_at_the_wall_is_one_alarm(tmp_path: Path) -> None:
    """one-by-one-person-detection.mp4, 10 Hz: from below to the table at the wall, and away to the right."""
    found = clip("perimeter", tmp_path, "wall")
    told = turns(found)
    assert [verb for verb, _ in told] == ["watch"] + ["alarm", "watch"] * 6
    for (first, last), (_, began), (_, ended) in zip(VISITS, told[1::2], told[2::2]):
        assert 4 <= began - first <= 25  # on the way to the wall is not at the wall
        assert 15 <= ended - last <= 40  # the hold is three seconds
    assert not any(
        one.label == "climbing" for moment in found for one in moment.evidence if one.score >= 0.5
    )  # nobody does


@needs_recordings
def test_vehicles_have_green_while_a_car_is_there_and_people_while_the_road_is_empty(tmp_path: Path) -> None:
    """car-detection.mp4, 12.5 Hz; a second without a car gives people green, a second after one comes it is taken away."""
    found = clip("crossing", tmp_path, "above")
    (white, green, red, last) = PASSES  # the second pair overlaps
    cars = [white, (green[0], red[1]), last]
    for first, end in cars:
        assert verbs(found, first + 14, end) == {"vehicles"}
    for (_, end), (first, _) in zip([(0, 0), *cars], [*cars, (len(found), 0)]):
        assert verbs(found, end + 14, first - 1) == {"people"}


@needs_recordings
def test_the_desk_looks_when_somebody_falls_and_not_when_he_bends(tmp_path: Path) -> None:
    """S2-Fall-13.mp4, 15 Hz. By eye: bent to the floor until 12, upright at 16 to 40, topples from 44, lies from 76 on."""
    found = clip("campus", tmp_path, "yard")
    assert verbs(found, 0, 44) == {"quiet"}
    assert verbs(found, 64, len(found)) == {"look"}


# -- the bed ------------------------------------------------------------------------------------------------------------------


def bed(folder: Path, **source: Any) -> Config:
    """source: of the ear."""
    path = catalog.on_recordings("bedside", DATA, folder)
    data = json.loads(path.read_text())
    data["lanes"]["ear"]["source"].update(source)
    path.write_text(json.dumps(data))
    return load_config(path)


def decisions(config: Config, folder: Path, lanes: list[str], seconds: float) -> list[tuple[float, Decision]]:
    return [(moment.at_s, one) for moment in watched(config, folder, lanes, seconds) for one in moment.decisions]


@needs_recordings
def test_a_fall_and_a_scream_together_call_the_nurse(tmp_path: Path) -> None:
    """S1-Fall-15.mp4: leans from 1.6 s, on his hands at 2.4 s, down at 3 s; the scream sounds from 2 to 4 s."""
    found = decisions(bed(tmp_path), tmp_path, ["room", "ear", "heart"], 5.9)
    assert [one.verb for _, one in found] == ["quiet", "call"]
    at_s, call = found[1]
    assert 2.4 < at_s < 4.0
    assert {one.lane for one in call.evidence} == {"room", "ear"} and call.confidence >= 0.9
    assert call.lacking == ("heart",)  # whose model wants eight seconds before it says anything
    fall, scream = r"falling [01]\.\d\d at -?\d+ ms", r"scream 0\.\d\d at -?\d+ ms"
    assert re.fullmatch(rf"{fall}, {scream}; without heart; confidence 0\.9\d", explain(call))


@needs_recordings
def test_a_fall_alone_or_a_scream_alone_calls_nobody(tmp_path: Path) -> None:
    for lanes, own in (["room", "ear", "heart"], "quiet"), (["ear", "heart"], "screaming"):
        (tmp_path / own).mkdir()
        config = bed(tmp_path / own, **({"sounds": []} if own == "quiet" else {}))
        found = decisions(config, tmp_path / own, lanes, 5.9)
        assert {one.verb for _, one in found} == {"quiet"}, (lanes, found)


@needs_recordings
def test_the_surest_single_source_is_not_enough(tmp_path: Path) -> None:
    """Whatever a model says of its own: the others look, or say nothing at all."""
    config = bed(tmp_path)
    for label in ("falling", "scream", "heart-rate-jump"):
        for silent in (False, True):
            rules = rules_of(config)
            for number in range(20):
                for condition in config.rules["needs-help"].sum:
                    mine = condition.label == label
                    now = number * 50_000_000
                    seen = [Evidence(condition.lane, label, 1.0, now)] if mine else []
                    if mine or not (silent or condition.label == "groan"):
                        rules.decide(condition.lane, now, now, seen)
            (rule,) = [one for one in rules.rules if one.name == "needs-help"]
            assert 0.5 < rule.confidence < 0.9 and rules.in_force["nurse"].rule != "needs-help"


@needs_recordings
def test_the_heart_that_fibrillates_is_an_emergency_within_ten_seconds(tmp_path: Path) -> None:
    found = decisions(bed(tmp_path), tmp_path, ["heart"], 40.0)
    start_s = 190.0
    at_s, first = next((at_s, one) for at_s, one in found if one.verb == "emergency")
    assert VF_S < start_s + at_s < VF_S + 10 and first.rule == "heart-stops"
    assert all(start_s + at_s > VF_S for at_s, one in found if one.verb != "quiet")


def test_the_simulated_heart_calls_when_it_races_and_more_when_it_stops(tmp_path: Path) -> None:
    path = catalog.find("bedside")
    found = decisions(load_config(path), tmp_path, ["heart"], 80.0)
    told = [(one.verb, at_s) for at_s, one in found if one.verb in ("call", "emergency")]
    assert told[0][0] == "call" and 25 < told[0][1] < 30
    assert 64 < next(at_s for verb, at_s in told if verb == "emergency") < 70
