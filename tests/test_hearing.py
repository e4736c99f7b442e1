"""A sound lane: YAMNet on real recordings, a scream that stops a robot, failing microphones, no sound recorded."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agent import ledger
from agent.cli import cli
from agent.data import Evidence
from agent.errors import PackageError
from agent.modeltools import init
from agent.offline import offline_lane
from agent.packages import package
from agent.packages.checksums import digest
from agent.packages.manifest import SoundInput
from agent.perception import Perception
from agent.prepare.sound import Sound
from agent.recorder.recording import read
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from drivers.audio import file
from tests import arecord
from tests.processes import Cell, Process, fault
from tests.shared import DATA, PUBLIC, ROOT, needs_recordings

pytestmark = needs_recordings

WEIGHTS = PUBLIC / "yamnet_audio_classifier_with_metadata.tflite"


@pytest.fixture(scope="module")
def yamnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `reflexd model init` makes it."""
    folder = tmp_path_factory.mktemp("models") / "yamnet"
    assert init.init(WEIGHTS, folder, init.Request(), False) == 0
    return folder


@pytest.fixture(scope="module")
def all_labels(yamnet: Path) -> Path:
    """The same without the groups: all 521 labels."""
    folder = yamnet.parent / "yamnet-521"
    folder.mkdir()
    shutil.copy(WEIGHTS, folder)
    lines = (yamnet / "manifest.yaml").read_text().splitlines(keepends=True)
    (folder / "manifest.yaml").write_text("".join(line for line in lines if not line.startswith("options:")))
    return folder


def test_init_makes_a_sound_model_with_groups_for_alarms(yamnet: Path, all_labels: Path) -> None:
    opened = package.open_package(yamnet)
    assert opened.manifest.sound == SoundInput(rate_hz=16_000, length=15_600, hop=1_600)
    assert package.labels(yamnet) == ["scream", "groan", "glass", "speech"]
    assert len(package.labels(all_labels)) == 521
    assert json.loads(CliRunner().invoke(cli, ["model", "verify", str(yamnet), "--json"]).stdout)["ok"]


def test_the_score_agrees_with_the_published_one(all_labels: Path) -> None:
    opened = package.open_package(all_labels)
    assert opened.manifest.sound
    preparation = Sound(opened.manifest.sound, opened.engine.inputs[0], 16_000)
    assert preparation(file.load(PUBLIC / "speech.wav", 16_000, 10)[:15_600], opened.engine.input(0))
    opened.engine.invoke()
    first = opened.findings()[0]
    assert first.label == "Speech" and first.score == pytest.approx(0.918, abs=0.01)  # SOURCE-audio.md


def test_golden_outputs_of_a_model_whose_input_has_one_axis_are_compared(yamnet: Path, tmp_path: Path) -> None:
    opened, rows = package.open_package(yamnet), []
    assert opened.golden is None
    windows = file.load(PUBLIC / "speech.wav", 16_000, 10)[: 3 * 15_600].reshape(3, -1)
    for window in windows:
        opened.engine.input(0)[...] = window
        opened.engine.invoke()
        rows.append(opened.engine.output(0)[0].copy())
    shutil.copy(WEIGHTS, tmp_path)
    for offset, message in ((0.0, ""), (0.1, "another model")):
        np.savez(tmp_path / "golden.npz", input_0=windows, output_0=np.array(rows) + offset)
        sums = f"files: {{golden.npz: {digest(tmp_path / 'golden.npz')}}}\n"
        manifest = (yamnet / "manifest.yaml").read_text() + "golden: golden.npz\n" + sums
        (tmp_path / "manifest.yaml").write_text(manifest)
        if message:
            with pytest.raises(PackageError, match=message):
                package.open_package(tmp_path)
        else:
            assert (package.open_package(tmp_path).golden or 0) < 0.01


