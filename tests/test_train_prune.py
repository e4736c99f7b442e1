"""Pruning removes whole channels: the smaller network equals the larger one with these channels set to zero."""

from __future__ import annotations

import numpy as np
import pytest

from models.train.network import Network


@pytest.fixture
def layers(tensorflow):
    from models.train import engine

    engine.make_reproducible(5)
    return tensorflow.keras.layers


def model_of(tensorflow, inputs, outputs):
    """A model with biases and shifts other than zero, so that swapped channels change its output."""
    model = tensorflow.keras.Model(inputs, outputs)
    random = np.random.default_rng(3)
    for layer in model.layers:
        layer.set_weights(
            [
                random.uniform(0.1, 1.0, weight.shape) * random.choice((-1, 1), weight.shape)
                if layer.name[:5] != "batch"
                else random.uniform(0.5, 1.5, weight.shape)
                for weight in layer.get_weights()
            ]
        )
    return model


def zero_removed_channels(model, smaller):
    """Set to zero in `model` every weight of a channel that `smaller` lacks; the kept weights identify them."""
    for layer in model.layers:
        weights = layer.get_weights()
        if not weights or not hasattr(layer, "kernel"):
            continue
        kept = smaller.get_layer(layer.name).get_weights()
        removed = ~np.isin(weights[-1], kept[-1])  # random biases: no value occurs twice
        for weight in weights:
            weight[..., removed] = 0.0
        layer.set_weights(weights)


def multiplications(model):
    """Number of multiplications in convolutions and dense layers, per inference."""
    return sum(
        int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
        for layer in model.layers
        if hasattr(layer, "kernel")
    )


def assert_same(model, smaller, shape):
    inputs = np.random.default_rng(1).normal(0, 1, (5, *shape)).astype(np.float32)
    wanted = model.predict(inputs, verbose=0)
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(smaller.predict(inputs, verbose=0), wanted, rtol=1e-4, atol=1e-4)


def test_the_smaller_network_equals_the_larger_one_without_the_channels(tensorflow, layers):
    from models.train.prune import prune

    picture = layers.Input((16, 16, 3))
    x = layers.ReLU(6.0)(layers.ZeroPadding2D(1)(layers.Conv2D(16, 3)(picture)))
    x = layers.MaxPooling2D()(x)
    x = layers.Dense(24, activation="relu")(layers.Flatten()(x))
    model = model_of(tensorflow, picture, layers.Dense(3)(x))
    smaller = prune(model, 0.5)
    assert [layer.kernel.shape[-1] for layer in smaller.layers if hasattr(layer, "kernel")] == [8, 12, 3]
    zero_removed_channels(model, smaller)
    assert_same(model, smaller, (16, 16, 3))


def test_branches_that_are_added_keep_the_same_channels(tensorflow, layers):
    from models.train.prune import prune

    picture = layers.Input((8, 8, 3))
    first = layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(picture)
    second = layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(first)
    both = layers.Concatenate()([layers.Add()([first, second]), layers.UpSampling2D()(layers.MaxPooling2D()(second))])
    end = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 1, activation="relu", name="third")(both))
    model = model_of(tensorflow, picture, layers.Dense(2)(end))
    smaller = prune(model, 0.5)
    assert smaller.get_layer("third").kernel.shape == (1, 1, 16, 8)
    kept = [
        np.isin(model.get_layer(name).get_weights()[1], smaller.get_layer(name).get_weights()[1])
        for name in ("first", "second")
    ]
    assert np.array_equal(*kept) and kept[0].sum() == 8
    zero_removed_channels(model, smaller)
    assert_same(model, smaller, (8, 8, 3))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent_cells_lose_units(tensorflow, layers, kind):
    from models.train.prune import prune

    make = getattr(layers, kind)
    readings = layers.Input((10, 4))
    last = make(8)(make(16, return_sequences=True)(readings))
    model = model_of(tensorflow, readings, layers.Dense(2)(last))
    smaller = prune(model, 0.5)
    assert [layer.units for layer in smaller.layers if hasattr(layer, "units")] == [8, 4, 2]
    assert smaller.predict(np.ones((1, 10, 4)), verbose=0).shape == (1, 2)


def test_an_lstm_reads_its_kept_units_only(tensorflow, layers):
    from models.train.prune import prune

    readings = layers.Input((6, 2))
    model = model_of(tensorflow, readings, layers.Dense(2)(layers.LSTM(8, name="lstm")(readings)))
    smaller = prune(model, 0.5)
    kernel, recurrent, bias = model.get_layer("lstm").get_weights()
    removed = ~np.isin(bias, smaller.get_layer("lstm").get_weights()[2])
    assert removed.reshape(4, 8).all(axis=0).sum() == removed.reshape(4, 8).any(axis=0).sum() == 4
    kernel[:, removed] = recurrent[:, removed] = bias[removed] = (
        0.0  # candidate tanh(0): the output of such a unit stays 0
    )
    model.get_layer("lstm").set_weights([kernel, recurrent, bias])
    assert_same(model, smaller, (6, 2))


