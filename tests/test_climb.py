"""models/pose-climb: climbs and other acts of a simulated figure, and real people who do not climb."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.decoders.climb import LABELS, Options, climbing
from agent.packages import package
from agent.packages.package import BUNDLED
from models.train.data import DataError
from models.train.pose_climb import activities, evaluate
from models.train.pose_climb.camera import render
from models.train.pose_climb.make import LENGTH
from models.train.pose_fall.activities import random_motion
from models.train.pose_fall.body import SWAPPED
from models.train.pose_fall.camera import PoseRecording
from models.train.pose_fall.camera import render as render_room
from tests.shared import DATA, needs_recordings

Act = Callable[[int], activities.Scenario]
OPENED = package.open_package(BUNDLED / "pose-climb")
SEEDS = range(7_000_000, 7_000_004)  # neither of those that chose the limits nor of those on the card
SHOULDERS, WRISTS, HIPS, KNEES, ANKLES = [5, 6], [9, 10], [11, 12], [13, 14], [15, 16]


def figure(rise: float = 0.6, hands: float = -0.2) -> Array:
    """[30, 17, 3]: upright, at the end `rise` higher than at the start; wrists `hands` below the shoulders."""
    body = np.zeros((LENGTH, 17, 3), np.float32)
    body[..., 2] = 0.8
    for joints, down in ((SHOULDERS, -0.3), (WRISTS, -0.3 + hands), (HIPS, 0.0), (KNEES, 0.25), (ANKLES, 0.5)):
        body[:, joints, 1] = down
    body[:, 5::2, 0], body[:, 6::2, 0] = -0.08, 0.08
    body[..., 1] -= np.linspace(-0.5, 0.5, LENGTH)[:, None] * rise
    return body


def score(window: Array) -> float:
    return climbing(window, Options())


def test_a_steady_rise_with_hands_up_is_a_climb() -> None:
    assert score(figure()) > 0.6
    assert score(figure(rise=0.3)) < 0.5 < score(figure(rise=0.45))
    assert score(figure(rise=-0.6)) == 0.0


def test_every_sign_is_required() -> None:
    assert score(figure(hands=0.2)) == 0.0  # stairs
    stays = figure()
    stays[:, ANKLES, 1] = 0.5  # up from a chair
    assert score(stays) == 0.0
    lies = figure()
    lies[:, SHOULDERS, 0] = lies[:, SHOULDERS, 0] + 0.5
    lies[:, SHOULDERS, 1] = lies[:, HIPS, 1] - 0.1
    lies[:, WRISTS, 1] = lies[:, SHOULDERS, 1] - 0.1
    assert score(lies) == 0.0
    leaps = figure(rise=0.0)
    leaps[LENGTH // 2 + 6 :, :, 1] -= 0.6  # the network follows another person
    assert score(leaps) < 0.1


def test_a_foot_that_stays_is_no_climb_and_a_hidden_foot_is_ignored() -> None:
    window = figure()
    window[:, 15, 1] = 0.8
    assert score(window) == 0.0
    window[:, 15, 2] = 0.0  # now it is hidden
    assert score(window) == score(figure())
    window[:, ANKLES, 2] = 0.0
    assert score(window) == pytest.approx(score(figure()))  # knees
    window[:, KNEES, 2] = 0.0
    assert score(window) == 0.0


def test_a_person_who_shrinks_while_rising_walks_away() -> None:
    window = figure(rise=0.5)
    middle = window[:, HIPS, 1].mean(axis=1)[:, None]
    window[..., 1] = middle + (window[..., 1] - middle) * np.linspace(1.0, 0.6, LENGTH)[:, None]
    assert score(window) < 0.5 < score(figure(rise=0.5))


def test_rows_from_before_the_first_picture_do_not_count() -> None:
    window = figure()
    window[: 2 * LENGTH // 3] = window[2 * LENGTH // 3]
    assert score(window) == 0.0
    assert score(np.repeat(window[:1], LENGTH, axis=0)) == 0.0


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.floats(0, 0.5))
def test_a_mirror_changes_nothing(seed: int, noise: float, missing: float) -> None:
    random = np.random.default_rng(seed)
    window = figure() + random.normal(0, noise, (LENGTH, 17, 3)).astype(np.float32)
    window[random.random((LENGTH, 17)) < missing, 2] = 0.0
    assert score(window[:, SWAPPED] * np.array([-1, 1, 1], np.float32)) == pytest.approx(score(window), abs=1e-5)


def test_an_output_that_is_not_a_window_of_keypoints_is_refused() -> None:
    for shape in ((1, 8, 51), (1, 30, 50), (30, 51)):
        with pytest.raises(DecoderError, match="climb needs keypoints over time"):
            decoders.make("climb", [], {}, [shape])


def alarms_of(recording: PoseRecording) -> list[float]:
    return evaluate.calls(OPENED, recording.times, recording.points, recording.aspect)


def test_the_package_has_the_labels_of_its_decoder() -> None:
    assert package.labels(BUNDLED / "pose-climb") == list(LABELS)
    assert OPENED.golden == 0.0


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_most_climbs_are_called_before_the_top(missing: float) -> None:
    called = 0
    for seed in SEEDS:
        recording = render(activities.climb(seed), seed, missing)
        alarms = alarms_of(recording)
        assert all(alarm > recording.onset for alarm in alarms)
        called += any(alarm < recording.onset + 4.0 for alarm in alarms)
    assert called >= len(SEEDS) - 1


@pytest.mark.parametrize("act", activities.NO_CLIMB, ids=lambda act: act.__name__)
def test_similar_acts_raise_no_alarm(act: Act) -> None:
    for seed in SEEDS:
        assert not alarms_of(render(act(seed), seed))


@pytest.mark.parametrize("falls", [False, True])
def test_daily_life_and_falls_raise_no_alarm(falls: bool) -> None:
    for seed in SEEDS:
        assert not alarms_of(render_room(random_motion(seed, falls=falls), seed))


def test_the_wall_is_climbed_in_view_of_the_camera() -> None:
    scene = activities.climb(3)
    hips = scene.motion.hips[:, 2]
    assert 1.5 <= scene.wall <= 3.0 and hips[-1] == pytest.approx(scene.wall + 0.15)
    assert hips[scene.motion.onset] < 1.2
    recording = render(scene, 3)
    assert ((recording.points[..., :2] > -0.03) & (recording.points[..., :2] < 1.03)).all()


def test_evaluate_reports_missing_clips(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a set laid out like 'video-fall-gmdcsa24'"):
        evaluate.evaluate(BUNDLED / "pose-climb", tmp_path)


@needs_recordings
def test_nobody_climbs_in_the_real_clips() -> None:
    """Seven clips, their keypoints as MoveNet gave them."""
    with (DATA / "pose-gmdcsa24-movenet/keypoints.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    clips = defaultdict(list)
    for row in rows:
        clips[row[0]].append([float(value) for value in (row[2], *row[4:])])
    assert len(clips) >= 7
    for name, values in clips.items():
        table = np.array(values, np.float32)
        aspect = 16 / 9 if name == "S1-ADL-16" else 4 / 3
        assert not evaluate.calls(OPENED, table[:, 0], table[:, 1:].reshape(-1, 17, 3), aspect), name
