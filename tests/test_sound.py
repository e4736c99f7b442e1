"""From a microphone's values to the model's window: the ring, the manifest, the groups of labels, and `reflexd check`."""

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

from agent import package
from agent.backends.base import Tensor
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.manifest import Manifest, SoundInput
from agent.prepare import fit
from agent.prepare.sound import Sound
from drivers.audio import sim
from drivers.base import DeviceFault
from drivers.sensor import sim as sensor_sim
from tests.shared import mistakes

FLOAT = Tensor("waveform", (400,), np.float32)


def hears(**changes: Any) -> SoundInput:
    return SoundInput.model_validate({"rate_hz": 16_000, "length": 400, "hop": 100, **changes})


def ramp(first: int, count: int) -> Array:
    return (np.arange(first, first + count) / 20_000).astype(np.float32)


# -- the ring ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 700))
def test_the_window_is_the_newest_values_and_comes_every_hop(blocks: list[int], hop: int) -> None:
    ear, view, seen, next_ = Sound(hears(hop=hop), FLOAT, 16_000), np.zeros(400, np.float32), 0, 400
    for size in blocks:
        due = ear(ramp(seen, size), view)
        seen += size
        assert due == (seen >= next_)
        while next_ <= seen:
            next_ += hop
        if due:
            assert np.array_equal(view, ramp(seen - 400, 400))


@pytest.mark.parametrize("shape", [(400,), (1, 400), (1, 400, 1)])
def test_every_shape_of_input(shape: tuple[int, ...]) -> None:
    ear, view = Sound(hears(), FLOAT._replace(shape=shape), 16_000), np.zeros(shape, np.float32)
    assert ear(ramp(0, 450), view) and np.array_equal(view.ravel(), ramp(50, 400))


def test_nothing_is_joined_over_a_gap() -> None:
    ear, view = Sound(hears(), FLOAT, 16_000), np.zeros(400, np.float32)
    assert ear(ramp(0, 400), view)
    ear.reset()
    assert not ear(ramp(5000, 399), view)
    assert ear(ramp(5399, 1), view) and np.array_equal(view, ramp(5000, 400))


def test_a_quantised_input_is_rounded_and_clipped() -> None:
    tensor = Tensor("q", (1, 400), np.int8, 1 / 64, -3)
    ear, view = Sound(hears(), tensor, 16_000), np.zeros((1, 400), np.int8)
    values = np.linspace(-1, 1, 400).astype(np.float32) * 3
    assert ear(values, view)
    assert np.array_equal(view[0], np.clip(np.rint(values * 64 - 3), -128, 127).astype(np.int8))


def test_a_model_of_16_bit_values_gets_them() -> None:
    ear, view = Sound(hears(full_scale=32768), FLOAT, 16_000), np.zeros(400, np.float32)
    assert ear(np.full(400, -0.5, np.float32), view) and (view == -16384).all()


@pytest.mark.parametrize(
    "payload, said",
    [
        (np.zeros((1, 5), np.float32), r"sound of shape \[1, 5\]: a microphone gives one channel"),
        (np.array([0, np.nan], np.float32), "gives what is no number"),
        (np.array([np.inf, -np.inf], np.float32), "gives what is no number"),
    ],
)
def test_what_is_no_sound(payload: Array, said: str) -> None:
    with pytest.raises(DeviceFault, match=said):
        Sound(hears(), FLOAT, 16_000)(payload, np.zeros(400, np.float32))


def test_memory_is_fixed() -> None:
    big = hears(length=15_600, hop=1600)
    view, block = np.zeros(15_600, np.float32), np.zeros(160, np.float32)
    ear = Sound(big, FLOAT._replace(shape=(15_600,)), 16_000)
    assert ear.ring.nbytes + ear.work.nbytes == 2 * 4 * 15_600
    ear(block, view)
    tracemalloc.start()
    for _ in range(1000):
        ear(block, view)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000  # a few array headers


def opened(**sound: Any) -> Any:
    manifest = SimpleNamespace(picture=None, window=None, poses=None, sound=hears(**sound))
    return SimpleNamespace(name="ear", manifest=manifest, engine=SimpleNamespace(inputs=[FLOAT]))


