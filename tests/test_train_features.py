"""agent/prepare/features.py against tf.signal, whose recipe it is: log-mel and MFCC of random sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent.packages.manifest import SoundFeatures
from agent.prepare.features import Spectra

tf: Any = pytest.importorskip(
    "tensorflow", reason="tensorflow is not installed: pip install 'reflexd[train]' in its own venv"
)


@pytest.mark.parametrize(
    ("rate_hz", "options"),
    [
        (16_000, {"frame": 480, "step": 320, "bands": 40, "low_hz": 20, "high_hz": 4000, "coefficients": 10}),
        (16_000, {"frame": 400, "step": 160, "bands": 64, "low_hz": 125, "high_hz": 7500, "floor": 0.001}),
        (44_100, {"frame": 1024, "step": 512, "bands": 20, "low_hz": 0, "high_hz": 22_050, "coefficients": 20}),
    ],
)
def test_features_are_those_of_tf_signal(rate_hz: int, options: dict[str, Any]) -> None:
    features = SoundFeatures.model_validate(options)
    sound = np.random.default_rng(0).normal(0, 0.3, 2 * rate_hz // 3).astype(np.float32)
    spectrum = tf.abs(tf.signal.stft(sound, features.frame, features.step, window_fn=tf.signal.hann_window))
    weights = tf.signal.linear_to_mel_weight_matrix(
        features.bands, spectrum.shape[-1], rate_hz, features.low_hz, features.high_hz
    )
    expected = tf.math.log(tf.matmul(spectrum, weights) + features.floor)
    if features.coefficients:
        expected = tf.signal.mfccs_from_log_mel_spectrograms(expected)[..., : features.coefficients]
    mine = Spectra(features, rate_hz)(sound)
    assert mine.shape == expected.shape == features.shape(len(sound))
    assert np.abs(mine - expected.numpy()).max() < 1e-2
