"""The bundled scenes: valid, clear about mistakes, and moving their actuators."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent import yamlfile
from agent.cli import cli
from agent.config.load import check_config, load_config
from agent.config.models import Config
from agent.errors import ConfigError
from agent.scenes import catalog
from agent.scenes.catalog import MARK
from tests.processes import Process
from tests.shared import DATA, ROOT, needs_recordings
from tests.waiting import until

NAMES = catalog.names()
OVERLAY: dict[str, Any] = yamlfile.read(catalog.HERE / f"{catalog.RECORDINGS}.yaml").data


# -- valid ----------------------------------------------------------------------------------------------


def check(path: Path) -> None:
    result = CliRunner().invoke(cli, ["check", "-c", str(path)], catch_exceptions=False)
    assert ": good: " in result.stdout


def test_the_five_scenes_of_the_field_are_bundled_and_no_stray_file() -> None:
    assert {"robot-cell", "perimeter", "crossing", "bedside", "campus"} <= set(NAMES)
    assert set(OVERLAY) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_is_good_and_its_models_load(name: str) -> None:
    check(catalog.find(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_gives_no_warning(name: str) -> None:
    """In the simulated room is one person, so that a wake-up gate's boxes are right; a real camera gets the warning."""
    assert check_config(catalog.find(name))[1] == []


@needs_recordings
@pytest.mark.parametrize("name", sorted(OVERLAY))
def test_a_scene_on_recordings_is_good_and_its_models_load(name: str, tmp_path: Path) -> None:
    check(catalog.on_recordings(name, DATA, tmp_path))


# -- mistakes -------------------------------------------------------------------------------------------


def error_line(*arguments: str) -> str:
    """The only line that `reflexd run` prints before it exits with 2."""
    command = [sys.executable, "-m", "agent", "run", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and not ended.stdout
    (line,) = ended.stderr.splitlines()
    return line


def test_an_unknown_scene_is_refused() -> None:
    assert error_line("--scene", "robot-sell") == "no scene 'robot-sell'; did you mean 'robot-cell'?"
    assert error_line("--scene", "../../etc") == f"no scene '../../etc'; there is {', '.join(NAMES)}"
    with pytest.raises(ConfigError, match="no scene 'recordings'; "):
        catalog.find("recordings")


def test_a_missing_folder_of_recordings_is_named(tmp_path: Path) -> None:
    clip = tmp_path / "nowhere/video-intel/worker-zone-detection.gif"
    line = error_line("--scene", "robot-cell", "--data", str(tmp_path / "nowhere"))
    assert line == f"{clip} does not exist: agent/scenes/README.md lists the files"


def files_of(entry: Any) -> list[str]:
    """The recordings that a scene reads, relative to their folder."""
    if isinstance(entry, dict):
        return [file for value in entry.values() for file in files_of(value)]
    if isinstance(entry, list):
        return [file for item in entry for file in files_of(item)]
    return [entry.removeprefix(MARK)] if isinstance(entry, str) and entry.startswith(MARK) else []


def test_each_recording_is_in_the_readme() -> None:
    text = (catalog.HERE / "README.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in NAMES)
    assert all(f"| {file}" in text for file in files_of(OVERLAY))


@needs_recordings
@pytest.mark.parametrize(
    "name, missing", [(name, file) for name in sorted(OVERLAY) for file in files_of(OVERLAY[name])]
)
def test_each_missing_recording_is_named(name: str, missing: str, tmp_path: Path) -> None:
    for file in set(files_of(OVERLAY[name])) - {missing}:
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).symlink_to(DATA / file)
    with pytest.raises(ConfigError) as raised:
        catalog.on_recordings(name, tmp_path / "data", tmp_path)
    (mistake,) = raised.value.mistakes
    assert mistake.startswith(f"{tmp_path}/data/{missing} does not exist: ")


# -- processes ------------------------------------------------------------------------------------------

PLAY = "import sys, pathlib; from agent import demo; sys.exit(demo.play(*map(pathlib.Path, sys.argv[1:]), 0))"


def fast_bedside(folder: Path) -> Path:
    """The bed with a heart that stops as soon as the model has enough of it; the scene's own takes a minute."""
    scene = yamlfile.read(catalog.find("bedside")).data
    scene["lanes"]["heart"]["source"]["faults"] = [{"kind": "flat_line", "at_s": 8, "for_s": 60}]
    path = folder / "bedside.yaml"
    path.write_text(json.dumps(scene), encoding="utf-8")
    return path


class Play(Process):
    """`reflexd run --scene NAME`, or the same with a configuration of the test; until it is stopped."""

    def __init__(self, folder: Path, config: Config, *arguments: str) -> None:
        self.log = folder / "log"
        self.command = arguments
        self.config = config
        with open(self.log, "wb") as file:
            self.popen = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=file, stderr=file)

    def ordered(self) -> bool:
        """The daemon logged a rule's decision, and the actuator that it applied it."""
        assert self.popen.poll() is None, self.text
        return bool(re.search(r" actuator \S+: \S+ by (?!rest:)", self.text)) and self.acted()

    def acted(self) -> bool:
        """A verb other than rest was applied, and not only as the safe state."""
        return any(self.done(name, verb) for name, verb in orders(self.config))

    def done(self, actuator: str, verb: str) -> bool:
        """A JSON line of actuator.log; or a line of actuator.sim."""
        applied = sum(entry.get("verb") == verb and entry["actuator"] == actuator for entry in self.json())
        return applied > 0 and verb != "safe" or self.commanded(actuator, verb)

    def commanded(self, actuator: str, verb: str) -> bool:
        """actuator.sim logged the verb, after its first safe state, and not because it was made safe (said next)."""
        pattern = rf" {actuator}: {verb}$|actuator {actuator} is safe: "
        lines = [line for line in self.text.splitlines() if re.search(pattern, line)]
        made_safe = [" is safe: " in line for line in lines[1:]] + [False]
        return any(" is safe: " not in line and not after for line, after in zip(lines[1:], made_safe[1:]))

    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line[line.index("{") :]) for line in self.lines(' {"t_ns": ') if line.endswith("}")]


