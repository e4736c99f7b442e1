"""pcb-inspect: boards, the defects drawn into them, the score, and a small training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.data import Box
from agent.decoders import base as decoders
from agent.decoders.base import Finding
from agent.packages.package import BUNDLED, open_package
from models.train.data import DataError
from models.train.pcb_inspect import boards, defects, score, views
from models.train.pcb_inspect.boards import KINDS, MARGIN, SIDE, Defect, Pair
from models.train.pcb_inspect.evaluate import evaluate
from tests.shared import DATA, needs_recordings

BUNDLED_PCB = BUNDLED / "pcb-inspect"


def copper(width=20):
    """Traces from top to bottom, uint8 0 or 1 [256, 256]."""
    drawn = np.zeros((256, 256), np.uint8)
    for x in range(30, 256, 60):
        cv2.line(drawn, (x, 0), (x, 255), 1, width)
    return drawn


def picture(drawn):
    return (255 * (1 - drawn)).astype(np.uint8)


def pieces(drawn):
    return cv2.connectedComponents(drawn, connectivity=4)[0] - 1


def write_pair(folder, group="group1", number="1001", lines="100 100 140 140 1\n", side=SIDE):
    """One pair, laid out like the set."""
    place = folder / group / group.removeprefix("group")
    labels = place.with_name(place.name + "_not")
    for path in (place, labels):
        path.mkdir(parents=True, exist_ok=True)
    for part in ("test", "temp"):
        cv2.imwrite(str(place / f"{number}_{part}.jpg"), np.full((side, side), 255, np.uint8))
    (labels / f"{number}.txt").write_text(lines)
    return folder


def test_a_pair_is_read_with_its_labels(tmp_path):
    (pair,) = boards.load(write_pair(tmp_path, lines="10 20 30 50 1\n300,310,340,350,6\n"))
    assert (pair.name, pair.group, pair.test.shape) == ("1001", "group1", (SIDE, SIDE))
    assert pair.defects == [Defect(0, 10, 20, 30, 50), Defect(5, 300, 310, 340, 350)]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"lines": "1 2 3\n"}, "1001.txt: expected lines of 'left top right bottom kind'"),
        ({"lines": "1 2 3 4 7\n"}, "1001.txt:1: expected 'left top right bottom kind', kind 1 to 6"),
        ({"lines": "5 2 3 4 1\n"}, "1001.txt:1:"),
        ({"side": 64}, "expected a picture of 640 x 640 pixels"),
    ],
)
def test_a_wrong_layout_is_reported_in_one_line(tmp_path, changes, message):
    with pytest.raises(DataError) as refused:
        boards.load(write_pair(tmp_path, **changes))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_missing_boards_are_reported(tmp_path):
    with pytest.raises(DataError, match="inspect-deeppcb"):
        boards.load(tmp_path)


def test_no_board_is_on_two_sides_of_the_split():
    groups = [group for fold in boards.FOLDS for group in fold]
    assert len(groups) == len(set(groups)) and not set(groups) & set(boards.HELD_OUT)
    assert set(groups) == boards.TRAINED


@needs_recordings
def test_the_split_covers_all_boards():
    pairs = boards.load(DATA)
    assert {pair.group for pair in pairs} == boards.TRAINED | set(boards.HELD_OUT)
    assert len(pairs) == 63
    assert sum(len(pair.defects) for pair in pairs) == 411


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_defect_does_to_the_copper_what_its_name_says(kind):
    random = np.random.default_rng(kind)
    drawn = 0
    for _ in range(12):
        good = copper(int(random.integers(12, 34)))
        bad, occupied = good.copy(), np.zeros_like(good)
        defect = defects.add(bad, occupied, kind, random)
        if defect is None:
            assert np.array_equal(bad, good)
            continue
        drawn += 1
        changed = bad != good
        rows, columns = np.nonzero(changed)
        assert (defect.top + MARGIN, defect.bottom - MARGIN) == (rows.min(), rows.max() + 1)
        assert (defect.left + MARGIN, defect.right - MARGIN) == (columns.min(), columns.max() + 1)
        assert (occupied[changed] == 1).all()
        more, gaps = pieces(bad) - pieces(good), pieces(1 - bad) - pieces(1 - good)
        name = KINDS[defect.kind]
        assert (good[changed] == 1).all() == (name in ("open", "mousebite", "pin-hole"))
        if name in ("open", "short"):  # a trace from edge to edge falls apart, or two gaps do
            assert (more if name == "open" else gaps) >= 1
        else:
            assert (more, gaps) == {"copper": (1, 0), "pin-hole": (0, 1)}.get(name, (0, 0))
    assert drawn >= 6


def test_defects_keep_clear_of_each_other():
    random = np.random.default_rng(1)
    bad, occupied = copper(), np.zeros((256, 256), np.uint8)
    drawn = [defects.add(bad, occupied, kind, random) for kind in list(range(len(KINDS))) * 3]
    drawn = [defect for defect in drawn if defect]
    assert len(drawn) > 6
    for number, a in enumerate(drawn):
        for b in drawn[:number]:
            assert max(a.left - b.right, b.left - a.right, a.top - b.bottom, b.top - a.bottom) >= -MARGIN


def test_a_blank_board_has_no_place_for_a_defect():
    blank = np.zeros((64, 64), np.uint8)
    for kind in ("open", "spur"):
        assert defects.add(blank, np.zeros_like(blank), KINDS.index(kind), np.random.default_rng(0)) is None


def pair(*boxes, bad=None):
    good = cv2.resize(picture(copper()), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return Pair("1", "group1", good if bad is None else bad, good, list(boxes))


def test_views_are_many_and_their_labels_lie_on_differences():
    bad = pair().template.copy()
    cv2.circle(bad, (320, 320), 9, 0, -1)
    board = pair(Defect(KINDS.index("copper"), 301, 301, 339, 339), bad=bad)
    random, hits = np.random.default_rng(5), 0
    for _ in range(30):
        pictures, cells = views.view(board, random)
        assert pictures.shape == (views.CROP, views.CROP, 2) and pictures.dtype == np.uint8
        assert cells.shape == (views.CROP // views.STRIDE,) * 2
        assert set(np.unique(cells)) <= {views.UNKNOWN, *range(7)}
        unlike = np.abs(pictures[:, :, 0].astype(int) - pictures[:, :, 1]) > 100
        share = unlike.reshape(*cells.shape[:1], views.STRIDE, cells.shape[1], views.STRIDE).mean(axis=(1, 3))
        if (cells > 0).any() and share.max() > 0:
            hits += share[cells > 0].mean() > share[cells == 0].mean()
    assert hits > 20


def test_a_variant_moves_pictures_and_cells_alike():
    random = np.random.default_rng(3)
    cells = random.integers(0, 7, (24, 24)).astype(np.int8)
    drawn = np.zeros((views.CROP, views.CROP, 2), np.uint8)
    drawn[:, :, 0] = np.kron(cells, np.ones((views.STRIDE, views.STRIDE)))
    positives = 0
    for _ in range(30):
        pictures, varied_cells = views.varied(drawn, cells, random)
        alike = pictures[4 :: views.STRIDE, 4 :: views.STRIDE, 0] == varied_cells
        positives += alike.all()
        assert alike.all() or pictures[0, 0, 1] == 255  # a negative
    assert 10 < positives < 30


def test_a_negative_has_the_opposite_kinds():
    cells = np.array([[0, 1, 2, 3, 4, 5, 6, -1]], np.int8)
    _, swapped = views.negative(np.zeros((8, 64, 2), np.uint8), cells)
    assert swapped.tolist() == [[0, 2, 1, 4, 3, 6, 5, -1]]
    assert views.negative(np.zeros((8, 64, 2), np.uint8), swapped)[1].tolist() == cells.tolist()


def test_boxes_are_warped_with_the_board():
    random = np.random.default_rng(2)
    for _ in range(20):
        matrix = views.placement(random)
        shown = np.full((SIDE, SIDE), 255, np.uint8)
        shown[300:320, 310:340] = 0
        crop = views.warped(shown, matrix)
        boxes = views.warped_boxes([Defect(0, 300, 290, 350, 330)], matrix)
        if not boxes or (crop == 0).sum() < 100:
            continue
        rows, columns = np.nonzero(crop == 0)
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        box = boxes[0]
        warped = [box.left + MARGIN, box.top + MARGIN, box.right - MARGIN, box.bottom - MARGIN]
        inside = [min(max(edge, 0), views.CROP) for edge in warped]
        assert np.abs(np.array(edges) - inside).max() <= 2


def test_a_box_covers_the_cells_whose_middle_it_contains():
    cells = views.grid([Defect(4, 16, 24, 48, 41)])
    rows, columns = np.nonzero(cells == 5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 4, 2, 5)
    assert (views.grid([Defect(4, -30, 24, 8, 60)]) == views.UNKNOWN).sum() > 0


def test_touching_cells_of_two_labels_are_one_box():
    scores = np.zeros((1, 4, 4, 2), np.float32)
    scores[0, 0, 0], scores[0, 0, 1], scores[0, 3, 3] = (0.4, 0.3), (0.3, 0.6), (0.5, 0.0)
    decoder = decoders.make("grid", ["open", "spur"], {"one_label": True, "threshold": 0.6}, [(1, 4, 4, 2)])
    assert decoder([scores]) == [Finding("spur", pytest.approx(0.6), Box(0.0, 0.0, 0.5, 0.25))]
    assert decoder([np.full((1, 4, 4, 2), np.nan, np.float32)]) == []
    scores[0, 0, 1] = (np.inf, 0.6)  # though the other label has the larger sum of what is finite
    scores[0, 1, 1] = (0.0, 0.9)
    with pytest.raises(decoders.DecoderError, match="a score of inf is no probability"):
        decoder([scores])


TRUTH = [Defect(0, 100, 100, 140, 140), Defect(3, 300, 300, 340, 340)]


def test_a_box_is_right_once_and_only_with_its_kind():
    detections = [
        (Defect(0, 104, 96, 144, 136), 0.9),
        (Defect(0, 100, 100, 140, 140), 0.8),
        (Defect(4, 300, 300, 340, 340), 0.7),
    ]
    result = score.score_pair(TRUTH, detections)
    assert result.box == (1, 2, 1)
    assert result.place == (2, 1, 0)
    assert result.box.f == pytest.approx(2 / 5)
    assert result.matrix[0, 0] == result.matrix[3, 4] == result.matrix[6, 0] == 1
    assert result.matrix.sum() == 3
    assert score.score_pair(TRUTH, [(Defect(0, 130, 130, 170, 170), 0.9)]).box.right == 0  # overlap 0.03


def test_tiles_count_where_the_defect_itself_is():
    defect = Defect(1, 50, 100, 90, 120)  # itself from 60 to 80: two tiles of 64, and its margin in no third
    assert score.tile_tally([defect], [(defect, 1.0)], True) == (2, 0, 0)
    assert score.tile_tally([defect], [(defect._replace(kind=2), 1.0)], True) == (0, 2, 2)
    assert score.tile_tally([defect], [(defect._replace(kind=2), 1.0)], False) == (2, 0, 0)
    assert score.tile_tally([defect], [(Defect(1, 600, 600, 640, 640), 1.0)], True) == (0, 1, 2)


def test_scores_of_pairs_add_up_and_have_an_interval():
    scores = [score.score_pair(TRUTH, [(TRUTH[0], 0.9)]), score.score_pair(TRUTH, [(defect, 0.9) for defect in TRUTH])]
    both = score.total(scores)
    assert (both.pairs, both.box) == (2, (3, 0, 1))
    low, high = score.interval(scores, "box")
    assert low == pytest.approx(2 / 3) and high == 1.0
    assert score.total([]).box.f == 0.0


def test_the_bundled_package_is_small_and_meets_its_golden_outputs():
    opened = open_package(BUNDLED_PCB)  # compares with its golden outputs
    assert (BUNDLED_PCB / opened.manifest.file).stat().st_size < 1_000_000
    assert opened.engine.inputs[0].shape == (1, SIDE, SIDE, 2)


def test_evaluate_on_a_folder_of_one_pair(tmp_path):
    figures = evaluate(BUNDLED_PCB, write_pair(tmp_path))
    assert figures["boards"] == {"seen": [], "unseen": ["group1"]}
    assert "seen" not in figures
    assert figures["unseen"]["defects"] == figures["unseen"]["box_and_kind"]["missed"] == 1


@needs_recordings
def test_figures_on_held_out_boards():
    """A little below the figures of its card, because other kernels round differently."""
    figures = evaluate(BUNDLED_PCB, DATA)
    assert set(figures["boards"]["unseen"]) == set(boards.HELD_OUT)
    assert figures["unseen"]["pairs"] == 12
    assert figures["unseen"]["box_any_kind"]["f"] > 0.9
    assert figures["unseen"]["box_and_kind"]["f"] > 0.84
    assert figures["seen"]["box_and_kind"]["f"] > figures["unseen"]["box_and_kind"]["f"]


def test_a_small_training_becomes_a_package(tensorflow, tmp_path, monkeypatch):
    """A single training step on a board of straight traces; the package opens and can be evaluated."""
    from models.train.engine import make_reproducible
    from models.train.pack import pack
    from models.train.pcb_inspect import make

    make_reproducible(1)
    monkeypatch.setattr(make, "VIEWS", 4)
    model = make.train(make.prune(make.network(), 0.5), make.draw_views([pair()]), 1)
    content = make.to_int8(make.for_boards(model), make.board_inputs([pair()]))
    golden = make.golden_inputs(make.Network(content))[:1]
    pack(tmp_path / "tiny", content, make.FACTS, golden, np.stack([make.Network(content).run(golden[0])]))
    opened = open_package(tmp_path / "tiny")
    assert opened.engine.outputs[0].shape == (1, SIDE // views.STRIDE, SIDE // views.STRIDE, len(KINDS))
    figures = evaluate(Path(tmp_path / "tiny"), write_pair(tmp_path / "data"))
    assert figures["unseen"]["pairs"] == 1
