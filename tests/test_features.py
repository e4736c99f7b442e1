"""Spectra of sound: the recipe against plain formulas, its bounds, and a public model that hears a real word.

Against tf.signal itself: test_train_features.py.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from agent.backends.base import Tensor
from agent.data import Array
from agent.errors import PackageError
from agent.packages import package
from agent.packages.checksums import digest
from agent.packages.manifest import SoundFeatures, SoundInput
from agent.prepare.features import FeatureSound, Spectra, dct_matrix, hann, mel_matrix
from drivers.base import DeviceFault
from tests.shared import PUBLIC, needs_recordings

MFCC = {"frame": 480, "step": 320, "bands": 40, "low_hz": 20, "high_hz": 4000, "coefficients": 10}
WORDS = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown"]
REAL = Tensor("features", (1, 49, 10, 1), np.float32)


def features(**changes: Any) -> SoundFeatures:
    return SoundFeatures.model_validate({**MFCC, **changes})


def section(**changes: Any) -> SoundInput:
    return SoundInput.model_validate({"rate_hz": 16_000, "length": 16_000, "hop": 1600, **changes})


def tone(hz: float, count: int = 16_000) -> Array:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(count) / 16_000)).astype(np.float32)


def test_a_tone_is_in_the_band_of_its_frequency() -> None:
    """Edges of the bands on the HTK scale, by hand: 2595 log10(1 + f / 700)."""
    spectra = Spectra(features(coefficients=0), 16_000)
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([20, 4000]) / 700)), 42) / 2595) - 1)
    for band in (5, 15, 30, 39):
        energy = spectra(tone(float(edges[band + 1]))).mean(axis=0)
        assert abs(int(energy.argmax()) - band) <= 1 and energy.max() - np.median(energy) > 2


def test_the_parts_of_the_recipe() -> None:
    assert hann(480)[0] == 0 and hann(480)[240] == 1 and np.allclose(hann(480)[1:], hann(480)[:0:-1])
    weights = mel_matrix(257, 16_000, 40, 20, 4000)
    assert weights.shape == (257, 40) and weights.min() == 0 and weights.max() <= 1
    assert not weights[0].any() and not weights[129:].any()  # no constant part, nothing above 4 kHz
    cosines = dct_matrix(40, 40)
    product = cosines.T @ cosines
    assert np.allclose(product[1:, 1:], np.eye(39), atol=1e-5) and product[0, 0] == pytest.approx(2.0)


def test_the_shape_follows_from_frames_and_width() -> None:
    assert Spectra(features(), 16_000)(tone(440)).shape == features().shape(16_000) == (49, 10)
    assert section(features=MFCC).shapes == [(1, 49, 10), (1, 49, 10, 1), (1, 490)]


def test_loudness_does_not_matter_where_the_peak_is_taken_out() -> None:
    spectra = Spectra(features(peak=True), 16_000)
    assert np.allclose(spectra(tone(440)), spectra(tone(440) / 50), atol=1e-3)
    assert np.isfinite(spectra(np.zeros(16_000, np.float32))).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_stored_values_are_rounded_and_clipped(dtype: type[np.generic]) -> None:
    exact, view = np.zeros((1, 49, 10, 1), np.float32), np.zeros((1, 49, 10, 1), dtype)
    tensor = Tensor("features", view.shape, dtype, 0.05, 3)
    limits = np.iinfo(dtype)  # type: ignore[type-var]  # one of the two above
    for target, kind in ((exact, REAL), (view, tensor)):
        assert FeatureSound(section(), features(), kind, 16_000)(tone(440), target)
    assert np.abs(exact).max() / 0.05 > limits.max  # some are clipped
    assert np.array_equal(view, np.clip(np.rint(exact / np.float32(0.05) + 3), limits.min, limits.max).astype(dtype))


def test_features_are_of_the_newest_window_at_each_hop() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    preparation, view = FeatureSound(section(), features(), REAL, 16_000), np.zeros((1, 49, 10, 1), np.float32)
    due = [preparation(sound[at : at + 700], view) and at + 700 for at in range(0, 23_800, 700)]
    ends = [end for end in due if end]
    assert ends[0] == 16_100 and len(ends) == 5
    newest = sound[ends[-1] - 16_000 : ends[-1]]
    assert np.allclose(view[0, :, :, 0], Spectra(features(), 16_000)(newest), atol=1e-5)


def test_a_value_that_is_no_number_is_a_fault() -> None:
    sound = tone(440)
    sound[5] = np.nan
    with pytest.raises(DeviceFault, match="not a number"):
        FeatureSound(section(), features(), REAL, 16_000)(sound, np.zeros((1, 49, 10, 1), np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low_hz": 5000}, "low_hz must be below high_hz"),
        ({"coefficients": 41}, "no more coefficients than bands"),
        ({"high_hz": 9000}, "above half of rate_hz: 8000"),
        ({"frame": 20_000}, "longer than the window"),
        ({"frame": 1 << 20}, "less than or equal to 65536"),
    ],
)
def test_features_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        section(features={**MFCC, **changes})


def _package(folder: Path, **changes: Any) -> Path:
    """The reference model of MLPerf Tiny for twelve words, as it was trained."""
    model = PUBLIC / "kws_ref_model.tflite"
    folder.mkdir()
    (folder / model.name).write_bytes(model.read_bytes())
    sound = {"rate_hz": 16_000, "length": 16_000, "hop": 1600, "features": {**MFCC, "peak": True, **changes}}
    manifest: dict[str, Any] = {"version": "1", "licence": "Apache-2.0", "file": model.name, "sha256": digest(model)}
    YAML(typ="safe").dump(
        {**manifest, "decoder": "classify", "sound": sound, "labels": WORDS}, folder / "manifest.yaml"
    )
    return folder


@needs_recordings
def test_a_public_model_hears_a_real_word(tmp_path: Path) -> None:
    opened = package.open_package(_package(tmp_path / "words"))
    assert opened.manifest.sound and opened.manifest.sound.features
    with wave.open(str(PUBLIC / "yes_1000ms.wav")) as file:
        sound = np.frombuffer(file.readframes(16_000), np.int16).astype(np.float32) / 32_768
    for quieter in (1, 20):
        preparation = FeatureSound(
            opened.manifest.sound, opened.manifest.sound.features, opened.engine.inputs[0], 16_000
        )
        assert preparation(sound / quieter, opened.engine.input(0))
        (finding, *_) = opened.infer()
        assert finding.label == "yes" and finding.score > 0.9


@needs_recordings
def test_features_of_another_shape_than_the_model_reads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"sound makes an input \(1, 49, 12\), the model takes \(1, 49, 10, 1\)"):
        package.open_package(_package(tmp_path / "words", coefficients=12))
