"""`reflexd model roll`: one box after the other, and no further than the first that refuses. Boxes are real stores."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.rollout.roll import LOST, Roll, roll
from agent.update.store import Store
from tests.field_fixtures import configuration
from tests.shared import ROOT

pytestmark = pytest.mark.slow  # each question to a box starts a process
MODEL = "arm-deviation"
# The box's end of ssh. What its updater does with a version that is held for it: accept, reject, or nothing.
ON_BOX = """
import json, sys
from pathlib import Path
folder, arguments = Path({folder!r}) / sys.argv[1], sys.argv[3:]
with open(folder.parent / "calls.jsonl", "a") as file:
    file.write(json.dumps([sys.argv[1], *arguments[1:]]) + "\\n")
plan = json.loads((folder / "plan.json").read_text())
if plan == "unreachable" or plan == "lost" and (folder / "held").exists():
    sys.exit("ssh: connect to host " + sys.argv[1] + ": No route to host")
sys.path.insert(0, {root!r})
from agent.__main__ import main
from agent.update.store import Store
if arguments[1] == "hold" and len(arguments) == 4:
    store = Store(folder / "state", {model!r})
    (folder / "held").touch()
    if plan == "reject":
        store.hold(arguments[3])
        store.bar(arguments[3], "golden outputs differ")
        sys.exit(0)
    if plan == "accept":
        with store._change() as state:
            state.previous, state.current = state.current, arguments[3]
sys.argv = ["reflexd", *arguments, "-c", str(folder / "reflexd.yaml")]
main()
"""


class Site:
    """Boxes in folders, which `--over` reaches."""

    def __init__(self, folder: Path, plans: dict[str, str]) -> None:
        self.folder = folder
        for box, plan in plans.items():
            (folder / box).mkdir()
            configuration(folder / box)
            (folder / box / "plan.json").write_text(json.dumps(plan))
        self.file = folder / "site.yaml"
        lane = {"source": {"driver": "sensor.sim_arm"}, "model": MODEL}
        self.file.write_text(json.dumps({"lanes": {"arm": lane}, "boxes": dict.fromkeys(plans, None)}))
        script = folder / "on_box.py"
        script.write_text(ON_BOX.format(root=str(ROOT), folder=str(folder), model=MODEL))
        self.over = shlex.join([sys.executable, str(script), "{box}"])

    def roll(self, version: str = "2.0", *more: str) -> tuple[Any, str]:
        arguments = ["model", "roll", MODEL, version, "--site", str(self.file), "--over", self.over, *more]
        result = CliRunner().invoke(cli, arguments, standalone_mode=False)
        return result.exception or result.return_value, result.output

    def state(self, box: str) -> Any:
        return Store(self.folder / box / "state", MODEL).state()

    def calls(self, verb: str) -> list[list[str]]:
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [call for call in map(json.loads, lines) if call[1] == verb]


def test_every_box_gets_the_version_in_turn(tmp_path: Path) -> None:
    site = Site(tmp_path, {"a": "accept", "b": "accept"})
    code, output = site.roll()
    assert code == 0
    assert output.splitlines() == [
        *(f"{box}: arm-deviation 2.0 is in use" for box in "ab"),
        "arm-deviation 2.0: 2 boxes have it, 0 had it before",
    ]
    holds = site.calls("hold")
    assert holds[:2] == [[box, "hold", MODEL] for box in "ab"]  # nobody goes ahead
    assert holds[2:] == [[box, "hold", MODEL, "2.0"] for box in "ab"]
    code, output = site.roll()
    assert (code, output) == (0, "arm-deviation 2.0: 2 boxes have it, 2 had it before\n")


def test_the_first_failure_stops_it_and_the_others_keep_their_version(tmp_path: Path) -> None:
    site = Site(tmp_path, {"a": "accept", "b": "reject", "c": "accept"})
    code, output = site.roll()
    assert code == 1
    assert output.splitlines()[-1] == (
        "b: 2.0 was rejected: golden outputs differ; stopped: these stay held at their version: c"
    )
    assert [site.state(box).current for box in "abc"] == ["2.0", None, None]
    assert site.state("c").hold == "configured"


def test_a_version_that_a_box_rejected_before_changes_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, {"a": "accept", "b": "accept"})
    Store(tmp_path / "b/state", MODEL).bar("2.0", "slow")
    error, _ = site.roll()
    assert str(error) == "box b: 2.0 was rejected there: slow"
    assert site.calls("hold") == [] and site.state("a").hold is None


def test_a_box_that_does_not_answer_changes_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, {"a": "accept", "b": "unreachable"})
    error, _ = site.roll()
    assert str(error) == "box b: ssh: connect to host b: No route to host"
    assert site.calls("hold") == []


def test_a_box_that_never_gets_there_stops_it_in_time(tmp_path: Path) -> None:
    site = Site(tmp_path, {"a": "silent", "b": "accept"})
    code, output = site.roll("2.0", "--limit-s", "0")
    assert code == 1
    assert output.startswith("a: 2.0 is not in use after 0 s: 'reflexd model history' there; stopped:")
    assert site.state("b").current is None


def test_a_box_that_is_lost_on_the_way_stops_it(tmp_path: Path) -> None:
    site = Site(tmp_path, {"a": "lost", "b": "accept"})
    lines: list[str] = []
    assert roll(Roll(MODEL, "2.0", site.over, poll_s=0.0), ["a", "b"], lines.append) == 1
    assert lines == ["box a: ssh: connect to host a: No route to host; stopped: these stay held at their version: b"]
    assert len([call for call in site.calls("history") if call[0] == "a"]) == 1 + LOST


def test_a_command_that_is_not_there_and_an_answer_of_something_else_are_one_message(tmp_path: Path) -> None:
    site = Site(tmp_path, {"a": "accept"})
    site.over = "/nonexistent/ssh {box}"
    assert str(site.roll()[0]) == "box a: /nonexistent/ssh: No such file or directory"
    site.over = "echo {box}"
    assert "box a: no answer of 'reflexd model history'" in str(site.roll()[0])


@pytest.mark.parametrize("name, version", [("a b", "2.0"), (MODEL, "2;reboot"), (MODEL, "-x")])
def test_only_names_reach_the_shell_of_a_box(tmp_path: Path, name: str, version: str) -> None:
    site = Site(tmp_path, {"a": "accept"})
    arguments = ["model", "roll", "--site", str(site.file), "--over", site.over, "--", name, version]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert "MODEL and VERSION are names" in str(result.exception)
    assert not (tmp_path / "calls.jsonl").exists()
