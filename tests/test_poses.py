"""A second model on the keypoints of the first: its window, its memory, its configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.backends.base import Tensor
from agent.config.load import load_config
from agent.data import Array
from agent.errors import ConfigError, PackageError
from agent.packages import package
from agent.packages.manifest import Picture, Poses
from agent.prepare.pixels import Pixels
from agent.vision.poses import MAX_FEATURE, PoseWindow, SecondModel, features, interpolate
from tests.shared import MOVENET, PUBLIC, needs_recordings

MS = 1_000_000
FLOAT = Tensor("in", (1, 8, 51), np.float32, 0.0, 0)
INT8 = Tensor("in", (1, 8, 51), np.int8, 0.02, 3)
SECTION = Poses(length=8)


def person(at_s: float = 0.0) -> Array:
    """float32 [17, 3]: a person who slowly sinks."""
    random = np.random.default_rng(1)
    points = random.uniform(0.3, 0.6, (17, 3)).astype(np.float32)
    points[:, 0] += 0.1 * at_s
    points[:, 2] = random.uniform(0.3, 0.8, 17)
    return points


def window(rate: float, seconds: float = 3.0, tensor: Tensor = FLOAT) -> Array:
    """The model's input after `seconds` of a camera of `rate` pictures a second."""
    track, view = PoseWindow(SECTION, tensor), np.zeros(tensor.shape, tensor.dtype)
    for number in range(int(seconds * rate) + 1):
        track(10**9 + int(number / rate * 1e9), person(number / rate), 4 / 3, view)
    return view[0]


def test_the_frame_rate_does_not_matter() -> None:
    assert np.allclose(window(10), window(30), atol=1e-3)
    assert np.allclose(window(10), window(12.5, 3.04), atol=0.02)


def test_points_are_interpolated_linearly_between_pictures() -> None:
    points = np.stack([np.zeros((17, 3)), np.ones((17, 3))]).astype(np.float32)
    points_at = interpolate(np.array([0, 100]), points, np.array([-50, 0, 25, 100, 300]))
    assert points_at[:, 0, 0].tolist() == [0, 0, 0.25, 1, 1]


def test_position_distance_and_aspect_of_the_picture_do_not_matter() -> None:
    rows = np.stack([person(second) for second in range(4)])
    moved = rows * np.array([0.5, 0.5, 1], np.float32) + np.array([0.1, 0.3, 0], np.float32)
    wide = rows * np.array([1, 0.75, 1], np.float32)
    plain = features(rows, 4 / 3, 0.2)
    assert np.allclose(plain, features(moved, 4 / 3, 0.2), atol=1e-5)
    assert np.allclose(plain, features(wide, 16 / 9, 0.2), atol=1e-5)


def test_keypoints_below_min_score_have_no_position() -> None:
    rows = np.stack([person()] * 4)
    rows[2, 5] = [9.0, 9.0, 0.1]
    result = features(rows, 1.0, 0.2).reshape(4, 17, 3)
    assert result[2, 5].tolist() == pytest.approx([0, 0, 0.1])
    assert np.allclose(result[1], features(np.stack([person()] * 4), 1.0, 0.2).reshape(4, 17, 3)[1], atol=0.05)


@given(arrays.arrays(np.float32, (8, 17, 3), elements=st.floats(width=32)), st.floats(0.1, 10))
def test_any_numbers_give_limited_features(rows: Array, aspect: float) -> None:
    result = features(rows, aspect, 0.2)
    assert result.shape == (8, 51)
    assert (np.abs(result) <= MAX_FEATURE).all()


def test_int8_stores_the_values_of_float() -> None:
    stored = window(10, tensor=INT8).astype(float)
    assert np.allclose((stored - 3) * 0.02, np.clip(window(10), -2.62, 2.48), atol=0.0101)


def test_a_pause_or_a_jump_of_the_clock_starts_a_new_track() -> None:
    track, view = PoseWindow(SECTION, FLOAT), np.zeros(FLOAT.shape, np.float32)
    for time in (1000, 1100, 1200):
        track(time * MS, person(time / 1000), 1.0, view)
    assert track.frames == 3
    track(1900 * MS, person(1.9), 1.0, view)
    assert track.frames == 1
    assert np.ptp(view[0], axis=0).max() == 0
    track(1500 * MS, person(1.5), 1.0, view)
    assert track.frames == 1


def test_letterboxed_keypoints_are_mapped_to_the_frame() -> None:
    picture = Picture(fit="letterbox")
    pixels = Pixels(picture, Tensor("in", (1, 192, 192, 3), np.uint8, 0.0, 0), "bgr")
    pixels(np.zeros((240, 320, 3), np.uint8), np.zeros((1, 192, 192, 3), np.uint8))
    points = pixels.unmap_points(np.array([[0.125, 0.0, 0.5], [0.875, 1.0, 0.5], [0.5, 0.5, 0.9]]))
    assert np.allclose(points, [[0, 0, 0.5], [1, 1, 0.5], [0.5, 0.5, 0.9]])
    assert pixels.aspect == pytest.approx(4 / 3)


def bundled() -> SecondModel:
    return SecondModel(package.open_package(package.find("pose-fall")))


STANDING = [  # y, x of a person upright in the middle of the picture
    (0.20, 0.50),
    (0.19, 0.51),
    (0.19, 0.49),
    (0.19, 0.52),
    (0.19, 0.48),
    (0.30, 0.55),
    (0.30, 0.45),
    (0.42, 0.57),
    (0.42, 0.43),
    (0.53, 0.57),
    (0.53, 0.43),
    (0.53, 0.53),
    (0.53, 0.47),
    (0.70, 0.53),
    (0.70, 0.47),
    (0.88, 0.53),
    (0.88, 0.47),
]


