"""person-coarse: teachers, cut-outs and views, score and folds, figures on other clips, and a small training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.data import Array, Box
from agent.decoders import base as decoders
from agent.decoders.base import Finding
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from models.train.data import DataError
from models.train.person_coarse import backdrops, clips, cutouts, evaluate, folds, score, teachers, views
from models.train.person_coarse.clips import INPUT, SIDE, Clip
from models.train.person_coarse.teachers import TeacherOutputs
from models.train.person_coarse.truth import Truth, area, consensus, intersection, intersection_over_union
from tests.shared import PUBLIC, needs_recordings

WHOLE, LEGS, ELSEWHERE = Box(0.2, 0.1, 0.4, 0.9), Box(0.2, 0.6, 0.4, 0.9), Box(0.7, 0.7, 0.9, 0.9)


def walk(name: str = "tiny", frames: int = 12, there: bool = True) -> Clip:
    """A red bar moves through a room with a mottled wall; the truths are exact."""
    room = cv2.resize(np.random.default_rng(4).integers(90, 130, (12, 12, 3), np.uint8), (SIDE, SIDE))
    pictures, truths = np.stack([room] * frames), []
    for number in range(frames):
        left = 4 + number * (SIDE - 44) // frames
        if there:
            cv2.ellipse(pictures[number], (left + 12, 100), (10, 55), 0, 0, 360, (220, 30, 30), -1)
        truths.append(Truth([Box(left / SIDE, 40 / SIDE, (left + 25) / SIDE, 160 / SIDE)] if there else [], []))
    inputs = np.stack([cv2.resize(picture, (INPUT, INPUT)) for picture in pictures])
    return Clip(name, pictures, inputs, truths, np.ones(frames, bool))


def test_a_person_is_where_two_teachers_agree() -> None:
    assert consensus(TeacherOutputs([(0.4, WHOLE)], [(0.4, LEGS)], None)).people == [WHOLE]
    assert consensus(TeacherOutputs([(0.4, LEGS)], [], WHOLE)).people == [WHOLE]
    assert consensus(TeacherOutputs([], [], None)) == Truth([], [])


def test_one_teacher_alone_is_uncertain_unless_its_score_is_high() -> None:
    assert consensus(TeacherOutputs([(0.4, WHOLE)], [], None)) == Truth([], [WHOLE])
    assert consensus(TeacherOutputs([(0.7, WHOLE), (0.5, LEGS)], [], None)).people == [WHOLE]
    assert consensus(TeacherOutputs([], [], WHOLE)) == Truth([], [WHOLE])
    assert consensus(TeacherOutputs([(0.7, WHOLE), (0.3, ELSEWHERE)], [], None)) == Truth([WHOLE], [ELSEWHERE])


def test_one_teacher_is_enough_where_a_person_is_known_to_be() -> None:
    assert consensus(TeacherOutputs([(0.4, LEGS)], [], ELSEWHERE), person_present=True) == Truth([ELSEWHERE], [LEGS])
    assert consensus(TeacherOutputs([], [], None), person_present=True) == Truth([], [])
    assert not clips.useful(Truth([], []), staged=True)
    assert clips.useful(Truth([], []), staged=False)
    assert not clips.useful(Truth([], [WHOLE]), staged=False)


def test_a_pose_of_few_joints_is_no_person() -> None:
    joints = np.zeros((17, 3))
    joints[:5] = 0.5
    assert teachers.pose_box(joints) is None
    joints[5:8] = [0.2, 0.3, 0.9]
    assert teachers.pose_box(joints) == pytest.approx((0.25, 0.15, 0.55, 0.55))


def test_missing_data_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no teacher network {teachers.SSD}"):
        teachers.Teachers(tmp_path)
    with pytest.raises(DataError, match="no clip"):
        clips.paths(tmp_path)
    for name in clips.SETS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "other.mp4").touch()
    assert [path.name for path in clips.paths(tmp_path)] == ["other.mp4", "other.mp4"]
    assert [path.name for path in clips.paths(tmp_path / "video-intel")] == ["other.mp4"]
    with pytest.raises(DataError, match="no clip S1-ADL-16"):
        clips.training_paths(tmp_path)


@needs_recordings
def test_the_public_teachers_detect_a_squatting_person() -> None:
    pytest.importorskip("onnxruntime")
    frame = np.ascontiguousarray(cv2.imread(str(PUBLIC / "squat.bmp"))[..., ::-1])
    (person,) = consensus(teachers.Teachers(PUBLIC)(frame)).people
    assert intersection_over_union(person, Box(0.15, 0.15, 0.85, 0.95)) > 0.3
    cats = cv2.imread(str(PUBLIC / "cats_and_dogs.jpg"))[..., ::-1]
    assert consensus(teachers.Teachers(PUBLIC)(np.ascontiguousarray(cats))).people == []


def test_every_scene_is_left_out_once_with_all_its_clips() -> None:
    assert sorted(scene for fold in folds.FOLDS for scene in fold) == sorted(clips.SCENES)
    named = [name for scene in clips.SCENES.values() for name in scene]
    assert sorted(named) == sorted(clips.CLIPS)


def test_a_person_who_walks_is_cut_from_the_room() -> None:
    clip = walk()
    room = cutouts.empty_room(clip)
    assert room.picture[..., 0].max() < 150 and room.uncertain == []
    persons = cutouts.cut(clip, room.picture)
    assert len(persons) == len(clip.pictures)
    for pixels, cover in persons:
        assert pixels[cover > 0.9][:, 0].min() > 150  # red, and nothing of the wall
        assert cover.shape[0] == pytest.approx(110, abs=8) and cover.shape[1] == pytest.approx(21, abs=8)


def test_a_person_who_never_moves_may_be_left_in_the_room() -> None:
    clip = walk()
    still = clip._replace(truths=clip.truths[:1] * len(clip.truths))
    (box,) = cutouts.empty_room(still).uncertain
    assert intersection(box, clip.truths[0].people[0]) == pytest.approx(area(clip.truths[0].people[0]))


def test_a_grid_has_person_no_person_and_unknown_edge() -> None:
    cells = views.truth_grid([Box(0.25, 0.25, 0.75, 0.75)], [Box(0.9, 0.9, 1.0, 1.0)])[..., 0]
    assert cells.shape == (views.CELLS, views.CELLS)
    assert cells[8, 8] == 1 and cells[0, 0] == 0 and cells[4, 8] == -1 and cells[15, 15] == -1
    assert views.truth_grid([Box(0.5, 0.5, 0.52, 0.52)]).sum() == 1  # too small to hold a cell's middle


def test_views_move_picture_and_grid_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_vary_light", lambda picture, random: picture)
    monkeypatch.setattr(views, "_change_clothes", lambda pixels, random: pixels)
    monkeypatch.setattr(backdrops, "furnish", lambda picture, persons, random: None)
    monkeypatch.setattr(backdrops, "_muted_colours", lambda random, count: np.full((count, 3), 100.0))
    random = np.random.default_rng(3)
    stock = views.stock([walk()], random)
    hits = 0
    for _ in range(60):
        picture, cells = views.make(stock, random)
        assert picture.shape == (INPUT, INPUT, 3) and picture.dtype == np.uint8
        red = (picture[4::8, 4::8, 0].astype(int) - picture[4::8, 4::8, 1])[..., None]
        assert (red[cells == 0] < 110).all()
        hits += int((red[cells == 1] > 60).sum())
    assert hits > 200


def test_blank_pictures_are_dark_bright_and_between() -> None:
    random = np.random.default_rng(8)
    blanks = np.stack([backdrops.blank(INPUT, random) for _ in range(60)])
    assert blanks.dtype == np.uint8 and blanks.shape[1:] == (INPUT, INPUT, 3)
    levels = blanks.mean(axis=(1, 2, 3))
    assert levels.min() < 10 and levels.max() > 245 and ((levels > 60) & (levels < 200)).any()


def test_backdrops_differ_and_have_objects_only_beside_people() -> None:
    random = np.random.default_rng(5)
    assert not np.array_equal(backdrops.draw(64, random), backdrops.draw(64, random))
    picture = np.zeros((INPUT, INPUT, 3), np.uint8)
    for _ in range(30):
        backdrops.furnish(picture, [np.array([40.0, 40.0, 90.0, 90.0])], random)
    assert picture.any() and not picture[40:90, 40:90].any()


def test_found_boxed_and_false_are_counted_separately() -> None:
    person, uncertain = Box(0, 0, 0.5, 1), Box(0.9, 0, 1, 1)
    truth = Truth([person], [uncertain])
    assert score.judge([Box(0, 0, 0.5, 0.8)], truth) == score.Score(
        frames=1, persons=1, found=1, boxed=1, false=0, overlap=pytest.approx(0.8), either=1
    )
    small, wide = score.judge([Box(0, 0, 0.1, 0.2)], truth), score.judge([Box(0.1, 0, 0.92, 1)], truth)
    assert small[:5] == (1, 1, 1, 0, 0) and wide[:5] == (1, 1, 0, 1, 0) and small.either == wide.either == 1
    assert score.judge([Box(0, 0, 1, 1)], truth)[:5] == (1, 1, 1, 1, 0)  # too large, but half of it lies on the person
    assert score.judge([Box(0.6, 0, 0.8, 1)], truth)[:5] == (1, 1, 0, 0, 1)
    assert score.judge([uncertain], truth)[:5] == (1, 1, 0, 0, 0)
    assert score.judge([], Truth([], [])) == score.Score(frames=1)


def test_the_choice_with_the_least_shortfall_is_made_by_the_other_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "SCENES", {"a": ("one",), "b": ("two",), "c": ("three",)})
    monkeypatch.setattr(folds, "FOLDS", (("a",), ("b", "c")))
    outputs: dict[str, list[Array]] = {}
    walks = [walk("one", 4), walk("two", 4), walk("three", 4, there=False)]
    for scene, clip, false_score in zip("abc", walks, (0.3, 0.62, 0.62)):
        cells = np.stack([np.where(views.truth_grid(truth.people) == 1, 0.71, 0.0) for truth in clip.truths])
        cells[:, :2, -4:] = false_score
        outputs[scene] = [cells]
    chosen = folds.choices(walks, outputs)
    assert chosen["a"].threshold == pytest.approx(0.625)  # by b and c, where a false group has 0.62
    assert chosen["b"] == chosen["c"] == folds.Choice(0.4, 2)  # by a, where all are equal: the first
    assert folds.tally(walks, outputs, "a", chosen["a"])[:5] == (4, 4, 4, 4, 0)
    assert folds.tally(walks, outputs, "b", chosen["b"])[:5] == (4, 4, 4, 4, 4)
    assert folds.choose(walks, outputs, "abc").threshold == pytest.approx(0.625)


def grid(scores: Array, **options: float) -> list[Finding]:
    return decoders.make("grid", ["person"], options, [(1, 4, 4, 1)])(
        [np.array(scores, np.float32).reshape(1, 4, 4, 1)]
    )


def test_touching_cells_are_one_box() -> None:
    scores = np.zeros((4, 4))
    scores[0, 0], scores[1, 1], scores[3, 3] = 0.7, 0.9, 0.6
    first, second = grid(scores)
    assert first.label == "person"
    assert first.score == pytest.approx(0.9)
    assert first.box == Box(0.0, 0.0, 0.5, 0.5)
    assert second.box == Box(0.75, 0.75, 1.0, 1.0)
    assert len(grid(scores, min_cells=2)) == 1


def test_a_grid_of_nan_has_no_box_and_one_of_infinity_is_refused() -> None:
    assert grid(np.full((4, 4), np.nan)) == []
    with pytest.raises(decoders.DecoderError, match="a score of inf is no probability"):
        grid(np.full((4, 4), np.inf))


def test_a_grid_of_fewer_labels_than_the_manifest_names_is_refused() -> None:
    with pytest.raises(decoders.DecoderError, match="grid needs one output"):
        decoders.make("grid", ["person", "car"], {}, [(1, 4, 4, 1)])


def film(path: Path, clip: Clip) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (SIDE, SIDE))
    for picture in clip.pictures:
        writer.write(picture[..., ::-1])
    writer.release()


def test_figures_are_separate_for_training_clips_and_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stub teachers that detect the red bar: the real ones and the real clips are not needed for counting."""

    def detect_bar(frame: Array) -> TeacherOutputs:
        columns = np.flatnonzero((frame[100, :, 0].astype(int) - frame[100, :, 1]) > 100)
        if not len(columns):
            return TeacherOutputs([], [], None)
        box = Box(columns[0] / SIDE, 40 / SIDE, columns[-1] / SIDE, 160 / SIDE)
        return TeacherOutputs([(0.9, box)], [(0.9, box)], None)

    monkeypatch.setattr(evaluate, "Teachers", lambda models: detect_bar)
    film(tmp_path / "video-fall-gmdcsa24" / "S1-Fall-13.avi", walk())
    film(tmp_path / "video-intel" / "store.avi", walk(there=False))
    figures = evaluate.evaluate(package.find("person-coarse"), tmp_path)
    assert list(figures["clips"]) == ["S1-Fall-13.avi", "store.avi"]
    assert (figures["seen"]["persons"], figures["unseen"]["persons"], figures["unseen"]["judged"]) == (12, 0, 12)
    assert figures["seen"]["against_the_ssd_alone"]["persons"] == 12
    assert figures["bytes"] <= 200_000 and figures["largest_frame_bytes"] <= 1024
    assert 0 < figures["invoke_ms"]["median"] <= figures["invoke_ms"]["p99"]


