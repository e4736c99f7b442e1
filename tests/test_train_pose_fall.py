"""pose-fall: the stick figure, its camera, the annotations of real clips, and the recipe on a small scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.benches import falls as clips
from agent.benches.falls import FALLING, LABELS, LYING, SITTING, STANDING, WALKING
from agent.data import Array
from agent.packages import package
from agent.vision.poses import SecondModel
from models.train.data import DataError
from models.train.pose_fall import body, camera, evaluate, folds, windows
from models.train.pose_fall.activities import random_motion
from models.train.pose_fall.figure import NO_LABEL, UNCLEAR
from tests.shared import DATA, needs_recordings

LIMBS = [(5, 7, body.ARM), (8, 10, body.FORE), (11, 13, body.THIGH), (14, 16, body.SHIN), (11, 12, 2 * body.HIP)]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_limbs_keep_their_length_and_feet_stay_on_the_floor(seed: int) -> None:
    motion = random_motion(seed, falls=seed % 2 == 0)
    points = body.keypoints(motion.limbs, motion.height)
    for a, b, length in LIMBS:
        lengths = np.linalg.norm(points[:, a] - points[:, b], axis=1)
        assert np.allclose(lengths, length * motion.height / body.TALL, atol=1e-6)
    assert (points[..., 2] + motion.hips[:, None, 2]).min() > -0.35


def test_a_fall_ends_on_the_floor_and_has_an_onset() -> None:
    for seed in range(0, 40, 2):
        motion = random_motion(seed, falls=True)
        points = body.keypoints(motion.limbs, motion.height)[..., 2] + motion.hips[:, None, 2]
        assert motion.labels[motion.onset] == UNCLEAR
        assert FALLING in motion.labels[motion.onset :]
        assert motion.labels[-1] == LYING
        assert points[-1].max() < 0.95
        assert FALLING not in motion.labels[: motion.onset]


def test_daily_activity_has_no_fall_and_all_postures() -> None:
    labels = {int(label) for seed in range(1, 60, 2) for label in random_motion(seed, falls=False).labels}
    assert {WALKING, STANDING, SITTING, LYING} <= labels
    assert not {FALLING, UNCLEAR} & labels


def test_the_same_seed_is_the_same_recording() -> None:
    first, same, other = (windows.simulate(seed) for seed in (4, 4, 6))
    assert np.array_equal(first.points, same.points)
    assert not np.array_equal(first.points[:5], other.points[:5])
    assert first.points.dtype == np.float32
    assert (first.points[..., 2] > 0).all() and (first.points[..., 2] <= 0.9).all()


def test_no_recording_is_on_both_sides_of_the_split() -> None:
    parts = [windows.TRAIN, windows.VALIDATE, windows.TEST]
    assert len(set().union(*parts)) == sum(map(len, parts))


def test_mirroring_exchanges_left_and_right() -> None:
    limbs = body.POSTURES["side"]
    points, other = body.keypoints(limbs), body.keypoints(body.mirrored(limbs))
    assert np.allclose(other[list(body.SWAPPED)] * [1, -1, 1], points, atol=1e-6)
    inputs = np.random.default_rng(0).random((3, windows.LENGTH, windows.CHANNELS)).astype(np.float32)
    assert np.array_equal(windows.mirrored(windows.mirrored(inputs)), inputs)


def test_other_postures_are_certainly_no_fall() -> None:
    wanted = windows.targets(np.array([FALLING, NO_LABEL]))
    assert wanted[0].argmax() == FALLING
    assert wanted[1, FALLING] < 0.01
    assert np.allclose(wanted.sum(axis=1), 1.0)


def test_the_mean_score_of_keypoints_is_plausible() -> None:
    scores = [camera.render(random_motion(seed, False), seed).points[..., 2].mean() for seed in range(1, 9, 2)]
    assert 0.1 < np.mean(scores) < 0.7


@pytest.mark.parametrize(
    "text, spans",
    [
        ("Falling (SW)[3.4 to 6]; Sitting[0 to 3.4]", [(FALLING, 3.4, 6.0), (SITTING, 0.0, 3.4)]),
        ("Falling (BW[5.9 to 10]; Walking[0 to 1.3]", [(FALLING, 5.9, 10.0), (WALKING, 0.0, 1.3)]),
        ("Falling (BW) [0.3 to 5]; Standing [0 to 0.2]", [(FALLING, 0.3, 5.0), (STANDING, 0.0, 0.2)]),
        ("Standing[0 to 0.5; 4.2 to 6.5]; Eating[0.9 4.6]", [(STANDING, 0.0, 0.5), (STANDING, 4.2, 6.5)]),
        ("Sitting[9.7 to 3]; Sleeping[2 to 8]", [(LYING, 2.0, 8.0)]),
        ("", []),
    ],
)
def test_annotations_with_typing_errors_are_read(text: str, spans: list[tuple[int, float, float]]) -> None:
    assert clips.spans(text) == spans


def test_alarms_in_time_too_late_and_too_early() -> None:
    fall = clips.Clip(Path("S9-Fall-1.mp4"), [(FALLING, 3.0, 6.0), (STANDING, 0.0, 3.0)])
    empty = np.zeros(0)

    def verdict(*alarms: float) -> tuple[object, object]:
        figures = evaluate.verdict(fall, clips.PlayedClip(empty, empty, empty, list(alarms)))
        return figures["in_time"], figures["false_alarms"]

    assert verdict(4.0) == (True, 0)
    assert verdict(5.1) == (False, 0)
    assert verdict(1.0, 4.0) == (True, 1)
    assert verdict() == (False, 0)
    daily = clips.Clip(Path("S9-ADL-1.mp4"), [(SITTING, 0.0, 3.0)])
    assert clips.false_alarms(daily, clips.PlayedClip(empty, empty, empty, [1.0])) == [1.0]


def test_folders_without_annotated_clips_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a set laid out like 'video-fall-gmdcsa24'"):
        clips.clips(tmp_path)
    (tmp_path / "S1-Fall-1.mp4").touch()
    (tmp_path / "S1-ADL.csv").touch()
    with pytest.raises(DataError, match="S1-Fall.csv: missing"):
        clips.clips(tmp_path)
    (tmp_path / "S1-Fall.csv").write_text("File Name\n02.mp4,1,2,3,4,Sitting[0 to 1]\n")
    with pytest.raises(DataError, match="has no line for 1.mp4"):
        clips.clips(tmp_path)
    (tmp_path / "S1-Fall.csv").write_text("File Name\n01.mp4,1,2,3,4,Falling (FW)[2 to 4]; Falling (SW)[4 to 11]\n")
    assert [clip.fall_s for clip in clips.clips(tmp_path)] == [2.0]


@needs_recordings
def test_every_real_clip_has_its_annotation() -> None:
    falls = {clip.path.stem: clip.fall_s for clip in clips.clips(DATA)}
    assert falls["S1-Fall-15"] == 1.8
    assert falls["S2-Fall-12"] == 6.9
    assert np.isnan(falls["S2-ADL-23"])


def test_the_recipe_on_a_small_scale(tensorflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.train.engine import make_reproducible, to_int8
    from models.train.network import Network
    from models.train.pack import pack
    from models.train.pose_fall import make

    make_reproducible(1)
    known = windows.examples(range(60), processes=1)
    model = make.train(make.network(), known, known, 2)
    content = to_int8(model, known[0])
    network = Network(content)
    assert (network(known[0]).argmax(axis=1) == known[1])[known[1] >= 0].mean() > 0.45
    golden = network.quantised(known[0][:8])
    pack(tmp_path / "tiny", content, make.FACTS, golden, network.run_all(golden))
    second = SecondModel(package.open_package(tmp_path / "tiny"))
    recording = windows.simulate(2)
    frames = zip(recording.times, recording.points)
    findings = [second(int(time * 1e9) + 1, points, recording.aspect) for time, points in frames]
    labels = [finding[0].label for finding in findings if finding]  # no finding without a person
    assert len(labels) > len(findings) / 2
    assert set(labels) <= set(LABELS)
    assert len(set(labels)) > 1


# -- cross-validation over whole subjects ---------------------------------------------------------------


def _clip(name: str, fall_s: float | None, falling: dict[int, float]) -> tuple[clips.Clip, clips.PlayedClip, Array]:
    """Five seconds at ten pictures a second. falling: score from that picture on, for five of them."""
    spans = [(FALLING, fall_s, 5.0)] if fall_s is not None else [(WALKING, 0.0, 5.0)]
    scores = np.zeros(50)
    for start, score in falling.items():
        scores[start : start + 5] = score
    run = clips.PlayedClip(np.arange(50) / 10, np.zeros((50, 17, 3)), np.zeros(50, int), [])
    return clips.Clip(Path(f"{name}.mp4"), spans), run, scores


def test_an_alarm_begins_where_three_of_four_pictures_reach_the_score() -> None:
    falling = np.array([0, 0.7, 0.7, 0, 0.7, 0.7, 0.7, 0, 0, 0.5])
    assert folds.alarms(np.arange(10) / 10, falling, 0.6) == [0.4]
    assert folds.alarms(np.arange(10) / 10, falling, 0.8) == []


def test_a_subject_left_out_does_not_choose_its_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """S1's daily clip reaches 0.7, so that without S1 0.6 is kept, and with S1's clips 0.75 is chosen for S2."""
    made = [
        _clip("S1-Fall-1", 2.0, {22: 0.9}),
        _clip("S1-ADL-1", None, {10: 0.7}),
        _clip("S2-Fall-1", 2.0, {22: 0.65}),
        _clip("S2-ADL-1", None, {}),
    ]
    known = {id(run): scores for _, run, scores in made}
    monkeypatch.setattr(folds, "_falling", lambda run, posture: known[id(run)])
    result = folds.cross_validated([(clip, run) for clip, run, _ in made], None)  # type: ignore[arg-type]
    assert result.scores == {"S1": 0.6, "S2": 0.75}
    counts = clips.summary(result.played)
    assert (counts["falls_in_time"], counts["falls"], counts["daily_clips_with_false_alarm"]) == (1, 2, 1)
    assert folds.wrong(result.played) == 2
