"""Structured pruning: whole channels go, so what is left is an ordinary smaller network, faster on any kernel.

Which ones: those whose filter has the smallest L1 norm (Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient
ConvNets, ICLR 2017), with the batch normalisation that follows folded in, as the converter will fold it. All layers lose the
same share at once; train the result again with the function that trained the original.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

from agent.data import Array

Space = tuple[int, ...]  # what the last axis of a tensor is made of: groups of channels, one after the other


def _named(*names: str) -> set[type]:
    return {getattr(tf.keras.layers, name) for name in names}


CONVOLUTIONS = _named("Conv1D", "Conv2D")
DEPTHWISE = _named("DepthwiseConv1D", "DepthwiseConv2D")
SEPARABLE = _named("SeparableConv1D", "SeparableConv2D")
RECURRENT = _named("LSTM", "GRU", "SimpleRNN")
MAKERS = CONVOLUTIONS | SEPARABLE | RECURRENT | _named("Dense")  # their output's channels are their own
THROUGH = _named(
    "BatchNormalization",
    "ReLU",
    "LeakyReLU",
    "Activation",
    "Softmax",
    "Rescaling",
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "GaussianNoise",
    "MaxPooling1D",
    "MaxPooling2D",
    "AveragePooling1D",
    "AveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "UpSampling1D",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "Cropping1D",
    "Cropping2D",
)
TIES = _named("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
KNOWN = MAKERS | DEPTHWISE | THROUGH | TIES | _named("InputLayer", "Flatten", "Concatenate")


class Groups:
    """Channels that are kept or dropped together: of one layer, or of all that are added to each other."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.norms: list[Array] = []
        self.whole: list[bool] = []  # no channel may go

    def new(self, norms: Array, whole: bool = False) -> int:
        self.parents.append(len(self.parents))
        self.norms.append(norms)
        self.whole.append(whole)
        return len(self.parents) - 1

    def root(self, group: int) -> int:
        while self.parents[group] != group:
            group = self.parents[group]
        return group

    def tie(self, one: Space, other: Space) -> None:
        """From now on channel i of one is channel i of the other."""
        if [len(self.norms[group]) for group in one] != [len(self.norms[group]) for group in other]:
            self.freeze(one + other)
            return
        for a, b in zip(map(self.root, one), map(self.root, other)):
            if a != b:
                self.parents[b] = a
                self.norms[a] = self.norms[a] + self.norms[b]
                self.whole[a] |= self.whole[b]

    def freeze(self, space: Space) -> None:
        for group in space:
            self.whole[self.root(group)] = True

    def kept(self, space: Space, keep: float) -> Array:
        """Which channels of a tensor stay, int [k]."""
        parts, start = [], 0
        for group in map(self.root, space):
            norms = self.norms[group]
            count = len(norms) if self.whole[group] else width(len(norms), keep)
            parts.append(start + np.sort(np.argsort(-norms, kind="stable")[:count]))
            start += len(norms)
        return np.concatenate(parts)


def slim(model: tf.keras.Model, keep: float) -> tf.keras.Model:
    """An uncompiled, smaller copy: of every hidden layer the share `keep` of channels with the largest norm, weights copied.

    Takes Sequential and functional models of KNOWN layers, channels last. The outputs keep their width. What is added keeps
    the same channels in all its branches. Raises ValueError that names a layer which it cannot prune.
    """
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep is the share of channels that stay, above 0 and at most 1, not {keep}")
    groups, ways = Groups(), dict[str, tuple[Space, Space]]()
    for output in model.outputs:
        groups.freeze(_follow(output, groups, ways, {}))
    indices = {name: tuple(groups.kept(space, keep) for space in way) for name, way in ways.items()}
    smaller = _rebuilt(model, lambda layer: _resized(layer, indices[layer.name][1]))
    for layer in model.layers:
        if layer.weights:
            smaller.get_layer(layer.name).set_weights(_cut(layer, *indices[layer.name]))
    return smaller


def width(channels: int, keep: float) -> int:
    """Multiples of 8, or of 4 where there are few: INT8 kernels work on so many channels at a time."""
    wanted = channels * keep
    step = 8 if wanted >= 16 else 4 if wanted >= 4 else 1
    return channels if keep == 1.0 else min(channels, max(1, round(wanted / step)) * step)


def _follow(tensor: Any, groups: Groups, ways: dict[str, tuple[Space, Space]], seen: dict[int, Space]) -> Space:
    """The space of a tensor, found from the inputs on; `ways` gets what goes into and comes out of each layer."""
    if id(tensor) not in seen:
        layer, node, _ = tensor._keras_history
        sources = layer._inbound_nodes[node].input_tensors
        _check(layer, sources)
        before = [_follow(source, groups, ways, seen) for source in sources]
        if layer.name in ways and type(layer) in MAKERS | DEPTHWISE | _named(
            "BatchNormalization"
        ):  # one layer, used twice
            groups.tie(ways[layer.name][0], before[0])
            seen[id(tensor)] = ways[layer.name][1]
        else:
            shape = sources[0].shape if sources else tensor.shape
            seen[id(tensor)] = out = _passed(layer, before, shape, groups)
            ways[layer.name] = before[0] if before else out, out
    return seen[id(tensor)]