def standing(score: float = 0.6) -> Array:
    return np.array([(y, x, score) for y, x in STANDING], np.float32)


def lying(share: float = 1.0) -> Array:
    """The same person turned about the feet by `share` of a right angle."""
    points, angle = standing(), share * np.pi / 2
    up, aside = 0.88 - points[:, 0], (points[:, 1] - 0.5) * 4 / 3
    points[:, 0] = 0.88 - (up * np.cos(angle) - aside * np.sin(angle))
    points[:, 1] = 0.5 + (up * np.sin(angle) + aside * np.cos(angle)) * 3 / 4 - 0.2
    return points


def feed(model: SecondModel, poses: list[Array], start_s: float = 0.0) -> list[str]:
    """The first label after each picture, 15 a second."""
    return [model(int((start_s + n / 15) * 1e9) + 1, pose, 4 / 3)[0].label for n, pose in enumerate(poses)]


def test_a_person_stands_falls_and_lies_detected_or_not() -> None:
    model = bundled()
    assert set(feed(model, [standing()] * 45)[15:]) == {"standing"}
    labels = feed(model, [lying(share) for share in np.linspace(0, 1, 12) ** 1.5] + [lying()] * 15, 3.0)
    assert labels.count("falling") >= 8
    assert set(feed(model, [lying()] * 45, 4.8)[-5:]) == {"lying"}
    faint = lying() * np.array([1, 1, 0.1], np.float32)
    assert set(feed(model, [faint] * 15 * 20, 7.8)) == {"lying"}


def test_the_memory_of_a_lying_person_ends() -> None:
    model = bundled()
    feed(model, [lying()] * 60)
    faint = lying() * np.array([1, 1, 0.1], np.float32)
    model.poses = model.poses.model_copy(update={"memory_s": 1.0})
    model(int(4.2e9), faint, 4 / 3)
    assert model.recall(int(4.9e9))
    assert not model.recall(int(5.2e9))


def test_a_standing_person_is_not_remembered() -> None:
    model = bundled()
    feed(model, [standing()] * 30)
    assert not model.recall(int(2.1e9))


ROOM = """\
lanes:
  room:
    source: {driver: camera.sim}
    model: MODEL
    then: THEN
actuators:
  nurse: {rest: quiet, verbs: [quiet, call]}
rules:
  fall:
    any: [{lane: room, label: falling, score: 0.6, hits: 3, of: 4}]
    actuator: nurse
    verb: call
"""


def error_of(folder: Path, model: str, then: str) -> str:
    path = folder / "reflexd.yaml"
    path.write_text(ROOM.replace("MODEL", model).replace("THEN", then))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_a_first_model_without_keypoints(tmp_path: Path) -> None:
    assert "model 'person-coarse' finds no keypoints for 'pose-fall'" in error_of(
        tmp_path, "person-coarse", "pose-fall"
    )


def test_a_second_model_that_does_not_exist(tmp_path: Path) -> None:
    assert "no model package 'pose-fal'" in error_of(tmp_path, "person-coarse", "pose-fal")


@needs_recordings
def test_a_second_model_that_reads_pictures(tmp_path: Path) -> None:
    assert "model 'person-coarse' reads no keypoints" in error_of(tmp_path, str(MOVENET), "person-coarse")


@needs_recordings
def test_a_good_pair_has_the_labels_of_both(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text(ROOM.replace("MODEL", str(MOVENET)).replace("THEN", "pose-fall"))
    assert load_config(path).lanes["room"].models == [str(MOVENET), "pose-fall"]
    path.write_text(path.read_text().replace("label: falling", "label: fallen"))
    with pytest.raises(ConfigError, match="did you mean 'falling'"):
        load_config(path)


def test_a_pose_model_alone_cannot_be_a_lane(tmp_path: Path) -> None:
    from agent.lane import Lane, Limits
    from agent.ledger import Ledger
    from agent.perception import Perception
    from drivers.base import DeviceFault, open_source

    opened = package.open_package(package.find("pose-fall"))
    source = open_source("camera.sim", {}, "room")
    lane = Lane("room", source, Perception(opened), Limits(10**9, 10.0), Ledger(None, "room", 10.0))
    with pytest.raises(DeviceFault, match="name it under 'then'"):
        lane.open()
    lane.source.close()


def test_a_window_of_another_length_is_refused(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "pose-fall"
    shutil.copytree(package.find("pose-fall"), folder)
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("length: 24", "length: 20"))
    with pytest.raises(PackageError, match=r"poses makes an input \(1, 20, 51\), the model takes \(1, 24, 51\)"):
        package.open_package(folder)


@needs_recordings
@pytest.mark.parametrize("name", ["S1-Fall-13", "S1-Fall-15", "S2-Fall-12"])
@pytest.mark.slow
def test_a_fall_is_called_in_time(name: str) -> None:
    from agent.benches import falls

    clip = next(clip for clip in falls.clips(PUBLIC.parent) if clip.path.stem == name)
    played = falls.play(clip.path, package.open_package(MOVENET), package.open_package(package.find("pose-fall")))
    assert falls.lateness(clip, played) <= falls.IN_TIME_S
    assert not falls.false_alarms(clip, played)