def test_a_group_with_an_unknown_label_is_refused(yamnet: Path, tmp_path: Path) -> None:
    shutil.copy(WEIGHTS, tmp_path)
    manifest = (yamnet / "manifest.yaml").read_text().replace('["Screaming"]', '["Skreaming"]')
    (tmp_path / "manifest.yaml").write_text(manifest)
    with pytest.raises(
        PackageError, match="groups.scream: the model has no label 'Skreaming'; did you mean 'Screaming'"
    ):
        package.open_package(tmp_path)


def inferences(folder: Path, driver: str, hop_ms: float | None = None, **options: Any) -> Iterator[list[Evidence]]:
    """The evidence of each inference of the lane."""
    opened = package.open_package(folder)
    opened.set_hop(hop_ms)
    lane = offline_lane("hall", driver, options, Perception(opened))
    scene = Scene(Rules({}, {}))
    lane.open()
    for sample in lane.source.remaining_samples():
        assert lane.arrivals.accept(sample, sample.t_capture)
        if lane.step(sample, scene) is not None:
            assert lane.evidence is not None
            yield lane.evidence


@pytest.mark.parametrize(
    "name, labels, min_score, share",
    [
        ("typing.wav", {"Typing", "Computer keyboard"}, 0.9, 0.9),
        ("snoring.wav", {"Snoring"}, 0.4, 0.2),
        (
            "crowd_cheering.wav",
            {"Crowd", "Cheering"},
            0.1,
            0.25,
        ),  # 30 %; YAMNet classifies much of it as music and speech
    ],
)
def test_real_recordings_have_their_labels(
    all_labels: Path, name: str, labels: set[str], min_score: float, share: float
) -> None:
    """44.1 and 48 kHz, one and two channels; a label is of the whole file, so a share of its windows must have it."""
    evidence = list(inferences(all_labels, "audio.file", path=str(DATA / "audio-ibm-max" / name)))
    assert len(evidence) > 100  # ten a second
    having = [any(item.label in labels and item.score >= min_score for item in items) for items in evidence]
    assert sum(having) >= share * len(evidence)


def test_harmless_sounds_raise_no_alarm(yamnet: Path) -> None:
    for name in ("typing.wav", "snoring.wav"):
        played = inferences(yamnet, "audio.file", path=str(DATA / "audio-ibm-max" / name))
        evidence = [item for items in played for item in items]
        assert max((item.score for item in evidence if item.label in ("scream", "glass")), default=0) < 0.3
        assert {item.label for item in evidence} <= {"scream", "groan", "glass", "speech"}


def test_speech_in_groups_and_a_longer_hop(yamnet: Path) -> None:
    evidence = list(inferences(yamnet, "audio.file", hop_ms=480, path=str(PUBLIC / "speech.wav")))
    values = len(file.load(PUBLIC / "speech.wav", 16_000, 10))
    assert len(evidence) == (values - 15_600) // 7_680 + 1
    assert all([item.label for item in items] == ["speech"] for items in evidence)


def test_after_a_gap_a_whole_window_is_needed(yamnet: Path) -> None:
    freeze = {"kind": "freeze", "at_s": 2.0, "for_s": 0.2}
    options = {"timeout_ms": 1000, "faults": [freeze]}
    lane = offline_lane("hall", "audio.sim", options, Perception(package.open_package(yamnet)))
    scene, inferred = Scene(Rules({}, {})), []
    lane.open()
    while lane.arrivals.last_sequence < 5 * 16_000:
        sample = lane.source.read(1.0)
        if sample and lane.arrivals.accept(sample, sample.t_capture) and lane.step(sample, scene) is not None:
            inferred.append(sample.sequence + 1)
    lane.source.close()
    assert lane.ledger.count[ledger.LOST] == pytest.approx(0.2 * 16_000, abs=320)
    steps = np.diff(inferred)
    assert sorted(set(steps.tolist()))[0] == 1600 and steps.max() > 15_600 and (steps == 1600).sum() == len(steps) - 1
    after = inferred[int(steps.argmax()) + 1]
    assert after >= 2.2 * 16_000 + 15_600 - 320  # a whole window from after the gap


