"""Drift of a lane's input and scores: what is learnt, when a change is reported, when it ends; no file, no clock."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from agent.drift.detector import DRIFTING, HIGHEST, LEARNING, NORMAL, THRESHOLD, Detector, Floor, Limits
from agent.drift.histogram import BINS, DecayedHistogram, stability_index
from agent.drift.lane import LaneDrift
from agent.drift.page_hinkley import ALLOWANCE, CLIP, PageHinkley, Reference
from agent.drift.pictures import Scene, figures, view
from agent.drift.scores import MAX_LABELS, OTHERS, Appearances, Scores, Value
from agent.drift.signals import ALL, MAX_CHANNELS, sound_figures
from agent.drift.signals import figures as reading_figures
from agent.tapes.live import sound_levels
from agent.tapes.live_reader import RawPicture

LIMITS = Limits(learn=400, recover=20)
SECOND = 1_000_000_000


def normal(count: int, mean: float = 0.0, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1, count).tolist()


def learnt(limits: Limits = LIMITS, seed: int = 0) -> Detector:
    detector = Detector(Floor(1e-6), limits)
    changes = [detector.add(value) for value in normal(limits.learn, seed=seed)]
    assert not any(changes) and detector.state == NORMAL
    return detector


def reported_after(detector: Detector, values: Sequence[float]) -> int:
    """Values until the report; 0 for none."""
    return next((number for number, value in enumerate(values, 1) if detector.add(value) == DRIFTING), 0)


def test_the_reference_has_the_mean_and_deviation_of_its_values() -> None:
    reference, values = Reference(), normal(1000, 5.0)
    for value in values:
        reference.add(value)
    assert math.isclose(reference.mean, float(np.mean(values)))
    assert math.isclose(reference.deviation, float(np.std(values, ddof=1)))


def test_the_sums_are_those_of_page_and_hinkley() -> None:
    sums, walk = PageHinkley(), np.cumsum(np.clip(normal(300, 0.2), -CLIP, CLIP) - np.float64(ALLOWANCE))
    for z in normal(300, 0.2):
        sums.add(z)
    assert math.isclose(sums.up, walk[-1] - min(0.0, walk.min()))


@pytest.mark.parametrize("seed", range(6))
def test_a_day_of_independent_values_gives_no_report(seed: int) -> None:
    assert not reported_after(learnt(seed=seed), normal(86_400, seed=seed + 100))


@pytest.mark.parametrize("shift, most", [(1.0, 180), (-1.0, 180), (2.0, 60), (-4.0, 20), (1000.0, 20)])
def test_a_shift_of_the_mean_is_reported_within_threshold_over_shift(shift: float, most: int) -> None:
    assert 0 < reported_after(learnt(), normal(2000, shift, seed=9)) <= most


def test_no_single_value_is_a_drift() -> None:
    detector = learnt()
    assert not reported_after(detector, [1e9] * int(THRESHOLD / (CLIP - ALLOWANCE) / 2))
    assert not reported_after(detector, normal(500, seed=3))


def test_a_slow_drift_is_reported_although_each_step_is_tiny() -> None:
    slowly = (np.linspace(0, 3, 5000) + normal(5000, seed=5)).tolist()
    assert 0 < reported_after(learnt(), slowly) < 2500


def loop(count: int, seed: int) -> list[float]:
    """A person passes for 20 of each 60 seconds."""
    return [3.0 * (number % 60 < 20) + noise for number, noise in enumerate(normal(count, seed=seed))]


def test_what_returns_each_minute_is_normal_and_raises_the_threshold() -> None:
    detector = Detector(Floor(1e-6), Limits(600, 60))
    for value in loop(600, 0):
        detector.add(value)
    assert THRESHOLD <= detector.threshold <= HIGHEST
    assert not reported_after(detector, loop(86_400, 1))
    assert 0 < reported_after(detector, [value + 4 for value in loop(400, 2)]) <= 120


def test_a_drift_ends_by_itself_once_values_are_normal_again() -> None:
    detector = learnt()
    assert reported_after(detector, normal(200, 3.0, seed=1))
    assert not any(detector.add(value) for value in normal(200, 3.0, seed=2))
    changes = [detector.add(value) for value in normal(3 * LIMITS.recover, seed=4)]
    assert changes.count(NORMAL) == 1 and detector.state == NORMAL
    assert reported_after(detector, normal(200, 3.0, seed=5)), "and it is reported again"


def test_what_is_no_number_is_no_value() -> None:
    detector = learnt()
    assert not any(detector.add(value) for value in [math.nan, math.inf, -math.inf] * 100)
    assert detector.sums.largest == 0.0
    assert reported_after(detector, normal(200, 3.0))


def test_a_value_that_never_changed_does_not_drift_by_less_than_its_floor() -> None:
    detector = Detector(Floor(2.0), LIMITS)
    for _ in range(LIMITS.learn):
        detector.add(128.0)
    assert not reported_after(detector, [128.9] * 5000)
    assert reported_after(detector, [140.0] * 20)


def test_what_was_learnt_survives_a_restart_and_a_damaged_file_is_refused() -> None:
    detector = learnt()
    assert not reported_after(detector, [1.5] * 20)
    saved = json.loads(json.dumps(detector.saved()))
    restored = Detector(Floor(1e-6), LIMITS)
    restored.restore(saved)
    assert restored.saved() == detector.saved()
    assert reported_after(restored, [1.5] * 100) == reported_after(detector, [1.5] * 100)
    for bad in ({**saved, "sums": [math.nan, 0]}, {**saved, "state": "asleep"}, {}, {**saved, "limits": [0, 1]}):
        with pytest.raises((ValueError, LookupError, TypeError)):
            Detector(Floor(1e-6), LIMITS).restore(bad)


def test_the_histogram_forgets_and_tells_two_kinds_of_scores_apart() -> None:
    histogram = DecayedHistogram()
    for _ in range(5000):
        histogram.add(0.95)
    before = histogram.shares
    assert before[BINS - 1] == pytest.approx(1.0)
    for _ in range(500):
        histogram.add(0.5)
    assert histogram.shares[BINS // 2] == pytest.approx(0.5, abs=0.01)
    assert stability_index(before, before) == 0 < 0.25 < stability_index(histogram.shares, before)
    histogram.add(7.0)
    histogram.add(-1.0)


def box(label: str, score: float) -> tuple[str, float, list[float], str]:
    return label, score, [0.1, 0.1, 0.3, 0.5], ""


def test_what_is_in_the_picture_for_a_while_is_one_appearance_with_its_highest_score() -> None:
    appearances, values = Appearances(), []
    for tenth in range(60):
        seen = [box("person", 0.5 + tenth / 100)] if tenth < 30 else []
        values += list(appearances.add(tenth * SECOND // 10, seen))
    assert values == [Value("person", 0.79)]


def test_who_stays_counts_once_a_minute() -> None:
    appearances = Appearances()
    values = [value for second in range(600) for value in appearances.add(second * SECOND, [box("person", 0.9)])]
    assert 8 <= len(values) <= 10


def test_labels_of_a_whole_window_count_once_a_second_by_the_best() -> None:
    appearances, values = Appearances(), []
    for millisecond in range(0, 5000, 10):
        evidence = [("normal", 0.9, None, ""), ("deviation", 0.1, None, "")]
        values += list(appearances.add(millisecond * 1_000_000, evidence))
    assert values == [Value("normal", 0.9)] * 4


def test_a_score_that_is_no_number_is_counted_and_left_out() -> None:
    appearances = Appearances()
    assert not list(appearances.add(0, [box("person", math.nan)])) + list(appearances.add(5 * SECOND, []))
    assert appearances.bad == 1


def with_labels(scores: Scores, names: Sequence[str], count: int, seed: int) -> list[tuple[str, str]]:
    random = np.random.default_rng(seed)
    values = (Value(str(random.choice(names)), float(random.beta(20, 3))) for _ in range(count))
    return [change for value in values for change in scores.add(value)]


def test_a_swapped_class_is_reported_and_the_same_mixture_is_not() -> None:
    scores = Scores(LIMITS)
    assert not with_labels(scores, ["person", "car"], 5000, 1)
    statistics = {name for name, change in with_labels(scores, ["person", "dog"], 120, 2) if change == DRIFTING}
    assert {"share of car", f"share of {OTHERS}"} <= statistics and "score" not in statistics


def test_memory_does_not_grow_with_the_number_of_labels() -> None:
    scores = Scores(LIMITS)
    with_labels(scores, [f"label {number}" for number in range(300)], 5000, 3)
    assert len(scores.labels) == MAX_LABELS + 1


def picture(seed: int = 0) -> np.ndarray:
    """Some furniture, grey."""
    random = np.random.default_rng(seed)
    cells = random.integers(30, 220, (12, 16)).astype(np.uint8)
    return np.kron(cells, np.ones((20, 20), np.uint8))


def test_the_figures_of_a_picture_follow_its_light_and_its_focus() -> None:
    import cv2

    sharp = picture()
    dark, soft = figures((sharp * 0.5).astype(np.uint8)), figures(cv2.GaussianBlur(sharp, (0, 0), 3))
    known = figures(sharp)
    assert dark["brightness"] == pytest.approx(known["brightness"] / 2, abs=1)
    assert soft["sharpness"] < known["sharpness"] - 1 and soft["brightness"] == pytest.approx(
        known["brightness"], abs=1
    )


def test_the_view_follows_the_place_of_the_camera_and_not_the_light() -> None:
    scene, known = Scene(3), picture()
    assert [scene.add(view(known)) for _ in range(3)] == [None] * 3
    assert scene.add(view((known * 0.5).astype(np.uint8))) == pytest.approx(1.0, abs=0.01)
    assert (scene.add(view(np.roll(known, 40, axis=1))) or 0) < 0.7
    assert scene.add(view(np.zeros_like(known))) == 0.0, "a lens cap"


def test_the_figures_of_readings_follow_scale_offset_and_spectrum() -> None:
    t = np.arange(256)
    slow = np.stack([np.sin(0.1 * t), np.full(256, 3.0)], axis=1).astype(np.float32)
    fast = np.stack([5 + 2 * np.sin(0.6 * t), np.full(256, 3.0)], axis=1).astype(np.float32)
    a, b = reading_figures(slow, ["x", "y"]), reading_figures(fast, ["x", "y"])
    assert b["x level"] - a["x level"] == pytest.approx(5, abs=0.1)
    assert b["x spread"] - a["x spread"] == pytest.approx(math.log(2), abs=0.1)
    assert b["x spectrum"] == pytest.approx(0.6 / math.pi, abs=0.01)
    assert "y spectrum" not in a and math.isfinite(a["y spread"]), "a channel that does not move"


def test_many_channels_are_summarised_as_one() -> None:
    rows = np.random.default_rng(0).normal(size=(64, MAX_CHANNELS + 1)).astype(np.float32)
    names = [f"c{number}" for number in range(MAX_CHANNELS + 1)]
    assert sorted(reading_figures(rows, names)) == [f"{ALL} level", f"{ALL} spectrum", f"{ALL} spread"]


def test_the_figures_of_sound_are_its_level_and_its_frequency() -> None:
    t = np.arange(1600) / 16_000
    rms, peak, frequency = sound_levels((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 16_000)
    assert (rms, peak, frequency) == pytest.approx((0.5 / math.sqrt(2), 0.5, 440), rel=0.02)
    loud = sound_figures(np.array([[0.1, 0.3, 500]] * 10, np.float32))
    quiet = sound_figures(np.array([[0.01, 0.03, 500]] * 10, np.float32))
    assert loud["loudness"] - quiet["loudness"] == pytest.approx(20, abs=0.1)
    assert loud["peaks"] == pytest.approx(quiet["peaks"], abs=0.1) and loud["pitch"] == pytest.approx(quiet["pitch"])
    silent = sound_figures(sound_levels(np.zeros(1600, np.int16), 16_000)[None])
    assert all(map(math.isfinite, silent.values())) and "pitch" not in silent


def test_readings_that_are_no_numbers_are_left_out_and_counted() -> None:
    drift, random = LaneDrift(LIMITS), np.random.default_rng(0)
    rows = random.normal(size=(64, 2)).astype(np.float32)
    broken = rows.copy()
    broken[3, 1] = np.nan
    assert not drift.add_window(broken, ["x", "y"]) and not drift.statistics and drift.bad == 1
    drift.add_window(rows, ["x", "y"])
    assert len(drift.statistics) == 6


def test_a_lane_goes_on_with_what_it_had_learnt() -> None:
    drift, random = LaneDrift(LIMITS), np.random.default_rng(0)
    for number in range(LIMITS.learn + 10):
        noise = random.integers(0, 3, (240, 320)).astype(np.uint8)
        drift.add_picture(RawPicture(picture()[:240] + noise, "grey"))
        drift.add_inferences([(number * SECOND, [("normal", 0.9, None, "")])])
    assert drift.statistics["brightness"].state == NORMAL and drift.statistics["view"].state == LEARNING
    saved = json.loads(json.dumps(drift.saved()))
    restored = LaneDrift(LIMITS)
    restored.restore(saved)
    assert restored.saved() == saved
    other = LaneDrift(LIMITS)
    other.restore(saved, inputs=False)
    assert not other.inputs and other.scores.count == drift.scores.count, "another source, the same model"