def _check(layer: Any, sources: list[Any]) -> None:
    """Raises ValueError."""
    kind = type(layer)
    reason = ""
    if kind not in KNOWN:
        reason = "this kind of layer is not known here"
    elif getattr(layer, "data_format", None) == "channels_first":
        reason = "its channels come first; they must come last"
    elif getattr(layer, "groups", 1) != 1:
        reason = "it has groups"
    elif kind in DEPTHWISE and layer.depth_multiplier != 1:
        reason = "its depth_multiplier is not 1"
    elif kind in _named("BatchNormalization") and layer.axis not in (-1, len(sources[0].shape) - 1):
        reason = "its axis is not the last"
    elif kind in RECURRENT and len(sources) > 1:
        reason = "its first state is an input"
    if reason:
        raise ValueError(f"cannot prune layer '{layer.name}' ({kind.__name__}): {reason}")


def _passed(layer: Any, before: list[Space], shape: tuple[int, ...], groups: Groups) -> Space:
    """What a layer makes of what goes in. shape: of its first input (an input layer's own)."""
    kind = type(layer)
    if kind in MAKERS:
        return (groups.new(norms(layer)),)
    if kind in _named("InputLayer"):
        return (groups.new(np.zeros(shape[-1]), whole=True),)
    if kind in _named("Flatten"):
        return before[0] * prod(shape[1:-1])
    if kind in _named("Concatenate") and layer.axis in (-1, len(shape) - 1):
        return sum(before, ())
    for other in before[1:]:
        groups.tie(before[0], other)
    return max(before, key=lambda space: sum(len(groups.norms[group]) for group in space))  # others are broadcast


def norms(layer: Any) -> Array:
    """L1 norm of each output channel's weights, float [channels]."""
    if type(layer) in RECURRENT:
        sizes = sum(np.abs(weight).sum(axis=0) for weight in layer.get_weights()[:2])  # of input and recurrent kernel
        return np.asarray(sizes.reshape(-1, layer.units).sum(axis=0))  # over the gates
    weights = layer.get_weights()[1 if type(layer) in SEPARABLE else 0]
    return np.asarray(np.abs(weights).reshape(-1, weights.shape[-1]).sum(axis=0) * _gain(layer))


def _gain(layer: Any) -> Array | float:
    """By what the batch normalisation right behind it multiplies each channel."""
    for node in layer._outbound_nodes:
        after = node.operation
        if type(after) in _named("BatchNormalization"):
            scale = np.abs(after.gamma.numpy()) if after.scale else 1.0
            return np.asarray(scale / np.sqrt(after.moving_variance.numpy() + after.epsilon))
    return 1.0


def _rebuilt(model: tf.keras.Model, change: Callable[[Any], Any]) -> tf.keras.Model:
    """The same graph of changed layers. Keras's clone of a compiled model would be compiled, and needs its loss by name."""
    if isinstance(model, tf.keras.Sequential):
        return tf.keras.Sequential([tf.keras.Input(model.input_shape[1:]), *map(change, model.layers)])
    return tf.keras.models.clone_model(tf.keras.Model(model.inputs, model.outputs), clone_function=change)


def _resized(layer: Any, out: Array) -> Any:
    """A new layer that gives so many channels."""
    facts = layer.get_config()
    for key in {"filters", "units"} & facts.keys():
        facts[key] = len(out)
    return type(layer).from_config(facts)


def _cut(layer: Any, into: Array, out: Array) -> list[Array]:
    """The layer's weights for the channels that stay. into, out: their numbers."""
    kind, weights = type(layer), layer.get_weights()
    if kind in CONVOLUTIONS or kind in _named("Dense"):
        return [weights[0][..., into, :][..., out], *(bias[out] for bias in weights[1:])]
    if kind in DEPTHWISE:
        return [weights[0][..., into, :], *(bias[out] for bias in weights[1:])]
    if kind in SEPARABLE:
        each = layer.depth_multiplier
        middle = (into[:, None] * each + np.arange(each)).reshape(-1)
        return [weights[0][..., into, :], weights[1][..., middle, :][..., out], *(bias[out] for bias in weights[2:])]
    if kind in RECURRENT:
        gates = weights[0].shape[1] // layer.units
        columns = (np.arange(gates)[:, None] * layer.units + out).reshape(-1)
        return [
            weights[0][into][:, columns],
            weights[1][out][:, columns],
            *(bias[..., columns] for bias in weights[2:]),
        ]
    return [weight[out] for weight in weights]  # batch normalisation