def separable_net(tensorflow, layers):
    picture = layers.Input((24, 24, 3))
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(picture)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    for _ in range(2):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.Conv2D(64, 1, use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(32, 3, depth_multiplier=2, padding="same", activation="relu")(x)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return model_of(tensorflow, picture, layers.Dense(4, activation="softmax")(x))


def test_pruned_int8_is_smaller_and_multiplies_less(tensorflow, layers):
    from models.train import engine
    from models.train.prune import prune

    model = separable_net(tensorflow, layers)
    smaller = prune(model, 0.5)
    assert smaller.count_params() < 0.4 * model.count_params()
    assert multiplications(smaller) < 0.4 * multiplications(model)
    samples = np.random.default_rng(1).normal(0, 1, (20, 24, 24, 3)).astype(np.float32)
    files = [engine.to_int8(network, samples) for network in (model, smaller)]
    assert len(files[1]) < 0.8 * len(files[0])  # the description of the layers does not shrink
    assert Network(files[1])(samples).shape == (20, 4)


def test_keeping_all_channels_makes_a_copy(tensorflow, layers):
    from models.train.prune import prune

    model = separable_net(tensorflow, layers)
    copy = prune(model, 1.0)
    assert_same(model, copy, (24, 24, 3))
    copy.layers[1].set_weights([weight * 0 for weight in copy.layers[1].get_weights()])
    assert model.layers[1].get_weights()[0].any()


def test_a_sequential_model_stays_sequential(tensorflow, layers):
    from models.train.prune import prune

    model = tensorflow.keras.Sequential(
        [
            layers.Input((32, 6)),
            layers.Conv1D(24, 5, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv1D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(48, activation="relu"),
            layers.Dense(4),
        ]
    )
    smaller = prune(model, 0.5)
    assert isinstance(smaller, tensorflow.keras.Sequential)
    assert [layer.kernel.shape[-1] for layer in smaller.layers if hasattr(layer, "kernel")] == [12, 16, 24, 4]
    model.compile("adam", lambda truth, guess: tensorflow.reduce_mean((truth - guess) ** 2, axis=-1))
    assert (
        not prune(model, 0.5).compiled and not prune(tensorflow.keras.Model(model.inputs, model.outputs), 0.5).compiled
    )
    smaller.compile("adam", "mse")
    smaller.fit(np.ones((2, 32, 6)), np.ones((2, 4)), verbose=0)


def test_channels_with_a_small_normalisation_are_removed_first(tensorflow, layers):
    from models.train.prune import prune

    readings = layers.Input((8, 2))
    x = layers.BatchNormalization()(layers.Conv1D(8, 3, use_bias=False, name="conv")(readings))
    model = model_of(tensorflow, readings, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))
    normalise = model.layers[2]
    normalise.set_weights([np.array([0.01, 1.0] * 4), *normalise.get_weights()[1:]])
    kept = prune(model, 0.5).get_layer("conv").get_weights()[0]
    assert np.array_equal(kept, model.get_layer("conv").get_weights()[0][..., 1::2])


def test_a_layer_used_on_two_inputs_is_pruned_once(tensorflow, layers):
    from models.train.prune import prune

    pair = layers.Input((8, 8, 1)), layers.Input((8, 8, 1))
    shared = layers.Conv2D(8, 3, activation="relu")
    difference = layers.Subtract()([shared(pair[0]), shared(pair[1])])
    model = model_of(tensorflow, pair, layers.Dense(1)(layers.Flatten()(difference)))
    smaller = prune(model, 0.5)
    zero_removed_channels(model, smaller)
    inputs = [np.random.default_rng(seed).normal(0, 1, (2, 8, 8, 1)) for seed in (1, 2)]
    np.testing.assert_allclose(
        smaller.predict(inputs, verbose=0), model.predict(inputs, verbose=0), rtol=1e-4, atol=1e-4
    )


def test_a_layer_that_cannot_be_pruned_is_named(tensorflow, layers):
    from models.train.prune import prune

    sizes = layers.Input((4, 4))
    for layer, reason in (
        (layers.LayerNormalization(name="odd"), "not known"),
        (layers.Conv1D(4, 1, groups=2, name="odd"), "groups"),
        (layers.DepthwiseConv1D(1, depth_multiplier=2, name="odd"), "depth_multiplier"),
        (layers.BatchNormalization(axis=1, name="odd"), "axis"),
    ):
        with pytest.raises(ValueError, match=f"layer 'odd' .*{reason}"):
            prune(tensorflow.keras.Model(sizes, layers.Dense(2)(layer(sizes))), 0.5)
    with pytest.raises(ValueError, match="keep"):
        prune(tensorflow.keras.Model(sizes, layers.Dense(2)(sizes)), 0.0)


def test_widths_are_multiples_that_suit_the_kernels(tensorflow):
    from models.train.prune import kept_width

    assert [kept_width(64, keep) for keep in (1.0, 0.7, 0.5, 0.25, 0.01)] == [64, 48, 32, 16, 1]
    assert [kept_width(channels, 0.5) for channels in (1, 3, 6, 10, 24, 48)] == [1, 2, 3, 4, 12, 24]
