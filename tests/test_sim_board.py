"""The simulated inspection camera: same seed, same boards; pictures show the true defects; the scene's verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.build import make_lane, rules_of
from agent.config.load import load_config
from agent.rules.scene import Scene
from agent.scenes import catalog
from agent.vision import reference
from drivers.base import DeviceMissing, open_source
from drivers.camera import sim_board
from drivers.camera._board import KINDS, SHIFT, board, good, picture

REFERENCE = catalog.HERE / "inspection-reference.png"


def camera(**options: Any) -> sim_board.Driver:
    made = open_source("camera.sim_board", {"pace": "fast", **options}, "board")
    assert isinstance(made, sim_board.Driver)
    return made


def test_the_same_seed_draws_the_same_boards() -> None:
    for number in range(4):
        (first, truth), (same, same_truth) = board(number, 3, 0.5), board(number, 3, 0.5)
        assert np.array_equal(first, same) and truth == same_truth
        assert not np.array_equal(first, board(number, 4, 0.5)[0])


def test_a_good_board_differs_from_the_good_one_only_at_its_edges() -> None:
    for number in range(10):
        shown, truth = board(number, 1, 0.0)
        inside = cv2.erode(good(), np.ones((7, 7), np.uint8))  # further from any edge than shift and etching
        outside = cv2.dilate(good(), np.ones((7, 7), np.uint8))
        assert not truth and SHIFT < 3
        assert (shown[inside == 1] == 0).all() and (shown[outside == 0] == 255).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_defect_changes_the_copper_at_its_place_and_nowhere_else(kind: str) -> None:
    for seed in range(20):
        copper = good()
        x, y = KINDS[kind](copper, np.random.default_rng(seed))
        rows, columns = np.nonzero(copper != good())
        assert len(rows) >= 24
        assert np.abs(rows - y).max() <= 45 and np.abs(columns - x).max() <= 45
        less = (copper < good()).any()
        assert less == (kind in ("open", "mousebite", "pin-hole")) and (copper > good()).any() != less


@pytest.mark.parametrize("trouble", [None, "freeze", "repeat"])
def test_the_truth_is_that_of_the_board_in_the_picture(trouble: str | None) -> None:
    faults = [{"kind": trouble, "at_s": 0.6, "for_s": 0.45}] if trouble else []
    source = camera(pictures=6, defective=0.5, seed=2, timeout_ms=2000, faults=faults)
    source.open()
    for _ in range(15):
        sample = source.read(1.0)
        if sample is None:
            continue  # frozen
        assert sample.payload.shape == (640, 640)
        shown, truth = board(sample.sequence % 6, 2, 0.5)
        assert np.array_equal(sample.payload, shown) and source.truth(sample.sequence) == truth


def test_its_faults_are_those_of_the_simulated_camera() -> None:
    source = camera(pictures=2, faults=[{"kind": "unplug", "at_s": 1.0, "for_s": 1.0}])
    source.open()
    with pytest.raises(DeviceMissing, match="was unplugged"):
        for _ in range(10):
            source.read(1.0)


def test_the_bundled_reference_is_the_good_board() -> None:
    assert np.array_equal(reference.read(REFERENCE), 255 * (1 - good()))


def test_the_scene_rejects_defective_boards_and_accepts_good_ones(tmp_path: Path) -> None:
    """60 boards, half of them with defects, through the scene's own lane and rules: a verdict for each."""
    config = load_config(catalog.find("inspection"))
    section = config.lanes["board"]
    options = {**section.source.options, "pace": "fast", "pictures": 60, "defective": 0.5, "seed": 5}
    config = config.model_copy(
        update={
            "run_dir": tmp_path,
            "lanes": {"board": section.model_copy(update={"source": section.source.model_copy(update=options)})},
        }
    )
    lane = make_lane("board", config, catalog.HERE, 0)
    assert isinstance(lane.source, sim_board.Driver)
    scene, correct = Scene(rules_of(config)), 0
    for number, (sample, decisions) in enumerate(lane.play(scene)):
        (verdict,) = decisions
        correct += verdict.verb == ("reject" if lane.source.truth(sample.sequence) else "accept")
        if number == 59:
            break
    assert correct >= 58


def test_a_picture_is_black_and_white() -> None:
    assert set(np.unique(picture(good(), np.random.default_rng(0)))) == {0, 255}
