"""A lane with a pose head for several persons and `then: pose-fall`: configuration, findings, recording, replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.offline import offline_lane
from agent.packages import package as packages
from agent.perception import Perception
from agent.recorder.recording import read
from agent.view.cli import _skeletons
from agent.vision.poses import SecondModel
from tests.pose_writer import network, package, person
from tests.processes import Cell
from tests.recordings import files, recorded, replayed
from tests.shared import mistakes
from tests.waiting import until

pytest.importorskip("onnxruntime")

PEOPLE = [person(0.05, 0.3, 0.35, 0.8, seed=1, place=150), person(0.55, 0.3, 0.9, 0.8, seed=2, place=20)]
ROOM = """\
lanes:
  room:
    source: {driver: camera.sim}
    model: MODEL
    then: pose-fall
actuators:
  nurse: {rest: quiet, verbs: [quiet, call]}
rules:
  fall:
    any: [{lane: room, label: falling, score: 0.6, hits: 3, of: 4}]
    actuator: nurse
    verb: call
"""


def poses(folder: Path) -> Path:
    return package(folder, network(PEOPLE, moves=0.2))


def perception(folder: Path) -> Perception:
    second = SecondModel(packages.open_package(packages.find("pose-fall")))
    return Perception(packages.open_package(poses(folder)), second=second)


def test_only_the_pose_layout_of_yolo_finds_keypoints(tmp_path: Path) -> None:
    folder = poses(tmp_path / "poses")
    assert mistakes(tmp_path / "reflexd.yaml", ROOM.replace("MODEL", str(folder))) == []
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("layout: pose", "layout: v8"))
    (mistake,) = mistakes(tmp_path / "reflexd.yaml", ROOM.replace("MODEL", str(folder)))
    assert "finds no keypoints for 'pose-fall': use a pose network" in mistake


def test_both_models_findings_carry_the_same_boxes_of_the_frame(tmp_path: Path) -> None:
    models = perception(tmp_path / "poses")
    lane = offline_lane("room", "camera.sim", {"width": 320, "height": 240, "fps": 15}, models)
    lane.open()
    assert models.people
    for _, sample in zip(range(40), lane.source.remaining_samples()):
        assert models.prepare(sample)
        findings = models.infer(sample, 1 << 62)
        persons = [finding for finding in findings if finding.label == "person"]
        others = [finding for finding in findings if finding.label != "person"]
        assert len(persons) == 2 and {finding.box for finding in others} == {finding.box for finding in persons}
        for known, found in zip(sorted(PEOPLE, key=lambda known: -known.score), persons):
            # 96 x 96 of which 96 x 72 are the frame: heights in it are 4/3 of those in the input
            assert found.box and found.keypoints is not None
            assert found.box.top == pytest.approx((known.box[1] - 0.125) * 4 / 3, abs=1e-4)
            assert np.allclose(found.keypoints[:, 0], (known.keypoints[:, 0] - 0.125) * 4 / 3, atol=1e-4)
            moved = found.keypoints[:, 1] - known.keypoints[:, 1]
            assert np.allclose(moved, found.box.left - known.box[0], atol=1e-4) and moved[0] > 0
    skeletons = _skeletons(models)
    assert skeletons is not None and skeletons.shape == (2, 17, 3)
    lane.source.close()


def test_a_restart_forgets_the_tracks(tmp_path: Path) -> None:
    models = perception(tmp_path / "poses")
    lane = offline_lane("room", "camera.sim", {"fps": 15}, models)
    lane.open()
    sample = next(lane.source.remaining_samples())
    models.prepare(sample)
    models.infer(sample, 1 << 62)
    assert models.people and len(models.people.windows) == 2 and models.memory_ns > models.people.model.window.span_ns
    models.restart()
    assert not models.people.windows and not models.people.tracks.all
    lane.source.close()


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.slow
def test_a_recording_replays_exactly(tmp_path: Path, pictures: bool) -> None:
    source: dict[str, Any] = {"driver": "camera.sim", "width": 320, "height": 240, "fps": 25}
    lane = {"source": source, "model": str(poses(tmp_path / "poses")), "then": "pose-fall", "budget_ms": 200}
    with Cell(tmp_path, {"cam": lane}) as cell:
        condition = {"lane": "cam", "label": "person", "score": 0.3, "within_ms": 2000}
        cell.config["rules"] = {"person": {"any": [condition], "actuator": "robot", "verb": "stop"}}
        cell.config["recorder"] = {"pictures": pictures}
        cell.config["state_dir"] = str(cell.folder / "state")
        host, daemon = cell.actuate(), cell.run()
        until(lambda: files(cell.folder / "state"), cell.logs)
        cell.wait_for_count("cam", "samples", 80)
        daemon.stop()
        host.stop()
        code, text = replayed(recorded(cell), "--json")
        messages = [message for _, message in read(recorded(cell)).messages if message["inferred"]]
    assert code == 0 and json.loads(text)["differences"] == [], text
    evidence = [item for message in messages for item in message["evidence"]]
    assert len(messages) >= 80 and {item["label"] for item in evidence} > {"person"}
    assert all(item["box"] for item in evidence)