def orders(config: Config) -> set[tuple[str, str]]:
    """(actuator, verb) of rules, without those that are the actuator's rest."""
    commanded = {(rule.actuator, rule.verb) for rule in config.rules.values()}
    return commanded - {(name, actuator.rest) for name, actuator in config.actuators.items()}


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Play]]:
    """All of them at once: most of the time they wait for something to happen."""
    running = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp("play")
        path = fast_bedside(folder) if name == "bedside" else catalog.find(name)
        command = ["-m", "agent", "run", "--scene", name]
        if name == "bedside":
            command = ["-c", PLAY, str(path), str(folder)]
        running[name] = Play(folder, load_config(path), *command)
    if DATA.is_dir():
        folder = tmp_path_factory.mktemp("play")
        config = load_config(catalog.on_recordings("campus", DATA, folder))
        command = ["-m", "agent", "run", "--scene", "campus", "--data", str(DATA)]
        running["campus on recordings"] = Play(folder, config, *command)
    yield running
    for play in running.values():
        if play.popen.poll() is None:
            play.stop()


@pytest.mark.parametrize("name", [*NAMES, pytest.param("campus on recordings", marks=needs_recordings)])
@pytest.mark.slow
def test_a_rule_moves_the_actuator_and_the_shutdown_is_orderly(plays: dict[str, Play], name: str) -> None:
    play = plays[name]
    until(play.ordered, lambda: play.text)  # now: the actuator goes safe at the end, which may be its last verb again
    assert play.stop() == 0
    assert re.search(r"is safe: \S+ has left", play.text)  # goodbyes, not missing heartbeats
    (*_, table) = play.text.rpartition("\nlane ")
    assert re.search(r"[1-9]\d* samples, [1-9]\d* inferences, ", table), play.text
