"""A lane's `heads` in a configuration: what `reflexd check` says, and `model verify` and `show` of a head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import cli
from tests.model_versions import version
from tests.test_check import problems, rule, written

CAMERA = {"driver": "camera.sim", "width": 320, "height": 240}
ACTUATOR = {"device": {"driver": "actuator.log", "path": "log.jsonl"}, "rest": "off", "verbs": ["on", "off"]}
HEADS = {"person-head": {}, "view-head": {"when": "person", "idle_s": 5}}


def lane(heads: dict[str, Any], model: str = "person-trunk", **more: Any) -> dict[str, Any]:
    return {"source": CAMERA, "model": model, "heads": heads, **more}


def found(folder: Path, section: dict[str, Any], label: str = "person", **condition: Any) -> list[str]:
    rules = {"seen": rule("cam", "lamp", label, **condition)}
    return problems(folder, lanes={"cam": section}, actuators={"lamp": ACTUATOR}, rules=rules)


def test_a_backbone_with_heads_is_good(tmp_path: Path) -> None:
    assert found(tmp_path, lane(HEADS)) == []
    assert found(tmp_path, lane(HEADS), "dark") == []
    result = CliRunner().invoke(cli, ["check", "-c", str(written(tmp_path, lanes={"cam": lane(HEADS)}))])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "section, message",
    [
        (lane({}), "model 'person-trunk' is a backbone, which finds nothing: name 'heads'"),
        (
            lane({}, "person-head"),
            "model 'person-head' is a head: name it under 'heads', and here its backbone, 'person-",
        ),
        (lane({"view-head": {}}, "person-coarse"), "model 'person-coarse' is no backbone: remove 'heads', or name one"),
        (lane({"person-head": {}, "movenet": {}}), "model 'movenet': it reads no backbone, and only models with"),
        (lane({"person-head": {}, "nowhere": {}}), "no model package 'nowhere'"),
        (
            lane({"person-head": {}, "view-head": {"when": "persn"}}),
            "no label 'persn' of a head without 'when'; did you",
        ),
        (
            lane({"person-head": {"when": "clear"}, "view-head": {"when": "person"}}),
            "no label 'clear' of a head without",
        ),
        (lane({"person-head": {"prefetch_s": 5}}), "without 'when' it is always in memory: remove 'prefetch_s'"),
        (lane({"person-head": {}}, refine={"model": "person-trunk", "label": "person"}), "name a whole model here"),
    ],
)
def test_what_cannot_run_is_said_with_its_place(tmp_path: Path, section: dict[str, Any], message: str) -> None:
    mistakes = found(tmp_path, section)
    assert any(message in line for line in mistakes), mistakes


def test_a_label_that_no_head_reports(tmp_path: Path) -> None:
    (mistake,) = found(tmp_path, lane({"person-head": {}}), "dark")
    assert "no label 'dark' in model 'person-trunk'" in mistake


def test_what_was_not_looked_for_is_not_absent(tmp_path: Path) -> None:
    (mistake,) = found(tmp_path, lane(HEADS), "clear", absent=True)
    assert "'view-head', which finds 'clear', loads on demand" in mistake
    assert found(tmp_path, lane({"person-head": {}, "view-head": {}}), "clear", absent=True) == []


def test_a_wake_up_gate_is_one_behind_a_backbone_too(tmp_path: Path) -> None:
    section = lane({"person-head": {}}) | {"source": {"driver": "camera.v4l2", "device": "/dev/video0"}}
    (warning,) = (line for line in found(tmp_path, section, count=2) if "wake-up gate" in line)
    assert "warning: 'person-head' is a wake-up gate" in warning


def test_a_head_is_verified_with_its_backbone(tmp_path: Path) -> None:
    def call(*arguments: str) -> Any:
        result = CliRunner().invoke(cli, ["model", *arguments, "--json"], catch_exceptions=False)
        return json.loads(result.stdout)

    for name in ("person-trunk", "person-head", "view-head"):
        assert call("verify", name)["golden"] <= 1.0
    assert call("show", "view-head")["backbone"].startswith("the first output of person-trunk, sha256 ")
    other = version(tmp_path, "2", model="view-head", backbone={"model": "person-trunk", "sha256": "0" * 64})
    (mistake,) = call("verify", str(other))["mistakes"]
    assert "a head fits only the weights it learnt with" in mistake
