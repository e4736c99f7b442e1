"""Training tools: intervals, packages, INT8."""

from __future__ import annotations

import numpy as np
import pytest

from models.train import card
from models.train.network import Network
from models.train.pack import GOLDEN, pack, yaml


def test_intervals_are_valid_near_0_and_1():
    assert card.wilson(0, 0) == (0.0, 1.0)
    low, high = card.wilson(100, 100)
    assert 0.95 < low < 0.97
    assert high == pytest.approx(1.0)
    assert card.rate_bound(0, 2.0) == pytest.approx(1.5, abs=0.05)
    assert card.rate_bound(3, 1.0) == pytest.approx(7.75, abs=0.1)


def test_a_package_can_be_read_back(tmp_path):
    package = pytest.importorskip("agent.packages.package")
    facts = {
        "version": "1.0.0",
        "decoder": "sequence",
        "labels": ["normal", "off"],
        "budget_ms": 2.0,
        "data": 'none: a "test"',
        "window": {"channels": ["a"], "length": 4, "hop": 1, "mean": [0.0], "std": [1.5]},
    }
    pack(tmp_path / "tiny", b"model", facts, np.zeros((GOLDEN, 4, 1), np.int8), np.zeros((GOLDEN, 2), np.int8))
    manifest = package.read(tmp_path / "tiny")
    assert manifest.data == 'none: a "test"'
    assert manifest.window.std == [1.5]
    assert package.verify_files(tmp_path / "tiny", manifest).read_bytes() == b"model"
    assert np.load(tmp_path / "tiny" / "golden.npz")["input_0"].shape == (GOLDEN, 4, 1)


def test_a_package_keeps_the_licence_of_its_facts(tmp_path):
    package = pytest.importorskip("agent.packages.package")
    facts = {"version": "2.0.0", "licence": "MIT", "decoder": "classify", "labels": ["a"], "picture": {"std": 255.0}}
    pack(tmp_path / "tiny", b"model", facts, np.zeros((GOLDEN, 4)), np.zeros((GOLDEN, 1)))
    manifest = package.read(tmp_path / "tiny")
    assert (manifest.licence, manifest.version) == ("MIT", "2.0.0")


@pytest.mark.parametrize(
    "sizes, correct, ms, text",
    [
        ((1000, 400), (95, 93), (2.0, 1.0), "60.0 % smaller and loses 2.00 points: met."),
        ((1000, 401), (95, 95), (2.0, 1.0), "59.9 % smaller and loses 0.00 points: not met."),
        ((1000, 100), (95, 92), (1.0, 1.0), "loses 3.00 points: not met."),
        ((1000, 100), (95, 97), (1.0, 1.1), "gains 2.00 points: met. On this machine INT8 is slower than float."),
    ],
)
def test_the_cost_of_int8_is_reported(sizes, correct, ms, text):
    assert card.int8_tradeoff(sizes, correct, 100, ms).endswith(text)


def test_a_card_contains_the_command_that_made_it(tmp_path, capsys):
    card.write(tmp_path, "What it is.", {"Data": "Mine."}, made_by="me", echo=False)
    assert (
        tmp_path / "CARD.md"
    ).read_text() == f"# {tmp_path.name}\n\nWhat it is.\n\n## Data\nMine.\n\nMade by `me`.\n"
    assert not capsys.readouterr().out
    card.write(tmp_path, "What it is.", {"Data": "Mine."})
    assert f"python -m models.train {tmp_path.name}" in capsys.readouterr().out


def test_yaml_indents_nested_mappings():
    assert yaml({"a": 1, "b": {"c": [1.5, "x"]}}) == 'a: 1\nb:\n  c: [1.5, "x"]\n'


def test_a_tiny_network_stays_accurate_in_int8(tensorflow, capsys):
    from models.train import engine

    engine.make_reproducible(1)
    random = np.random.default_rng(1)
    inputs = random.uniform(-1, 1, (600, 8, 2)).astype(np.float32)
    truth = (inputs[:, -1, 0] > 0).astype(int)
    layers = tensorflow.keras.layers
    model = tensorflow.keras.Sequential([layers.Input((8, 2)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    model.compile(tensorflow.keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
    model.fit(inputs, truth, 64, 10, verbose=0)
    for content in (engine.to_float(model), engine.to_int8(model, inputs)):
        network = Network(content)
        assert (network(inputs).argmax(axis=1) == truth).mean() > 0.95
    assert network.quantised(inputs).dtype == np.int8
    assert not capsys.readouterr().out  # stdout is for figures, also as JSON
