"""Cases that are kept to learn from: which, as what, who can read them, and that training reads them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from agent import keys
from agent.cli import cli
from agent.drift.collect import LaneFolder, region
from agent.drift.likeness import Known, difference_hash
from agent.drift.watch import SAVE_S
from agent.recorder import seal
from models.train.folder import files, pictures, recordings
from models.train.folder.files import File
from models.train.folder.options import Marks
from tests.drift_fixtures import LIMITS, WatchedLane, collecting, room
from tests.shared import mistakes

LEARN = LIMITS.learn + 15
UNCERTAIN_SCORE, CERTAIN_SCORE = 0.5, 0.95


def cases(lane: WatchedLane) -> list[Path]:
    return sorted((lane.settings.state_dir / "collected" / lane.lane / "unlabelled").iterdir())


def yard(folder: Path, keep: str, **changes: Any) -> WatchedLane:
    """A camera that has learnt what is normal."""
    lane = WatchedLane(folder, "yard", collecting(keep, **changes))
    lane.open_picture()
    lane.pictures(LEARN, lambda: room(0, lane.random), CERTAIN_SCORE)
    assert not cases(lane)
    return lane


def rooms(lane: WatchedLane) -> Callable[[], np.ndarray]:
    """Another room each time."""
    numbers = iter(range(1, 10_000))
    return lambda: room(next(numbers), lane.random)


def test_uncertain_pictures_are_kept_once_each_for_their_owner_only(tmp_path: Path) -> None:
    lane = yard(tmp_path, "pictures")
    lane.pictures(50, lambda: room(1, lane.random), UNCERTAIN_SCORE)
    (path,) = cases(lane)
    assert path.name.endswith("-uncertain.png") and stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in list(path.parents)[:3]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kept = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert kept is not None and np.abs(kept.astype(int) - room(1)).max() <= 4
    lane.pictures(50, lambda: room(2, lane.random), UNCERTAIN_SCORE)
    assert len(cases(lane)) == 2, "another scene"
    lane.restart()
    lane.pictures(50, lambda: room(1, lane.random), UNCERTAIN_SCORE)
    assert len(cases(lane)) == 2, "a restart knows what is kept"
    (lane.settings.state_dir / "collected/yard/.known.json").write_text("[damaged")
    lane.restart()
    lane.pictures(50, lambda: room(1, lane.random), UNCERTAIN_SCORE)
    assert len(cases(lane)) == 3


def test_certain_pictures_are_not_kept_unless_something_drifts(tmp_path: Path) -> None:
    lane = yard(tmp_path, "pictures")
    lane.pictures(100, lambda: room(0, lane.random), CERTAIN_SCORE)
    assert not cases(lane)
    lane.pictures(60, lambda: room(0, lane.random) // 2, CERTAIN_SCORE)
    assert [path.name.rpartition("-")[2] for path in cases(lane)] == ["drift.png"]


def test_of_a_region_only_what_is_inside_its_box_is_kept(tmp_path: Path) -> None:
    lane = yard(tmp_path, "region")
    lane.pictures(20, lambda: room(1, lane.random), UNCERTAIN_SCORE)
    kept = cv2.imread(str(cases(lane)[0]), cv2.IMREAD_GRAYSCALE)
    assert kept is not None and kept.shape == (72, 48), "half and a quarter of 120 x 160, and a tenth more on each side"
    part = region(room(1), [[0.25, 0.25, 0.5, 0.75]])
    assert part is not None and np.abs(kept.astype(int) - part).max() <= 4


def test_without_a_box_no_region_is_kept(tmp_path: Path) -> None:
    lane = yard(tmp_path, "region")
    lane.pictures(60, lambda: room(0, lane.random) // 2)
    assert lane.report["state"] == "drifting" and not cases(lane)
    assert region(room(), [[0.5, 0.5, 0.5, 0.5]]) is None and region(room(), [[7, 7, 9, 9]]) is None


def test_features_hold_no_pixel_and_are_a_recording(tmp_path: Path) -> None:
    lane = yard(tmp_path, "features")
    lane.pictures(60, rooms(lane), UNCERTAIN_SCORE)
    paths = cases(lane)
    assert paths and all(path.name.endswith("-uncertain.csv") for path in paths)
    recording = recordings.read(File(paths[0], -1), Marks(), {})
    assert recording.channels == ("brightness", "contrast", "sharpness", "view", "score")
    assert recording.rows.shape == (32, 5) and recording.rate_hz == pytest.approx(1.0, abs=0.01)


def test_readings_of_a_sensor_are_kept_as_training_reads_them(tmp_path: Path) -> None:
    lane = WatchedLane(tmp_path, "arm", collecting("features"))
    lane.open_readings()
    lane.readings(LEARN)
    assert not cases(lane)
    lane.readings(60, scale=1.5)
    paths = cases(lane)
    assert paths and paths[0].name.endswith("-drift.csv")
    recording = recordings.read(File(paths[0], -1), Marks(), {})
    assert (recording.channels, recording.rows.shape) == (("x", "y"), (256, 2))
    assert recording.rate_hz == pytest.approx(1000.0, rel=0.01) and 1.2 < recording.rows.std() < 1.8


def test_sound_leaves_only_figures(tmp_path: Path) -> None:
    lane = WatchedLane(tmp_path, "hall", collecting("pictures"))
    lane.open_sound()

    def listen(seconds: int, level: float) -> None:
        for _ in range(seconds):
            lane.monitor.step()
            lane.show((level * lane.random.normal(size=1600)).astype(np.float32))
            lane.clock.now += 0.1
            lane.monitor.step()
            lane.clock.now += 0.9

    listen(LEARN, 0.1)
    listen(60, 0.01)
    assert lane.report["drifts"] and cases(lane)
    recording = recordings.read(File(cases(lane)[0], -1), Marks(), {})
    assert recording.channels == ("loudness", "peaks", "pitch", "score")


def test_training_reads_the_folder_of_a_lane_once_somebody_has_sorted_it(tmp_path: Path) -> None:
    lane = yard(tmp_path, "pictures")
    lane.pictures(140, rooms(lane), UNCERTAIN_SCORE)
    folder = lane.settings.state_dir / "collected/yard"
    for number, path in enumerate(cases(lane)[:8]):
        label = folder / ("person" if number % 2 else "nobody")
        label.mkdir(exist_ok=True)
        path.rename(label / path.name)
    labels, listed = files.list_files(folder, pictures.STILLS, 7)
    assert labels == ["nobody", "person"]
    assert sum(file.label < 0 for file in listed) == len(cases(lane)) > 0
    assert all(len(list(pictures.frames(file.path, 1, set()))) == 1 for file in listed)


def test_the_folder_is_bounded_in_files_and_bytes(tmp_path: Path) -> None:
    lane = yard(tmp_path, "pictures", files=3)
    lane.pictures(110, rooms(lane), UNCERTAIN_SCORE)
    names = [path.name for path in cases(lane)]
    assert len(names) == 3 and "00000001" not in names[0], "the oldest go"
    assert lane.report["collected"]["files"] == 3
    size = lane.report["collected"]["size"] // 3
    tight = LaneFolder(tmp_path / "state", "box", "yard", collecting(mb=1.5 * size / 1e6))
    assert tight.kept.files == 1 and len(cases(lane)) == 1


def test_what_is_sealed_is_never_plain_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, secret = keys.make(tmp_path / "keys", "office")
    lane = yard(tmp_path, "pictures", seal=str(public))
    written: list[bytes] = []
    from agent.box import private

    original = private.write

    def noted(path: Path, content: bytes, durable: bool = True, mode: int = private.FILE) -> None:
        written.append(content)
        original(path, content, durable, mode)

    monkeypatch.setattr(private, "write", noted)
    lane.pictures(20, lambda: room(1, lane.random), UNCERTAIN_SCORE)
    (path,) = cases(lane)
    assert path.name.endswith("-uncertain.png.sealed")
    assert not any(b"PNG" in content[:16] or b"IHDR" in content for content in written)
    plain = seal.decrypt(path.read_bytes(), keys.read_secret(secret)[1])
    assert cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (120, 160)  # type: ignore[union-attr]
    _, other = keys.make(tmp_path / "keys", "other")
    refused = CliRunner().invoke(cli, ["drift", "--unseal", str(path.parent), "--key", str(other)])
    assert "sealed for another key, or is damaged" in str(refused.exception)
    opened = CliRunner().invoke(cli, ["drift", "--unseal", str(path.parent), "--key", str(secret)])
    assert "1 case decrypted" in opened.output and path.with_suffix("").read_bytes() == plain


def test_plain_cases_of_a_time_without_sealing_are_sealed_at_the_start(tmp_path: Path) -> None:
    lane = yard(tmp_path, "pictures")
    lane.pictures(20, lambda: room(1, lane.random), UNCERTAIN_SCORE)
    cases(lane)[0].with_name("cases(1).png").write_bytes(b"of somebody else")
    public, _ = keys.make(tmp_path / "keys", "office")
    lane.change(collect=collecting(seal=str(public)))
    kinds = [path.name.rpartition(".")[2] for path in cases(lane)]
    assert sorted(kinds) == ["png", "sealed"], "what is not ours stays"


def test_a_key_that_cannot_be_read_stops_the_collecting_and_not_the_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lane = WatchedLane(tmp_path, "arm", collecting(seal=str(tmp_path / "keys/office.key")))
    lane.open_readings()
    lane.readings(3, score=UNCERTAIN_SCORE)
    assert lane.report["statistics"] and lane.report["collected"] is None
    keys.make(tmp_path / "keys", "office")
    lane.clock.now += SAVE_S
    lane.readings(3, score=UNCERTAIN_SCORE)
    assert lane.report["collected"] is not None and cases(lane)
    logged = [message for message in caplog.messages if "collected cases" in message]
    assert ["cannot be written" in message for message in logged] == [True, False]


def test_the_hash_ignores_light_and_noise_and_tells_scenes_apart() -> None:
    random = np.random.default_rng(0)
    known = Known(10)
    assert known.add_hash(difference_hash(room(0, random)))
    assert not known.add_hash(difference_hash(room(0, random)))
    assert not known.add_hash(difference_hash((room(0, random) * 0.7).astype(np.uint8)))
    assert known.add_hash(difference_hash(room(1, random)))
    assert known.add_vector([0.0, 5.0]) and not known.add_vector([0.3, 5.2]) and known.add_vector([4.0, 5.0])


def test_sealed_clips_beside_plain_collected_pictures_are_refused(tmp_path: Path) -> None:
    public, _ = keys.make(tmp_path / "keys", "office")
    text = f"""
