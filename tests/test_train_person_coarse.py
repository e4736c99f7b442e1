"""person-coarse: its teachers, its views, its score, its road in small."""

from __future__ import annotations

import numpy as np
import pytest

from agent.data import Box
from agent.decoders import base as decoders
from models.train.network import Network
from models.train.person_coarse import clips, views


def test_no_clip_is_on_both_sides_of_the_split():
    assert not clips.TRAIN.keys() & clips.TEST.keys()


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


def test_the_persons_road_in_small(tensorflow, monkeypatch):
    from models.train import engine
    from models.train.person_coarse import make as person

    random = np.random.default_rng(2)
    pictures = random.integers(0, 256, (6, clips.SIDE, clips.SIDE, 3), np.uint8)
    clip = clips.Clip("tiny", pictures, pictures[:, ::2, ::2], [[Box(0.2, 0.2, 0.6, 0.9)], []] * 3)
    monkeypatch.setattr(person, "PER_EPOCH", 64)
    model = person.train([clip], epochs=1)
    content = engine.to_int8(model, person.real(clip.inputs))
    assert Network(content)(person.real(clip.inputs)).shape == (6, views.CELLS, views.CELLS, 1)


def test_a_group_on_the_person_counts_as_found(tensorflow):
    from models.train.person_coarse.card import score

    clip = clips.Clip("tiny", np.zeros((2, 1, 1, 3)), np.zeros((2, 1, 1, 3)), [[Box(0, 0, 0.5, 1)], []])
    outputs = np.zeros((2, 12, 12, 1), np.float32)
    outputs[:, :, :4] = 0.9
    found = score(lambda inputs: outputs, clip)
    assert (found.frames, found.there, found.found, found.false, found.boxed) == (2, 1, 1, 1, 1)
    assert found.overlap == pytest.approx(2 / 3)