def test_a_source_that_does_not_fit_is_said() -> None:
    room = sim.Driver(sim.Options(rate_hz=48_000), "hall")
    with pytest.raises(
        DeviceFault, match="gives 48000 values a second, the model wants 16000: set .* 'rate_hz: 16000'"
    ):
        fit.fit(room, opened(), None)
    assert isinstance(fit.fit(sim.Driver(sim.Options(), "hall"), opened(), None), Sound)
    arm = sensor_sim.Driver(sensor_sim.Options.model_validate({"channels": {"a": {}}}), "arm")
    with pytest.raises(DeviceFault, match="model ear wants sound, which drivers.sensor.sim does not give"):
        fit.fit(arm, opened(), None)


# -- the manifest ------------------------------------------------------------------------------------------------------------

MANIFEST = {
    "version": "1",
    "licence": "x",
    "file": "ear.tflite",
    "sha256": "0" * 64,
    "decoder": "classify",
    "sound": {"rate_hz": 16_000, "length": 400, "hop": 100},
}


@pytest.mark.parametrize("shape", [(401,), (2, 400), (400, 1), (1, 1, 400), (1, 20, 20, 1)])
def test_a_model_that_takes_another_input(shape: tuple[int, ...], tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(inputs=[FLOAT._replace(shape=shape)])
    with pytest.raises(PackageError, match=r"sound makes an input \(400,\), the model takes"):
        package.check_input(tmp_path, Manifest.model_validate(MANIFEST), engine)
    package.check_input(tmp_path, Manifest.model_validate(MANIFEST), SimpleNamespace(inputs=[FLOAT]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"picture": {}}, "picture, window, poses or sound"),
        ({"sound": None}, "picture, window, poses or sound"),
        ({"sound": {"rate_hz": 16_000, "length": 400}}, "sound.hop"),
        ({"sound": {"rate_hz": 16, "length": 400, "hop": 1}}, "sound.rate_hz"),
        ({"sound": {**MANIFEST["sound"], "full_scale": 0}}, "sound.full_scale"),  # type: ignore[dict-item]
        ({"sound": {**MANIFEST["sound"], "level": 1}}, "sound.level"),  # type: ignore[dict-item]
    ],
)
def test_a_manifest_that_is_wrong(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path, {**MANIFEST, **changes})
    with pytest.raises(PackageError, match=said):
        package.read(tmp_path)