recorder: {{events: {{rules: [], seal: {public}}}}}
drift: {{collect: {{keep: KEEP}}}}
lanes: {{arm: {{source: {{driver: sensor.sim_arm}}, model: arm-deviation}}}}
"""
    path = tmp_path / "reflexd.yaml"
    for keep in ("pictures", "region"):
        (mistake,) = mistakes(path, text.replace("KEEP", keep))
        assert mistake.startswith("3: 'events.seal' encrypts the clips") and f"add 'seal: {public}'" in mistake
        assert not mistakes(path, text.replace("KEEP", f"{keep}, seal: {public}"))
    assert not mistakes(path, text.replace("KEEP", "features"))


@pytest.mark.parametrize(
    "drift, mistake",
    [
        ("", "2: 'drift' is empty: write 'drift: {}'"),
        ("{skip: [leg]}", "no lane 'leg'; there is arm"),
        ("{learn: 3}", "'drift.learn': expected"),
        ("{collect: {uncertain: [0.9, 0.1]}}", "expected [lowest, highest] between 0 and 1"),
        ("{collect: {keep: everything}}", "'drift.collect.keep': expected 'features', 'region' or 'pictures'"),
        ("{collect: {seal: /nowhere/office.key}}", "/nowhere/office.key"),
        ("{}\nrecorder: {enabled: false}", "'drift' reads the tapes that lanes write for the recorder"),
    ],
)
def test_mistakes_in_the_section_have_one_clear_message(tmp_path: Path, drift: str, mistake: str) -> None:
    lane = "lanes: {arm: {source: {driver: sensor.sim_arm}, model: arm-deviation}}"
    (message,) = mistakes(tmp_path / "reflexd.yaml", f"{lane}\ndrift: {drift}\n")
    assert mistake in message
