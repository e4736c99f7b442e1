"""`reflexd demo` with a clip or a camera of one's own: what is refused at once, and its rules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent import demo, ledger
from agent.config.load import load_config
from tests.shared import ROOT


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--video", "nosuch.mp4"], "nosuch.mp4 does not exist: name a video file with --video"),
        (
            ["--camera", "/dev/video99"],
            "/dev/video99 is not there (plugged in?): v4l2-ctl --list-devices shows the cameras",
        ),
    ],
)
def test_an_absent_clip_or_camera_is_refused_at_once(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "agent", "demo", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{message}\n")


def test_a_rule_is_named_after_its_label(tmp_path: Path) -> None:
    path = demo._camera_scene(tmp_path, tmp_path / "clip.mp4", None, "person-coarse")
    assert set(json.loads(path.read_text())["rules"]) == {"see-person"}
    (tmp_path / "clip.mp4").touch()
    load_config(path)


def test_each_label_has_a_rule_of_its_own() -> None:
    rules = demo._log_rules(["traffic light", "traffic/light", "stop sign"])
    assert list(rules) == ["see-traffic-light", "see-traffic-light-1", "see-stop-sign"]
    assert rules["see-traffic-light-1"]["any"][0]["label"] == "traffic/light"


def test_a_line_of_progress_before_the_first_inference(tmp_path: Path) -> None:
    lane = ledger.Ledger(tmp_path / "heart.ledger", "heart", 10.0)
    (snapshot,) = ledger.read_all(tmp_path)
    assert demo._progress(snapshot, 1.0, {}).endswith("0/s, no inference yet, 0 decisions, no evidence")
    lane.close()
