"""From a microphone's values to the model's window: the ring, the manifest, groups of labels, `reflexd check`."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backends.base import Tensor
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.packages import input_check, package
from agent.packages.checksums import digest
from agent.packages.manifest import Manifest, SoundInput
from agent.prepare.make import make_preparation
from agent.prepare.sound import Sound
from drivers.audio import sim
from drivers.base import DeviceFault
from drivers.sensor import sim as sensor_sim
from tests.shared import mistakes

FLOAT = Tensor("waveform", (400,), np.float32)


def section(**changes: Any) -> SoundInput:
    return SoundInput.model_validate({"rate_hz": 16_000, "length": 400, "hop": 100, **changes})


def ramp(first: int, count: int) -> Array:
    return (np.arange(first, first + count) / 20_000).astype(np.float32)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 700))
def test_the_window_is_the_newest_values_every_hop(blocks: list[int], hop: int) -> None:
    preparation, view, count, next_due = Sound(section(hop=hop), FLOAT, 16_000), np.zeros(400, np.float32), 0, 400
    for size in blocks:
        due = preparation(ramp(count, size), view)
        count += size
        assert due == (count >= next_due)
        while next_due <= count:
            next_due += hop
        if due:
            assert np.array_equal(view, ramp(count - 400, 400))


@pytest.mark.parametrize("shape", [(400,), (1, 400), (1, 400, 1)])
def test_every_shape_of_input(shape: tuple[int, ...]) -> None:
    preparation, view = Sound(section(), FLOAT._replace(shape=shape), 16_000), np.zeros(shape, np.float32)
    assert preparation(ramp(0, 450), view) and np.array_equal(view.ravel(), ramp(50, 400))


def test_a_window_has_no_values_from_before_a_gap() -> None:
    preparation, view = Sound(section(), FLOAT, 16_000), np.zeros(400, np.float32)
    assert preparation(ramp(0, 400), view)
    preparation.reset()
    assert not preparation(ramp(5000, 399), view)
    assert preparation(ramp(5399, 1), view) and np.array_equal(view, ramp(5000, 400))


def test_a_quantised_input_is_rounded_and_clipped() -> None:
    tensor = Tensor("q", (1, 400), np.int8, 1 / 64, -3)
    preparation, view = Sound(section(), tensor, 16_000), np.zeros((1, 400), np.int8)
    values = np.linspace(-1, 1, 400).astype(np.float32) * 3
    assert preparation(values, view)
    assert np.array_equal(view[0], np.clip(np.rint(values * 64 - 3), -128, 127).astype(np.int8))


def test_full_scale_gives_16_bit_values() -> None:
    preparation, view = Sound(section(full_scale=32768), FLOAT, 16_000), np.zeros(400, np.float32)
    assert preparation(np.full(400, -0.5, np.float32), view) and (view == -16384).all()


@pytest.mark.parametrize(
    "payload, message",
    [
        (np.zeros((1, 5), np.float32), r"sound of shape \[1, 5\]: a microphone gives one channel"),
        (np.array([0, np.nan], np.float32), "is not a number"),
        (np.array([np.inf, -np.inf], np.float32), "is not a number"),
    ],
)
def test_a_bad_payload_is_a_fault(payload: Array, message: str) -> None:
    with pytest.raises(DeviceFault, match=message):
        Sound(section(), FLOAT, 16_000)(payload, np.zeros(400, np.float32))


def test_memory_is_fixed() -> None:
    big = section(length=15_600, hop=1600)
    view, block = np.zeros(15_600, np.float32), np.zeros(160, np.float32)
    preparation = Sound(big, FLOAT._replace(shape=(15_600,)), 16_000)
    assert preparation.ring.nbytes + preparation.work.nbytes == 2 * 4 * 15_600
    preparation(block, view)
    tracemalloc.start()
    for _ in range(1000):
        preparation(block, view)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000  # a few array headers


def opened(**sound: Any) -> Any:
    manifest = SimpleNamespace(picture=None, window=None, poses=None, sound=section(**sound), evidence=False)
    return SimpleNamespace(name="ear", manifest=manifest, engine=SimpleNamespace(inputs=[FLOAT]))


def test_a_source_that_does_not_fit_is_a_fault() -> None:
    room = sim.Driver(sim.Options(rate_hz=48_000), "hall")
    with pytest.raises(
        DeviceFault, match="gives 48000 values a second, the model wants 16000: set .* 'rate_hz: 16000'"
    ):
        make_preparation(room, opened(), None)
    assert isinstance(make_preparation(sim.Driver(sim.Options(), "hall"), opened(), None), Sound)
    arm = sensor_sim.Driver(sensor_sim.Options.model_validate({"channels": {"a": {}}}), "arm")
    with pytest.raises(DeviceFault, match="model ear wants sound, which drivers.sensor.sim does not give"):
        make_preparation(arm, opened(), None)


MANIFEST = {
    "version": "1",
    "licence": "x",
    "file": "ear.tflite",
    "sha256": "0" * 64,
    "decoder": "classify",
    "sound": {"rate_hz": 16_000, "length": 400, "hop": 100},
}


@pytest.mark.parametrize("shape", [(401,), (2, 400), (400, 1), (1, 1, 400), (1, 20, 20, 1)])
def test_a_model_of_another_input_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(inputs=[FLOAT._replace(shape=shape)])
    with pytest.raises(PackageError, match=r"sound makes an input \(400,\), the model takes"):
        input_check.check_input(tmp_path, Manifest.model_validate(MANIFEST), engine)
    input_check.check_input(tmp_path, Manifest.model_validate(MANIFEST), SimpleNamespace(inputs=[FLOAT]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"picture": {}}, "picture, window, poses, sound or backbone"),
        ({"sound": None}, "picture, window, poses, sound or backbone"),
        ({"sound": {"rate_hz": 16_000, "length": 400}}, "sound.hop"),
        ({"sound": {"rate_hz": 16, "length": 400, "hop": 1}}, "sound.rate_hz"),
        ({"sound": {**MANIFEST["sound"], "full_scale": 0}}, "sound.full_scale"),  # type: ignore[dict-item]
        ({"sound": {**MANIFEST["sound"], "level": 1}}, "sound.level"),  # type: ignore[dict-item]
    ],
)
def test_a_bad_manifest_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, {**MANIFEST, **changes})
    with pytest.raises(PackageError, match=message):
        package.read(tmp_path)


def write(folder: Path, manifest: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.yaml").write_text(json.dumps(manifest, indent=1))
    return folder


LABELS = ["Speech", "Screaming", "Glass", "Shatter"]


def grouped(groups: dict[str, list[str]], **options: Any) -> decoders.Decoder:
    return decoders.make("classify", LABELS, {"groups": groups, **options}, [(1, 4)])


def test_a_group_has_the_highest_score_of_its_labels_and_others_are_not_reported() -> None:
    decoder = grouped({"glass": ["Glass", "Shatter"], "scream": ["Screaming"]}, min_score=0.2)
    findings = decoder([np.array([[0.9, 0.3, 0.1, 0.6]], np.float32)])
    assert [(finding.label, round(finding.score, 2)) for finding in findings] == [("glass", 0.6), ("scream", 0.3)]
    assert decoder([np.array([[0.9, 0.1, 0.1, 0.1]], np.float32)]) == []


def test_a_group_without_a_value_is_not_reported_and_an_infinite_one_is_refused() -> None:
    decoder = grouped({"glass": ["Glass", "Shatter"]})
    assert decoder([np.full((1, 4), np.nan, np.float32)]) == []
    assert [finding.score for finding in decoder([np.array([[0, 0, np.nan, 0.5]], np.float32)])] == [0.5]
    assert decoder([np.full((1, 4), -np.inf, np.float32)]) == []
    with pytest.raises(DecoderError, match="a score of inf is no probability"):
        decoder([np.array([[0, 0, 0.5, np.inf]], np.float32)])


def test_a_group_of_unknown_labels_is_refused() -> None:
    with pytest.raises(
        DecoderError, match="options.groups.glass: the model has no label 'Shater'; did you mean 'Shatter'"
    ):
        grouped({"glass": ["Shater"]})
    with pytest.raises(DecoderError, match="options.groups.glass: name at least one"):
        grouped({"glass": []})


def test_a_package_has_its_groups_instead_of_labels(tmp_path: Path) -> None:
    write(tmp_path, {**MANIFEST, "labels": LABELS, "options": {"groups": {"scream": ["Screaming"]}}})
    assert package.labels(tmp_path) == ["scream"]
    for options in ({}, {"groups": {}}, {"groups": 5}):  # reported when the package is opened
        write(tmp_path, {**MANIFEST, "labels": LABELS, "options": options})
        assert package.labels(tmp_path) == LABELS


@pytest.fixture
def ear(tmp_path: Path) -> Path:
    """A package that `check` accepts: it compares the checksum and opens no model."""
    folder = tmp_path / "ear"
    folder.mkdir()
    (folder / "ear.tflite").write_bytes(b"ear")
    sha256 = digest(folder / "ear.tflite")
    return write(
        folder, {**MANIFEST, "sha256": sha256, "labels": LABELS, "options": {"groups": {"scream": ["Screaming"]}}}
    )


def check(folder: Path, lane: dict[str, Any], label: str = "scream") -> list[str]:
    path = folder / "hall.yaml"
    cell = {
        "node": "hall",
        "run_dir": "/tmp/x",
        "lanes": {"hall": lane},
        "actuators": {"bell": {"device": {"driver": "actuator.sim"}, "rest": "off"}},
        "rules": {"help": {"any": [{"lane": "hall", "label": label}], "actuator": "bell", "verb": "ring"}},
    }
    numbered = [mistake.split(": ", 1) for mistake in mistakes(path, json.dumps(cell, indent=1))]
    lines = path.read_text().splitlines()
    return [f"{lines[int(line) - 1].strip().split(':')[0]}: {text}" for line, text in numbered]


def test_a_lane_that_section(ear: Path, tmp_path: Path) -> None:
    assert (
        check(tmp_path, {"source": {"driver": "audio.alsa", "device": "plughw:1"}, "model": "ear", "hop_ms": 50}) == []
    )


@pytest.mark.parametrize(
    "lane, label, message",
    [
        (
            {"source": {"driver": "audio.sim"}, "model": "ear"},
            "screem",
            "\"label\": no label 'screem' in model 'ear'; did you mean",
        ),
        ({"source": {"driver": "audio.sim"}, "model": "ear"}, "Screaming", "no label 'Screaming' in model 'ear'"),
        (
            {"source": {"driver": "audio.sim", "rate_hz": 48000}, "model": "ear"},
            "scream",
            "\"rate_hz\": model 'ear' reads 16000 values a second, not 48000: set rate_hz to that",
        ),
        (
            {"source": {"driver": "camera.sim"}, "model": "ear"},
            "scream",
            "\"driver\": model 'ear' reads sound, and driver 'camera.sim' is not a microphone",
        ),
        (
            {"source": {"driver": "audio.sim"}, "model": "arm-deviation"},
            "deviation",
            "\"model\": driver 'audio.sim' is a microphone, and model 'arm-deviation' reads no sound",
        ),
        (
            {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation", "hop_ms": 5},
            "deviation",
            "\"hop_ms\": model 'arm-deviation' reads no sound, and only sound models have a hop",
        ),
        ({"source": {"driver": "audio.sim"}, "model": "ear", "hop_ms": 0}, "scream", '"hop_ms"'),
        (
            {"source": {"driver": "audio.sim", "timeout_ms": 300}, "model": "ear", "hop_ms": 480},
            "scream",
            '"timeout_ms": the model infers every 480 ms, and results hold for timeout_ms',
        ),
        (
            {"source": {"driver": "audio.sim", "sounds": [{"kind": "bang", "at_s": 1}]}, "model": "ear"},
            "scream",
            '"kind"',
        ),
        ({"source": {"driver": "audio.file", "path": "a.wav", "pace": "quick"}, "model": "ear"}, "scream", '"pace"'),
        (
            {"source": {"driver": "audio.alas"}, "model": "ear"},
            "scream",
            "no driver 'audio.alas'; did you mean audio.alsa",
        ),
    ],
)
def test_mistakes_about_sound(ear: Path, tmp_path: Path, lane: dict[str, Any], label: str, message: str) -> None:
    reported = check(tmp_path, lane, label)
    assert len(reported) == 1 and message in reported[0], reported


def test_the_hop_of_a_lane_overrides_that_of_the_model() -> None:
    holder: Any = SimpleNamespace(manifest=Manifest.model_validate(MANIFEST))
    package.Package.set_hop(holder, None)
    assert holder.manifest.sound.hop == 100
    package.Package.set_hop(holder, 50)
    assert holder.manifest.sound.hop == 800 and holder.manifest.sound.length == 400
