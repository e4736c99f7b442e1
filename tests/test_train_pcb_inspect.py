"""pcb-inspect: its boards, the defects drawn into them, its score, its road in small."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.data import Box
from agent.decoders import base as decoders
from agent.decoders.base import Finding
from agent.package import BUNDLED, open_package
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


# -- boards ---------------------------------------------------------------------------------------------------------------


def on_disk(folder, group="group1", number="1001", lines="100 100 140 140 1\n", side=SIDE):
    """One pair, laid out like the set."""
    place = folder / group / group.removeprefix("group")
    labels = place.with_name(place.name + "_not")
    for path in (place, labels):
        path.mkdir(parents=True, exist_ok=True)
    for which in ("test", "temp"):
        cv2.imwrite(str(place / f"{number}_{which}.jpg"), np.full((side, side), 255, np.uint8))
    (labels / f"{number}.txt").write_text(lines)
    return folder


def test_a_pair_is_read_with_its_labels(tmp_path):
    (pair,) = boards.load(on_disk(tmp_path, lines="10 20 30 50 1\n300,310,340,350,6\n"))
    assert (pair.name, pair.group, pair.test.shape) == ("1001", "group1", (SIDE, SIDE))
    assert pair.defects == [Defect(0, 10, 20, 30, 50), Defect(5, 300, 310, 340, 350)]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"lines": "1 2 3\n"}, "1001.txt: expected lines of 'left top right bottom kind'"),
        ({"lines": "1 2 3 4 7\n"}, "1001.txt:1: expected 'left top right bottom kind', kind 1 to 6"),
        ({"lines": "5 2 3 4 1\n"}, "1001.txt:1:"),
        ({"side": 64}, "expected a picture of 640 x 640 pixels"),
    ],
)
def test_what_is_laid_out_otherwise_is_told_in_one_line(tmp_path, changes, words):
    with pytest.raises(DataError) as refused:
        boards.load(on_disk(tmp_path, **changes))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_no_boards_at_all(tmp_path):
    with pytest.raises(DataError, match="inspect-deeppcb"):
        boards.load(tmp_path)


def test_no_board_is_on_two_sides_of_the_split():
    groups = [group for fold in boards.FOLDS for group in fold]
    assert len(groups) == len(set(groups)) and not set(groups) & set(boards.HELD_OUT)
    assert boards.TRAINED == set(groups)


@needs_recordings
def test_the_split_is_of_all_boards_there_are():
    pairs = boards.load(DATA)
    assert {pair.group for pair in pairs} == boards.TRAINED | set(boards.HELD_OUT)
    assert len(pairs) == 63
    assert sum(len(pair.defects) for pair in pairs) == 411


# -- defects --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_defect_does_to_the_copper_what_its_name_says(kind):
    random = np.random.default_rng(kind)
    drawn = 0
    for _ in range(12):
        good = copper(int(random.integers(12, 34)))
        bad, taken = good.copy(), np.zeros_like(good)
        found = defects.add(bad, taken, kind, random)
        if found is None:
            assert np.array_equal(bad, good)
            continue
        drawn += 1
        changed = bad != good
        rows, columns = np.nonzero(changed)
        assert (found.top + MARGIN, found.bottom - MARGIN) == (rows.min(), rows.max() + 1)
        assert (found.left + MARGIN, found.right - MARGIN) == (columns.min(), columns.max() + 1)
        assert (taken[changed] == 1).all()
        more, gaps = pieces(bad) - pieces(good), pieces(1 - bad) - pieces(1 - good)
        name = KINDS[found.kind]
        assert (good[changed] == 1).all() == (name in ("open", "mousebite", "pin-hole"))
        if name in ("open", "short"):  # a trace from edge to edge falls apart, or two gaps do
            assert (more if name == "open" else gaps) >= 1
        else:
            assert (more, gaps) == {"copper": (1, 0), "pin-hole": (0, 1)}.get(name, (0, 0))
    assert drawn >= 6


def test_defects_keep_clear_of_each_other():
    random = np.random.default_rng(1)
    bad, taken = copper(), np.zeros((256, 256), np.uint8)
    found = [one for kind in list(range(len(KINDS))) * 3 if (one := defects.add(bad, taken, kind, random))]
    assert len(found) > 6
    for number, one in enumerate(found):
        for other in found[:number]:
            apart = max(one.left - other.right, other.left - one.right, one.top - other.bottom, other.top - one.bottom)
            assert apart >= -MARGIN


def test_there_is_no_place_on_a_blank_board():
    blank = np.zeros((64, 64), np.uint8)
    for kind in ("open", "spur"):
        assert defects.add(blank, np.zeros_like(blank), KINDS.index(kind), np.random.default_rng(0)) is None


# -- views ----------------------------------------------------------------------------------------------------------------


def pair(*found, bad=None):
    good = cv2.resize(picture(copper()), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return Pair("1", "group1", good if bad is None else bad, good, list(found))


def test_views_are_many_and_their_labels_lie_on_differences():
    bad = pair().template.copy()
    cv2.circle(bad, (320, 320), 9, 0, -1)
    one, random, hits = pair(Defect(KINDS.index("copper"), 301, 301, 339, 339), bad=bad), np.random.default_rng(5), 0
    for _ in range(30):
        seen, cells = views.view(one, random)
        assert seen.shape == (views.CROP, views.CROP, 2) and seen.dtype == np.uint8
        assert cells.shape == (views.CROP // views.STRIDE,) * 2
        assert set(np.unique(cells)) <= {views.UNKNOWN, *range(7)}
        unlike = np.abs(seen[:, :, 0].astype(int) - seen[:, :, 1]) > 100
        share = unlike.reshape(*cells.shape[:1], views.STRIDE, cells.shape[1], views.STRIDE).mean(axis=(1, 3))
        if (cells > 0).any() and share.max() > 0:
            hits += share[cells > 0].mean() > share[cells == 0].mean()
    assert hits > 20


def test_a_look_moves_pictures_and_cells_alike():
    random = np.random.default_rng(3)
    cells = random.integers(0, 7, (24, 24)).astype(np.int8)
    drawn = np.zeros((views.CROP, views.CROP, 2), np.uint8)
    drawn[:, :, 0] = np.kron(cells, np.ones((views.STRIDE, views.STRIDE)))
    kept = 0
    for _ in range(30):
        pictures, seen = views.varied(drawn, cells, random)
        alike = pictures[4 :: views.STRIDE, 4 :: views.STRIDE, 0] == seen
        kept += alike.all()
        assert alike.all() or pictures[0, 0, 1] == 255  # a negative
    assert 10 < kept < 30


def test_a_negative_names_the_opposite():
    cells = np.array([[0, 1, 2, 3, 4, 5, 6, -1]], np.int8)
    _, swapped = views.negative(np.zeros((8, 64, 2), np.uint8), cells)
    assert swapped.tolist() == [[0, 2, 1, 4, 3, 6, 5, -1]]
    assert views.negative(np.zeros((8, 64, 2), np.uint8), swapped)[1].tolist() == cells.tolist()


def test_boxes_go_with_the_board():
    random = np.random.default_rng(2)
    for _ in range(20):
        way = views.placed(random)
        shown = np.full((SIDE, SIDE), 255, np.uint8)
        shown[300:320, 310:340] = 0
        crop = views.moved(shown, way)
        found = views.carried([Defect(0, 300, 290, 350, 330)], way)
        if not found or (crop == 0).sum() < 100:
            continue
        rows, columns = np.nonzero(crop == 0)
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        inside = [
            min(max(edge, 0), views.CROP)
            for edge in (
                found[0].left + MARGIN,
                found[0].top + MARGIN,
                found[0].right - MARGIN,
                found[0].bottom - MARGIN,
            )
        ]
        assert np.abs(np.array(edges) - inside).max() <= 2


def test_a_box_is_the_cells_whose_middle_it_holds():
    cells = views.grid([Defect(4, 16, 24, 48, 41)])
    rows, columns = np.nonzero(cells == 5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 4, 2, 5)
    assert (views.grid([Defect(4, -30, 24, 8, 60)]) == views.UNKNOWN).sum() > 0


# -- the decoder ----------------------------------------------------------------------------------------------------------


def test_touching_cells_of_two_labels_are_one_place():
    scores = np.zeros((1, 4, 4, 2), np.float32)
    scores[0, 0, 0], scores[0, 0, 1], scores[0, 3, 3] = (0.4, 0.3), (0.3, 0.6), (0.5, 0.0)
    decoder = decoders.make("grid", ["open", "spur"], {"one_label": True, "threshold": 0.6}, [(1, 4, 4, 2)])
    assert decoder([scores]) == [Finding("spur", pytest.approx(0.6), Box(0.0, 0.0, 0.5, 0.25))]
    assert decoder([np.full((1, 4, 4, 2), np.nan, np.float32)]) == []
    assert decoder([np.full((1, 4, 4, 2), np.inf, np.float32)])[0].score == 1.0


# -- the score ------------------------------------------------------------------------------------------------------------

TRUTH = [Defect(0, 100, 100, 140, 140), Defect(3, 300, 300, 340, 340)]


def test_a_box_is_right_once_and_only_with_its_kind():
    said = [
        (Defect(0, 104, 96, 144, 136), 0.9),
        (Defect(0, 100, 100, 140, 140), 0.8),
        (Defect(4, 300, 300, 340, 340), 0.7),
    ]
    one = score.one(TRUTH, said)
    assert one.box == (1, 2, 1)
    assert one.place == (2, 1, 0)
    assert one.box.f == pytest.approx(2 / 5)
    assert one.matrix[0, 0] == one.matrix[3, 4] == one.matrix[6, 0] == 1
    assert one.matrix.sum() == 3
    assert score.one(TRUTH, [(Defect(0, 130, 130, 170, 170), 0.9)]).box.right == 0  # overlap 0.03


def test_tiles_count_where_the_defect_itself_is():
    defect = Defect(1, 50, 100, 90, 120)  # itself from 60 to 80: two tiles of 64, and its margin in no third
    assert score.tiles([defect], [(defect, 1.0)], True) == (2, 0, 0)
    assert score.tiles([defect], [(defect._replace(kind=2), 1.0)], True) == (0, 2, 2)
    assert score.tiles([defect], [(defect._replace(kind=2), 1.0)], False) == (2, 0, 0)
    assert score.tiles([defect], [(Defect(1, 600, 600, 640, 640), 1.0)], True) == (0, 1, 2)


def test_scores_of_pairs_add_up_and_have_an_interval():
    scores = [score.one(TRUTH, [(TRUTH[0], 0.9)]), score.one(TRUTH, [(one, 0.9) for one in TRUTH])]
    both = score.total(scores)
    assert (both.pairs, both.box) == (2, (3, 0, 1))
    low, high = score.interval(scores, "box")
    assert low == pytest.approx(2 / 3) and high == 1.0
    assert score.total([]).box.f == 0.0


# -- the package ----------------------------------------------------------------------------------------------------------


def test_the_package_that_ships_is_small_and_proves_itself():
    opened = open_package(BUNDLED_PCB)  # compares with its golden outputs
    assert (BUNDLED_PCB / opened.manifest.file).stat().st_size < 1_000_000
    assert opened.engine.inputs[0].shape == (1, SIDE, SIDE, 2)


def test_evaluate_on_a_folder_of_one_pair(tmp_path):
    told = evaluate(BUNDLED_PCB, on_disk(tmp_path))
    assert told["boards"] == {"seen": [], "unseen": ["group1"]}
    assert "seen" not in told
    assert told["unseen"]["defects"] == told["unseen"]["box_and_kind"]["missed"] == 1


@needs_recordings
def test_boards_it_never_saw():
    """A little below what its card says, for other kernels round otherwise."""
    told = evaluate(BUNDLED_PCB, DATA)
    assert set(told["boards"]["unseen"]) == set(boards.HELD_OUT)
    assert told["unseen"]["pairs"] == 12
    assert told["unseen"]["box_any_kind"]["f"] > 0.9
    assert told["unseen"]["box_and_kind"]["f"] > 0.84
    assert told["seen"]["box_and_kind"]["f"] > told["unseen"]["box_and_kind"]["f"]


def test_the_boards_road_in_small(tensorflow, tmp_path, monkeypatch):
    """Boards of one trace; what is trained in seconds already sees where they differ, and a lane would."""
    from models.train.engine import make_reproducible
    from models.train.pack import pack
    from models.train.pcb_inspect import make

    make_reproducible(1)
    monkeypatch.setattr(make, "VIEWS", 4)
    model = make.train(make.prune(make.network(), 0.5), make.seen_of([pair()]), 1)
    content = make.to_int8(make.exported(model), make.whole([pair()]))
    golden = make.golden_inputs(make.Network(content))[:1]
    pack(tmp_path / "tiny", content, make.FACTS, golden, np.stack([make.Network(content).run(golden[0])]))
    opened = open_package(tmp_path / "tiny")
    assert opened.engine.outputs[0].shape == (1, SIDE // views.STRIDE, SIDE // views.STRIDE, len(KINDS))
    told = evaluate(Path(tmp_path / "tiny"), on_disk(tmp_path / "data"))
    assert told["unseen"]["pairs"] == 1