def write(folder: Path, manifest: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.yaml").write_text(json.dumps(manifest, indent=1))
    return folder


# -- groups of labels --------------------------------------------------------------------------------------------------------

LABELS = ["Speech", "Screaming", "Glass", "Shatter"]


def grouped(groups: dict[str, list[str]], **options: Any) -> decoders.Decoder:
    return decoders.make("classify", LABELS, {"groups": groups, **options}, [(1, 4)])


def test_a_group_is_as_sure_as_its_surest_label_and_others_are_not_said() -> None:
    decoder = grouped({"glass": ["Glass", "Shatter"], "scream": ["Screaming"]}, min_score=0.2)
    said = decoder([np.array([[0.9, 0.3, 0.1, 0.6]], np.float32)])
    assert [(one.label, round(one.score, 2)) for one in said] == [("glass", 0.6), ("scream", 0.3)]
    assert decoder([np.array([[0.9, 0.1, 0.1, 0.1]], np.float32)]) == []


def test_a_group_stands_numbers_that_are_none() -> None:
    decoder = grouped({"glass": ["Glass", "Shatter"]})
    assert decoder([np.full((1, 4), np.nan, np.float32)]) == []
    assert [one.score for one in decoder([np.array([[0, 0, np.nan, 0.5]], np.float32)])] == [0.5]
    assert [one.score for one in decoder([np.full((1, 4), np.inf, np.float32)])] == [1.0]


def test_a_group_of_what_the_model_does_not_know() -> None:
    with pytest.raises(
        DecoderError, match="options.groups.glass: the model has no label 'Shater'; did you mean 'Shatter'"
    ):
        grouped({"glass": ["Shater"]})
    with pytest.raises(DecoderError, match="options.groups.glass: name at least one"):
        grouped({"glass": []})


def test_rules_know_groups_instead_of_labels(tmp_path: Path) -> None:
    write(tmp_path, {**MANIFEST, "labels": LABELS, "options": {"groups": {"scream": ["Screaming"]}}})
    assert package.labels(tmp_path) == ["scream"]
    for wrong in ({}, {"groups": {}}, {"groups": 5}):  # reported when the package is opened
        write(tmp_path, {**MANIFEST, "labels": LABELS, "options": wrong})
        assert package.labels(tmp_path) == LABELS


# -- reflexd check -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ear(tmp_path: Path) -> Path:
    """A package that `check` accepts: it looks at the checksum, and opens nothing."""
    folder = tmp_path / "ear"
    folder.mkdir()
    (folder / "ear.tflite").write_bytes(b"ear")
    sum_ = package.digest(folder / "ear.tflite")
    return write(
        folder, {**MANIFEST, "sha256": sum_, "labels": LABELS, "options": {"groups": {"scream": ["Screaming"]}}}
    )


def about(folder: Path, lane: dict[str, Any], label: str = "scream") -> list[str]:
    path = folder / "hall.yaml"
    cell = {
        "node": "hall",
        "run_dir": "/tmp/x",
        "lanes": {"hall": lane},
        "actuators": {"bell": {"device": {"driver": "actuator.sim"}, "rest": "off"}},
        "rules": {"help": {"any": [{"lane": "hall", "label": label}], "actuator": "bell", "verb": "ring"}},
    }
    found = [one.split(": ", 1) for one in mistakes(path, json.dumps(cell, indent=1))]
    lines = path.read_text().splitlines()
    return [f"{lines[int(line) - 1].strip().split(':')[0]}: {text}" for line, text in found]


def test_a_lane_that_hears(ear: Path, tmp_path: Path) -> None:
    assert (
        about(tmp_path, {"source": {"driver": "audio.alsa", "device": "plughw:1"}, "model": "ear", "hop_ms": 50}) == []
    )


@pytest.mark.parametrize(
    "lane, label, said",
    [
        (
            {"source": {"driver": "audio.sim"}, "model": "ear"},
            "screem",
            "\"label\": no label of model 'ear' 'screem'; did you mean",
        ),
        ({"source": {"driver": "audio.sim"}, "model": "ear"}, "Screaming", "no label of model 'ear' 'Screaming'"),
        (
            {"source": {"driver": "audio.sim", "rate_hz": 48000}, "model": "ear"},
            "scream",
            "\"rate_hz\": model 'ear' hears at 16000 values a second, not at 48000: 'rate_hz: 16000'",
        ),
        (
            {"source": {"driver": "camera.sim"}, "model": "ear"},
            "scream",
            "\"driver\": model 'ear' hears, and driver 'camera.sim' is no microphone",
        ),
        (
            {"source": {"driver": "audio.sim"}, "model": "arm-deviation"},
            "deviation",
            "\"model\": driver 'audio.sim' is a microphone, and model 'arm-deviation' does not hear",
        ),
        (
            {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation", "hop_ms": 5},
            "deviation",
            "\"hop_ms\": model 'arm-deviation' does not hear, and only such have a hop",
        ),
        ({"source": {"driver": "audio.sim"}, "model": "ear", "hop_ms": 0}, "scream", '"hop_ms"'),
        (
            {"source": {"driver": "audio.sim", "timeout_ms": 300}, "model": "ear", "hop_ms": 480},
            "scream",
            '"timeout_ms": it infers every 480 ms, and its word holds for timeout_ms',
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
def test_mistakes_about_sound(ear: Path, tmp_path: Path, lane: dict[str, Any], label: str, said: str) -> None:
    found = about(tmp_path, lane, label)
    assert len(found) == 1 and said in found[0], found


def test_the_lanes_hop_goes_before_the_models() -> None:
    one: Any = SimpleNamespace(manifest=Manifest.model_validate(MANIFEST))
    package.Package.set_hop(one, None)
    assert one.manifest.sound.hop == 100
    package.Package.set_hop(one, 50)
    assert one.manifest.sound.hop == 800 and one.manifest.sound.length == 400
