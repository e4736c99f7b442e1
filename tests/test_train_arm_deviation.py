"""arm-deviation: its data, its stop rule, and the recipe on a small scale."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.sensor._arm import LABELS, UNCLEAR, Run
from models.train.arm_deviation import stops, windows
from models.train.network import Network
from models.train.pack import GOLDEN


def test_no_arm_is_on_both_sides_of_the_split():
    parts = [windows.TRAIN, windows.SEARCH, windows.VALIDATE, windows.TEST, windows.HEALTHY_TEST]
    assert len(set().union(*parts)) == sum(map(len, parts))


def test_a_window_ends_with_its_newest_reading():
    readings = np.arange(100, dtype=np.float32)[:, None] * windows.SCALE / 200
    cut = windows.windows(readings, np.array([31, 99]))
    assert cut.shape == (2, windows.LENGTH, 12)
    assert cut[0, 0, 0] == 0
    assert cut[1, -1, 0] == pytest.approx(99 / 200)
    assert windows.windows(readings * 1000, np.array([99])).max() == 1.0


def test_training_windows_have_a_label_and_full_length():
    labels = np.zeros(5000, np.int8)
    labels[3000:3010] = UNCLEAR
    labels[3010:3200] = LABELS.index("collision")
    rows = windows.choose_rows(labels, np.random.default_rng(0))
    assert rows.min() >= windows.LENGTH - 1
    assert (labels[rows] != UNCLEAR).all()
    hits = rows[labels[rows] == LABELS.index("collision")]
    assert len(hits) > 5
    assert hits.max() < 3010 + windows.FRESH


def test_label_ages_count_from_each_change():
    assert windows.label_ages(np.array([0, 0, 0, 2, 2, 0])).tolist() == [0, 1, 2, 0, 1, 0]


def test_runs_differ_by_seed_only():
    first, same, other = (windows.draw_run(seed, 2.0, windows.KNOWN, windows.ANY) for seed in (1, 1, 2))
    assert np.array_equal(first.readings, same.readings)
    assert not np.array_equal(first.readings, other.readings)


def test_two_high_scores_of_three_stop_the_arm():
    high, low = [0.1, 0.9], [0.9, 0.1]
    scores = np.array([low, high, low, low, high, low, high, low, low])
    assert stops.stop_ticks(scores).tolist() == [False] * 6 + [True] + [False] * 2


def test_a_tally_separates_justified_stops_from_false_ones():
    labels = np.zeros(2000, np.int8)
    labels[1000:1100] = 1
    crossing = np.array([1005])
    run = Run(np.zeros((2000, 12), np.float32), labels, crossing)

    def stopped_at(*ticks):
        def score(inputs):
            scores = np.tile([1.0, 0.0], (len(inputs), 1))
            for tick in ticks:
                scores[tick - windows.LENGTH + 1 : tick - windows.LENGTH + 11] = [0.0, 1.0]
            return scores

        return stops.tally([run], score)

    good, false, blind = stopped_at(1003), stopped_at(500, 1003), stopped_at()
    assert (good.false_stops, good.crossing_ms.tolist(), good.onset_ms.tolist()) == (0, [-1.0], [4.0])
    assert false.false_stops == 1
    assert np.isnan(blind.crossing_ms).all()
    assert [stops.in_time(tally.crossing_ms) for tally in (good, blind)] == [1, 0]


def test_the_recipe_on_a_small_scale(tensorflow):
    from models.train import engine
    from models.train.arm_deviation import make

    known = make.examples(range(1, 9), windows.KNOWN)
    model = make.train(*known, known, epochs=3)
    quantised = Network(engine.to_int8(model, known[0]))
    assert (quantised(known[0]).argmax(axis=1) == known[1]).mean() > 0.7
    assert make.samples_of_each_label(*known).shape == (GOLDEN, windows.LENGTH, 12)