def test_ten_boxes_of_a_frame_are_below_a_kilobyte() -> None:
    boxes = [Finding("person", 0.9, Box(0.1, 0.2, 0.3, 0.4))] * 10
    assert len(evaluate.packed(boxes)) == 1 + 10 * (1 + 7 + 5 * 5)


@pytest.mark.long
def test_a_small_training_becomes_a_package_that_a_lane_runs(
    tensorflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.train.engine import make_reproducible
    from models.train.person_coarse import make, train

    make_reproducible(1)
    monkeypatch.setattr(train, "VIEWS", 32)
    monkeypatch.setattr(train, "HEAD", train.Stage(64, 32, 1e-3))
    monkeypatch.setattr(train, "FINE_TUNING", train.Stage(32, 32, 1e-4))
    files = make.trained_files([walk(), walk(there=False)], {})
    assert len(files[1]) < 0.4 * len(files[0])
    place = tmp_path / "red-bar"
    make.write_package(place, files[1], folds.Choice(0.01, 1))  # three steps teach nothing: any cell must do
    assert package.compare_golden(package.open_package(place)) == 0.0
    film(tmp_path / "new.avi", walk(frames=5))
    assert verbs(place, tmp_path / "new.avi")[-1:] == ["stop"]
    make.write_package(place, files[1], folds.Choice(1.0, 1))
    assert "stop" not in verbs(place, tmp_path / "new.avi")


def test_a_batch_has_blank_pictures_with_empty_grids(tensorflow) -> None:
    from models.train.person_coarse import train

    pictures, grids = np.full((4, INPUT, INPUT, 3), 77, np.uint8), np.ones((4, views.CELLS, views.CELLS, 1), np.float32)
    shown, cells = train.ViewBatches(pictures, grids, train.Stage(16, 8, 1e-3), 3)[0]
    assert not cells[:3].any() and cells[3:].all() and shown.shape == (8, INPUT, INPUT, 3)
    assert (shown[3:] == np.float32(77 / 255)).all() and not (shown[:3] == np.float32(77 / 255)).all(
        axis=(1, 2, 3)
    ).any()
    assert (pictures == 77).all() and grids.all()  # the views themselves do not change


def verbs(place: Path, clip: Path) -> list[str]:
    """The commands of a lane with the package to a belt."""
    condition = {"lane": "cam", "label": "person", "score": 0.01}
    rule = RuleConfig.model_validate({"any": [condition], "actuator": "belt", "verb": "stop"})
    lane = offline_lane("cam", "camera.file", {"path": clip}, Perception(package.open_package(place)))
    played = lane.play(Scene(Rules({"person": rule}, {"belt": "run"})))
    return [decision.verb for _, decisions in played for decision in decisions]