@pytest.mark.parametrize("kind, min_score", [("scream", 0.4), ("groan", 0.2), ("glass", 0.6), ("speech", 0.6)])
def test_the_simulated_sounds_have_their_labels(yamnet: Path, kind: str, min_score: float) -> None:
    """In a network trained on recordings, four voices of each kind. A groan starts like speech."""
    for seed in range(4):
        sounds = [{"kind": kind, "at_s": 1.0}]
        evidence, best = inferences(yamnet, "audio.sim", sounds=sounds, seed=seed), {}
        for items, _ in zip(evidence, range(30)):
            for item in items:
                best[item.label] = max(best.get(item.label, 0.0), item.score)
        evidence.close()  # type: ignore[attr-defined]
        assert best[kind] >= min_score, (seed, best)
        assert all(score < 0.3 for label, score in best.items() if label not in (kind, "speech")), (seed, best)


class Hall(Cell):
    """A simulated microphone in a quiet room, with the sounds of the test; a scream stops the robot."""

    def __init__(self, folder: Path, model: Path, hop_ms: float | None = None, **source: Any) -> None:
        lane: dict[str, Any] = {"source": {"driver": "audio.sim", "timeout_ms": 600, **source}, "model": str(model)}
        super().__init__(folder, {"hall": {**lane, "hop_ms": hop_ms} if hop_ms else lane})
        condition = {"lane": "hall", "label": "scream", "score": 0.35, "hits": 2, "of": 3}
        self.config["rules"] = {"help": {"any": [condition], "actuator": "robot", "verb": "stop", "hold_ms": 500}}
        self.config["state_dir"] = str(folder / "state")


SCREAM = {"kind": "scream", "at_s": 2.0}


def replay_report(cell: Cell) -> dict[str, Any]:
    """The report of `reflexd replay` on the cell's recording."""
    path = recorded(cell)
    report: dict[str, Any] = json.loads(CliRunner().invoke(cli, ["replay", str(path), "--json"]).stdout)
    return report


def recorded(cell: Cell) -> Path:
    (path,) = (cell.folder / "state/recordings").glob("*.mcap")
    return path


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.slow
def test_a_scream_stops_the_robot_and_replays_exactly(yamnet: Path, tmp_path: Path, keep: bool) -> None:
    with Hall(tmp_path, yamnet, hop_ms=50, sounds=[SCREAM]) as cell:
        cell.config["recorder"] = {"pictures": keep}
        _, daemon = cell.start_both()
        done = len(cell.verbs())
        cell.wait_for("stop", after=done)
        cell.wait_for("run", after=done + 1)
        assert daemon.stop() == 0
        counts = cell.counts("hall")
        assert counts["lost"] == counts["faults"] == 0
        report = replay_report(cell)
        assert report["differences"] == [] and report["lost"] == 0
        assert report["samples"] == report["inferences"] == counts["inferences"] > 40
        assert report["decisions"] >= 3
        messages = read(recorded(cell)).messages
    assert all("readings" not in message and bool(message["inputs"]) == keep for _, message in messages)
    if not keep:  # 521 scores of float32 are 2.8 kB of text; a window of sound would be 83 kB
        assert max(len(json.dumps(message)) for _, message in messages) < 6000


def recovers(cell: Cell, daemon: Process, trouble: str) -> None:
    """The trouble was logged once, the actuator went safe, the lane is back, and the daemon still runs."""
    daemon.wait_for(trouble)
    daemon.wait_for("hall: hall is back")
    verbs = cell.verbs()
    cell.wait_for("run", after=len(verbs) - verbs[::-1].index("safe"))
    assert len(daemon.lines("trying again until it is back")) == len(daemon.lines("hall: hall is back")) == 1
    assert daemon.popen.poll() is None
    assert "Traceback" not in daemon.text and "Warning:" not in daemon.text


