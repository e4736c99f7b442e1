"""Spectra of sound by librosa's recipe: the same as librosa's own (tests/data/mel/README.md), and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent.backends.base import Tensor
from agent.packages.manifest import SoundFeatures, SoundInput
from agent.prepare.features import FeatureSound, Spectra, slaney_matrix
from tests.shared import ROOT

GOLDEN = np.load(ROOT / "tests/data/mel/librosa.npz")
EPSILON = 2.220446049250313e-16  # sys.float_info.epsilon: -156.5 dB
BASE: dict[str, Any] = {"mel": "slaney", "log": "db", "floor": EPSILON}
DCASE = BASE | {"frame": 1024, "step": 512, "bands": 128, "power": 2, "low_hz": 0, "high_hz": 8000}
OTHER = BASE | {"frame": 512, "step": 200, "bands": 40, "power": 1, "low_hz": 60, "high_hz": 7000}


@pytest.mark.parametrize(("name", "recipe", "rate_hz"), [("dcase", DCASE, 16_000), ("other", OTHER, 22_050)])
def test_spectra_are_those_of_librosa(name: str, recipe: dict[str, Any], rate_hz: int) -> None:
    computed = Spectra(SoundFeatures.model_validate(recipe), rate_hz)(GOLDEN["sound"])
    expected = GOLDEN[name]
    assert computed.shape == expected.shape and expected.min() < -150 and expected.max() > -5
    # A thousandth of the model's step of 0.39 dB, where there is sound; zeros have no level
    assert np.abs(computed - expected).max() < 0.002


def test_each_key_of_the_recipe_matters() -> None:
    expected = GOLDEN["dcase"]
    for key, value in (("mel", "htk"), ("power", 1), ("log", "ln"), ("floor", 1e-6)):
        computed = Spectra(SoundFeatures.model_validate(DCASE | {key: value}), 16_000)(GOLDEN["sound"])
        assert np.abs(computed - expected).max() > 3, key


def test_triangles_have_the_area_one() -> None:
    """Where the bins are dense enough to measure it."""
    matrix = slaney_matrix(40_001, 16_000, 40, 0, 8000)
    assert matrix.sum(axis=0) * 0.2 == pytest.approx(np.ones(40), abs=1e-3)


def test_five_frames_of_128_bands_are_the_input_of_the_machine_sound_model() -> None:
    sound = SoundInput.model_validate({"rate_hz": 16_000, "length": 3072, "hop": 512, "features": DCASE})
    assert sound.features and (1, 640) in sound.shapes
    view = np.zeros((1, 640), np.float32)
    preparation = FeatureSound(sound, sound.features, Tensor("input", view.shape, np.float32), 16_000)
    assert preparation(GOLDEN["sound"][: 1024 + 4 * 512], view)
    assert np.abs(view - GOLDEN["dcase"][:5].reshape(1, 640)).max() < 0.002  # frame after frame, its bands together


@pytest.mark.parametrize("change", [{"mel": "bark"}, {"power": 3}, {"log": "log2"}])
def test_another_recipe_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SoundFeatures.model_validate(DCASE | change)
