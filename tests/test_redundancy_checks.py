"""`reflexd check` of actuators with redundant boxes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent import keys
from agent.config.load import load_config
from agent.yamlfile import read
from tests.test_check import has, lane, problems, rule, written

DEVICE = {"driver": "actuator.log", "safe": "stop"}
BELT = {"device": DEVICE, "rest": "run", "verbs": ["run", "slow", "stop"], "boxes": ["a", "b"], "strongest": ["stop"]}
ON_TCP = {"endpoint": "tcp://0.0.0.0:5599"}
README = Path(__file__).resolve().parents[1] / "agent/commands/README.md"


@pytest.fixture
def served(tmp_path: Path) -> dict[str, Any]:
    """Sections of the actuator's own box, with the keys of a and b."""
    _, secret = keys.make(tmp_path / "keys", "box")
    authorized = tmp_path / "authorized"
    authorized.mkdir()
    for name in ("a", "b"):
        public, _ = keys.make(tmp_path / name, name)
        shutil.copy(public, authorized)
    return {"node": "press", "keys": {"own": str(secret), "authorized": str(authorized)}}


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, ""),
        ({"boxes": ["a", "b", "a"]}, "box 'a' is listed twice"),
        ({"boxes": ["a"]}, "one box is not redundant: list two or more"),
        ({"boxes": ["a", "b/cam"]}, "expected a box's 'node', found 'b/cam'"),
        ({"strongest": ["stop", "stop"]}, "verb 'stop' is listed twice"),
        ({"strongest": ["stopp"]}, "no verb 'stopp' of actuator 'belt'; did you mean 'stop'?"),
        ({"boxes": []}, "set 'boxes: [BOX, BOX]', or leave it out"),
        ({"senders": ["a/cam", "b/cam"]}, ""),
        ({"senders": ["a/cam"]}, "no lane of box 'b': name the lanes of each of its boxes, or none"),
        ({"senders": ["a/cam", "b/cam", "c/cam"]}, "box 'c' is not among its boxes (a, b)"),
        ({"boxes": ["a", "b", "c"]}, "warning: no key of box 'c' in"),
        ({"endpoint": ""}, "warning: only this box reaches 'ipc://"),
        ({"disagree_ms": 5}, "greater than or equal to 100"),
    ],
)
def test_kind_a_box_or_a_verb_that_could_never_count(
    tmp_path: Path, served: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    found = problems(tmp_path, **served, actuators={"belt": BELT | ON_TCP | change})
    assert has(found, *([words] if words else []))


def test_redundant_boxes_without_keys_are_refused_even_where_insecure_is_allowed(tmp_path: Path) -> None:
    found = problems(tmp_path, insecure=True, actuators={"belt": BELT | ON_TCP})
    assert has(found, "without keys nothing proves which of its boxes commands")
    assert has(problems(tmp_path, actuators={"belt": BELT | ON_TCP}), "has no keys")


def test_a_box_that_commands_the_actuator_and_is_not_among_its_boxes(tmp_path: Path, served: dict[str, Any]) -> None:
    rules = {"stop-it": rule("cam", "belt") | {"verb": "stop"}}
    sections: dict[str, Any] = {"lanes": {"cam": lane()}, "rules": rules, "actuators": {"belt": BELT | ON_TCP}}
    found = problems(tmp_path, **served, **sections)
    assert has(found, "this box, 'press', commands actuator 'belt' and is not among its boxes (a, b)")
    assert problems(tmp_path, **served | {"node": "b"}, **sections) == []


def test_the_lanes_of_this_box_are_those_of_its_twin(tmp_path: Path, served: dict[str, Any]) -> None:
    rules = {"stop-it": rule("cam", "belt") | {"verb": "stop"}}
    sections: dict[str, Any] = {"lanes": {"cam": lane()}, "rules": rules, "actuators": {"belt": BELT | ON_TCP}}
    config = load_config(written(tmp_path, **served | {"node": "a"}, **sections))
    assert config.senders("belt") == ["a/cam", "b/cam"]


def test_the_configurations_in_the_readme_have_no_mistake(tmp_path: Path) -> None:
    """Those of the section on redundant boxes, with its keys made in place."""
    section = README.read_text().partition("## Two boxes for one actuator")[2].partition("\n## ")[0]
    texts = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    actuator, box, in_series = texts
    authorized = tmp_path / "keys/authorized"
    authorized.mkdir(parents=True)
    public, _ = keys.make(tmp_path / "keys", "box")
    for name in ("cell-1", "cell-2"):
        shutil.copy(public, authorized / f"{name}.key")
    for name in ("press", "press-1", "press-2"):
        shutil.copy(public, tmp_path / f"keys/{name}.key")
    two_relays = box[: box.index("actuators:")] + in_series
    for text in (actuator, box, two_relays):
        path = tmp_path / "reflexd.yaml"
        path.write_text(text.replace("/etc/reflexd", str(tmp_path)))
        head = {"run_dir": str(tmp_path / "run"), "state_dir": str(tmp_path / "state")}
        warnings = problems(tmp_path, **read(path).data | head)
        assert all("is not there (plugged in?)" in line for line in warnings), warnings
