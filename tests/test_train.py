"""The road from data to a package: what needs no TensorFlow always, the rest in seconds where it is installed."""

import numpy as np
import pytest

from agent.data import Box
from agent.decoders import base as decoders
from drivers.sensor._arm import LABELS, UNCLEAR, Run
from models.train import card, clips, stops, views, windows
from models.train.pack import GOLDEN, pack, yaml


@pytest.fixture(scope="session")
def tensorflow():
    return pytest.importorskip("tensorflow", reason="tensorflow is not installed: pip install 'reflexd[train]' in its own venv")


def test_no_arm_is_on_both_sides_of_the_split():
    parts = [windows.TRAIN, windows.SEARCH, windows.VALIDATE, windows.TEST, windows.HEALTHY_TEST]
    assert len(set().union(*parts)) == sum(map(len, parts))


def test_no_clip_is_on_both_sides_of_the_split():
    assert not clips.TRAIN.keys() & clips.TEST.keys()


def test_a_window_ends_with_its_newest_reading():
    readings = np.arange(100, dtype=np.float32)[:, None] * windows.SCALE / 200
    cut = windows.windows(readings, np.array([31, 99]))
    assert cut.shape == (2, windows.LENGTH, 12)
    assert cut[0, 0, 0] == 0
    assert cut[1, -1, 0] == pytest.approx(99 / 200)
    assert windows.windows(readings * 1000, np.array([99])).max() == 1.0


def test_windows_to_learn_from_have_a_label_and_a_past():
    labels = np.zeros(5000, np.int8)
    labels[3000:3010] = UNCLEAR
    labels[3010:3200] = LABELS.index("collision")
    rows = windows.choose(labels, np.random.default_rng(0))
    assert rows.min() >= windows.LENGTH - 1
    assert (labels[rows] != UNCLEAR).all()
    hits = rows[labels[rows] == LABELS.index("collision")]
    assert len(hits) > 5
    assert hits.max() < 3010 + windows.FRESH


def test_ages_count_from_each_change():
    assert windows.ages(np.array([0, 0, 0, 2, 2, 0])).tolist() == [0, 1, 2, 0, 1, 0]


def test_runs_differ_by_seed_only():
    one, same, other = (windows.run_of(seed, 2.0, windows.KNOWN, windows.ANY) for seed in (1, 1, 2))
    assert np.array_equal(one.readings, same.readings)
    assert not np.array_equal(one.readings, other.readings)


def test_two_of_three_high_scores_stop():
    high, low = [0.1, 0.9], [0.9, 0.1]
    scores = np.array([low, high, low, low, high, low, high, low, low])
    assert stops.stop_ticks(scores).tolist() == [False] * 6 + [True] + [False] * 2


def test_a_tally_tells_right_stops_from_false_ones():
    labels = np.zeros(2000, np.int8)
    labels[1000:1100] = 1
    crossing = np.array([1005])
    run = Run(np.zeros((2000, 12), np.float32), labels, crossing)

    def at(*ticks):
        def score(inputs):
            scores = np.tile([1.0, 0.0], (len(inputs), 1))
            for tick in ticks:
                scores[tick - windows.LENGTH + 1 : tick - windows.LENGTH + 11] = [0.0, 1.0]
            return scores
        return stops.tally([run], score)

    good, false, blind = at(1003), at(500, 1003), at()
    assert (good.false_stops, good.late.tolist(), good.onset.tolist()) == (0, [-1.0], [4.0])
    assert false.false_stops == 1
    assert np.isnan(blind.late).all()
    assert [stops.in_time(each.late) for each in (good, blind)] == [1, 0]


def test_intervals_stay_honest_at_the_ends():
    assert card.wilson(0, 0) == (0.0, 1.0)
    low, high = card.wilson(100, 100)
    assert 0.95 < low < 0.97
    assert high == pytest.approx(1.0)
    assert card.at_most(0, 2.0) == pytest.approx(1.5, abs=0.05)
    assert card.at_most(3, 1.0) == pytest.approx(7.75, abs=0.1)


def test_a_package_can_be_read_back(tmp_path):
    package = pytest.importorskip("agent.package")
    facts = {
        "version": "1.0.0", "decoder": "sequence", "labels": ["normal", "off"], "budget_ms": 2.0, "data": 'none: a "test"',
        "window": {"channels": ["a"], "length": 4, "hop": 1, "mean": [0.0], "std": [1.5]},
    }
    pack(tmp_path / "tiny", b"model", facts, np.zeros((GOLDEN, 4, 1), np.int8), np.zeros((GOLDEN, 2), np.int8))
    manifest = package.read(tmp_path / "tiny")
    assert manifest.data == 'none: a "test"'
    assert manifest.window.std == [1.5]
    assert package.verify_file(tmp_path / "tiny", manifest).read_bytes() == b"model"
    assert np.load(tmp_path / "tiny" / "golden.npz")["input_0"].shape == (GOLDEN, 4, 1)


def test_yaml_indents_what_is_inside():
    assert yaml({"a": 1, "b": {"c": [1.5, "x"]}}) == 'a: 1\nb:\n  c: [1.5, "x"]\n'


def test_teachers_that_are_not_sure_are_not_asked():
    box, legs = Box(0, 0, 1, 1), Box(0, 0.6, 1, 1)
    assert clips.persons([(0.9, box), (0.5, legs)], None, False) == [box]
    assert clips.persons([(0.2, box)], None, False) is None
    assert clips.persons([], None, False) == []
    assert clips.persons([], None, True) is None