STUCK = "no new picture, sound or reading for 600 ms: "


@pytest.mark.parametrize(
    "kind, trouble, counter",
    [
        ("unplug", "the simulated microphone is unplugged", "faults"),
        ("freeze", "no ", "faults"),
        ("repeat", STUCK + "it repeats the old one: frozen?", "repeated"),
        ("clock_jump", STUCK + "its time stamps are", "stale"),
        ("silence", "nothing but the value 0 for 300 ms: muted", "faults"),
    ],
)
@pytest.mark.slow
def test_a_microphone_that_fails_for_a_while(
    yamnet: Path, tmp_path: Path, kind: str, trouble: str, counter: str
) -> None:
    amount = -5000.0 if kind == "clock_jump" else 0.0
    with Hall(tmp_path, yamnet, dead_ms=300, faults=[fault(kind, 2.0, 1.5, amount)]) as cell:
        _, daemon = cell.start_both()
        cell.wait_for("safe", after=len(cell.verbs()))
        recovers(cell, daemon, trouble)
        assert cell.counts("hall")[counter] >= 1
        assert daemon.stop() == 0


def test_noise_is_no_trouble(yamnet: Path, tmp_path: Path) -> None:
    with Hall(tmp_path, yamnet, faults=[fault("noise", 1.5, 60, 0.5)]) as cell:
        _, daemon = cell.start_both()
        cell.wait_for_count("hall", "inferences", 30)
        assert daemon.stop() == 0
        assert cell.counts("hall")["faults"] == 0


def test_a_muted_sound_card_stops_the_robot_until_it_is_on(
    yamnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for arecord, in the daemon's PATH."""
    arecord.install(tmp_path, monkeypatch)
    with Hall(tmp_path, yamnet) as cell:
        source = {
            "driver": "audio.alsa",
            "device": f"mute:{tmp_path}/on",
            "dead_ms": 300,
            "start_ms": 20_000,
            "timeout_ms": 600,
        }
        cell.config["lanes"]["hall"]["source"] = source
        cell.actuate()
        daemon = cell.run()
        daemon.wait_for("on: nothing but the value 0 for 300 ms: muted")
        assert "run" not in cell.verbs()
        (tmp_path / "on").touch()
        daemon.wait_for("hall: hall is back")
        cell.wait_for("run")
        assert len(daemon.lines("muted")) == 1
        assert daemon.stop() == 0


def test_a_file_that_is_no_wav_is_reported_and_read_once_it_is_good(yamnet: Path, tmp_path: Path) -> None:
    path = tmp_path / "hall.wav"
    path.write_text("not yet")
    with Hall(tmp_path, yamnet) as cell:
        cell.config["lanes"]["hall"]["source"] = {"driver": "audio.file", "path": str(path), "loop": True}
        cell.actuate()
        daemon = cell.run()
        daemon.wait_for("hall.wav: not a WAV file with PCM")
        path.write_bytes((PUBLIC / "speech.wav").read_bytes())
        cell.wait_for("run")
        cell.wait_for_count("hall", "inferences", 5)
        assert daemon.stop() == 0


def test_the_example_in_the_readme_is_valid(yamnet: Path, tmp_path: Path) -> None:
    text = (ROOT / "drivers" / "README.md").read_text(encoding="utf-8")
    section = text.split("## A microphone\n")[1].split("\n## ")[0]
    (example,) = [block for block in re.findall(r"(?:^    .*\n|^\n)+", section, re.MULTILINE) if "lanes:" in block]
    (tmp_path / "hall.yaml").write_text(textwrap.dedent(example))
    (tmp_path / "yamnet").symlink_to(yamnet)
    result = CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "hall.yaml")], catch_exceptions=False)
    assert "good: 1 lane, 1 actuator, 1 rule" in result.stdout
