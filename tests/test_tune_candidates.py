"""Which changes `reflexd tune` tries: those that shorten a part which matters, and that the configuration allows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agent.packages import engines, package
from agent.tune.candidates import candidates, crop
from agent.tune.measure import with_changes
from agent.tune.trace import latency
from tests.tuning import config, trace


def test_a_camera_with_large_pictures_is_offered_models_threads_and_factors(tmp_path: Path) -> None:
    own = trace(inference_ms=10.0, preprocess_ms=5.0)
    speed = latency(own)
    assert speed
    offered = [candidate.text for candidate in candidates(config(tmp_path), "floor", tmp_path, own, speed)]
    assert {"model: person-coarse", "model: motion-blobs", "shrink: 2"} <= set(offered)
    assert "shrink: 3" not in offered, "1080 rows in 3 leave fewer than the model's 416"
    assert not any(text.startswith(("gate", "backend")) for text in offered), "it waits for nothing, its engine is auto"


def test_packages_beside_the_lanes_own_are_offered_by_their_path(tmp_path: Path) -> None:
    for name, copy in (("objects", "large"), ("person-coarse", "small")):
        shutil.copytree(package.BUNDLED / name, tmp_path / "models" / copy)
    section = {"source": {"driver": "camera.sim"}, "model": "./models/large"}
    own = trace()
    speed = latency(own)
    assert speed
    offered = candidates(config(tmp_path, {"floor": section}), "floor", tmp_path, own, speed)
    names = {candidate.text for candidate in offered}
    assert {"model: models/small", "model: person-coarse"} <= names and "model: models/large" not in names
    assert package.find("models/small", tmp_path) == tmp_path / "models" / "small"


def test_an_engine_that_the_package_names_may_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(package.BUNDLED / "objects", tmp_path / "mine")
    manifest = tmp_path / "mine" / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace('backend: "auto"', 'backend: "litert"'))
    monkeypatch.setattr(engines, "installed", lambda *_: ["litert", "openvino"])
    section = {"source": {"driver": "camera.sim"}, "model": "./mine"}
    own = trace()
    speed = latency(own)
    assert speed
    made = config(tmp_path, {"floor": section})
    offered = candidates(made, "floor", tmp_path, own, speed)
    assert [candidate.text for candidate in offered if candidate.kind == "engine"] == ["backend: openvino"]
    other = with_changes(made.lanes["floor"], {("backend",): "openvino"})
    assert other.backend == "openvino"


def test_a_lane_that_keeps_samples_waiting_is_offered_a_gate_that_no_rule_takes_for_missing(tmp_path: Path) -> None:
    own = trace(inference_ms=40.0)
    speed = latency(own)
    assert speed and speed.shares["queueing"] > 0.1
    rule = {"any": [{"lane": "floor", "label": "person", "within_ms": 200}]}
    offered = candidates(config(tmp_path, rule=rule), "floor", tmp_path, own, speed)
    (gate,) = [candidate for candidate in offered if candidate.kind == "gate"]
    assert gate.text == "gate: {motion: {}, active_interval_ms: 160}"
    section = with_changes(config(tmp_path).lanes["floor"], gate.changes)
    assert section.gate and section.gate.motion and section.gate.active_interval_ms == 160


def test_a_lane_that_keeps_samples_waiting_is_offered_to_leave_every_second_out(tmp_path: Path) -> None:
    own = trace(inference_ms=40.0)
    speed = latency(own)
    assert speed
    offered = candidates(config(tmp_path), "floor", tmp_path, own, speed)
    assert [candidate.text for candidate in offered if candidate.kind == "every"] == ["every: 2"]


def test_a_stricter_gate_keeps_what_else_it_says(tmp_path: Path) -> None:
    section = {"source": {"driver": "camera.sim"}, "model": "objects", "gate": {"motion": {"pad": 0.3}, "burst_ms": 50}}
    made = config(tmp_path, {"floor": section})
    own = trace(inference_ms=40.0)
    speed = latency(own)
    assert speed
    (gate,) = [each for each in candidates(made, "floor", tmp_path, own, speed) if each.kind == "gate"]
    changed = with_changes(made.lanes["floor"], gate.changes).gate
    assert changed and changed.motion
    assert (changed.motion.min_area, changed.motion.pad, changed.burst_ms) == (0.01, 0.3, 50)
    assert crop(made, "floor", tmp_path) is None


def test_a_lane_with_a_second_model_is_offered_only_models_that_find_keypoints(tmp_path: Path) -> None:
    section = {"source": {"driver": "camera.sim"}, "model": "movenet", "then": "pose-fall"}
    own = trace()
    speed = latency(own)
    assert speed
    offered = candidates(config(tmp_path, {"floor": section}), "floor", tmp_path, own, speed)
    assert not [candidate for candidate in offered if candidate.kind == "model"]


def test_a_sound_lane_that_is_too_slow_is_offered_a_longer_hop(tmp_path: Path) -> None:
    ear = {"source": {"driver": "audio.sim"}, "model": "yamnet", "hop_ms": 50}
    own = trace(inference_ms=60.0, period_ms=50.0, lane="ear")
    speed = latency(own)
    assert speed
    offered = candidates(config(tmp_path, {"ear": ear}), "ear", tmp_path, own, speed)
    assert "hop_ms: 100" in [candidate.text for candidate in offered]