def test_two_teachers_see_one_person_whole():
    upper, pose, elsewhere = Box(0.2, 0, 0.5, 0.5), Box(0.25, 0.25, 0.5, 0.75), Box(0.8, 0.8, 1, 1)
    assert clips.persons([(0.9, upper), (0.8, elsewhere)], pose, True) == [Box(0.2, 0, 0.5, 0.75)]
    assert clips.persons([(0.9, upper), (0.8, elsewhere)], None, True) == [upper]
    assert clips.persons([], pose, True) == [pose]


def test_a_grid_knows_person_nobody_and_edge():
    cells = views.grid(views.mapped([Box(0.25, 0.25, 0.75, 0.75)]))[..., 0]
    assert cells.shape == (views.CELLS, views.CELLS)
    assert cells[6, 6] == 1 and cells[0, 0] == 0 and cells[3, 6] == -1


def test_views_move_picture_and_map_alike():
    picture = np.zeros((clips.SIDE, clips.SIDE, 3), np.uint8)
    place = Box(0.3, 0.3, 0.7, 0.7)
    drawn = views.mapped([place])
    picture[drawn > 0] = 255
    random = np.random.default_rng(3)
    for _ in range(20):
        seen, cells = views.vary(picture, drawn, random)
        bright = seen.mean(axis=2)[4::8, 4::8]
        assert seen.shape == (clips.INPUT, clips.INPUT, 3)
        if (cells == 1).any() and (cells == 0).any():
            assert bright[cells[..., 0] == 1].min() > bright[cells[..., 0] == 0].max() - 60


def grid(scores, **options):
    return decoders.make("grid", ["person"], options, [(1, 4, 4, 1)])([np.array(scores, np.float32).reshape(1, 4, 4, 1)])


def test_touching_cells_are_one_box():
    scores = np.zeros((4, 4))
    scores[0, 0], scores[1, 1], scores[3, 3] = 0.7, 0.9, 0.6
    first, second = grid(scores)
    assert first.label == "person"
    assert first.score == pytest.approx(0.9)
    assert first.box == Box(0.0, 0.0, 0.5, 0.5)
    assert second.box == Box(0.75, 0.75, 1.0, 1.0)
    assert len(grid(scores, min_cells=2)) == 1


def test_a_grid_of_anything_is_no_crash():
    assert grid(np.full((4, 4), np.nan)) == []
    assert grid(np.full((4, 4), np.inf))[0].score == 1.0
    with pytest.raises(decoders.DecoderError):
        decoders.make("grid", ["person", "car"], {}, [(1, 4, 4, 1)])


def test_a_tiny_network_learns_and_keeps_it_in_int8(tensorflow):
    from models.train import engine

    engine.steady(1)
    random = np.random.default_rng(1)
    inputs = random.uniform(-1, 1, (600, 8, 2)).astype(np.float32)
    truth = (inputs[:, -1, 0] > 0).astype(int)
    layers = tensorflow.keras.layers
    model = tensorflow.keras.Sequential([layers.Input((8, 2)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    model.compile(tensorflow.keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
    model.fit(inputs, truth, 64, 10, verbose=0)
    for content in (engine.to_float(model), engine.to_int8(model, inputs)):
        network = engine.Network(content)
        assert (network(inputs).argmax(axis=1) == truth).mean() > 0.95
    assert network.quantised(inputs).dtype == np.int8


def test_the_arms_road_in_small(tensorflow):
    from models.train import make_arm_deviation as arm

    known = arm.examples(range(1, 9), windows.KNOWN)
    model = arm.train(*known, known, epochs=3)
    quantised = arm.Network(arm.to_int8(model, known[0]))
    assert (quantised(known[0]).argmax(axis=1) == known[1]).mean() > 0.7
    assert arm.some_of_each(*known).shape == (GOLDEN, windows.LENGTH, 12)


def test_the_persons_road_in_small(tensorflow, monkeypatch):
    from models.train import make_person_coarse as person

    random = np.random.default_rng(2)
    pictures = random.integers(0, 256, (6, clips.SIDE, clips.SIDE, 3), np.uint8)
    clip = clips.Clip("tiny", pictures, pictures[:, ::2, ::2], [[Box(0.2, 0.2, 0.6, 0.9)], []] * 3)
    monkeypatch.setattr(person, "PER_EPOCH", 64)
    model = person.train([clip], epochs=1)
    content = person.to_int8(model, person.real(clip.inputs))
    assert person.Network(content)(person.real(clip.inputs)).shape == (6, views.CELLS, views.CELLS, 1)


def test_a_group_on_the_person_counts_as_found(tensorflow):
    from models.train.person_card import score

    clip = clips.Clip("tiny", np.zeros((2, 1, 1, 3)), np.zeros((2, 1, 1, 3)), [[Box(0, 0, 0.5, 1)], []])
    outputs = np.zeros((2, 12, 12, 1), np.float32)
    outputs[:, :, :4] = 0.9
    found = score(lambda inputs: outputs, clip)
    assert (found.frames, found.there, found.found, found.false, found.boxed) == (2, 1, 1, 1, 1)
    assert found.overlap == pytest.approx(2 / 3)
