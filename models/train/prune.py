"""Structured pruning: whole channels are removed, so the result is an ordinary smaller network, faster on any kernel.

The channels whose filters have the smallest L1 norm are removed (Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters
for Efficient ConvNets, ICLR 2017), with the batch normalisation that follows folded in, as the converter will fold it.
All layers lose the same share at once; train the result again with the function that trained the original.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

from agent.data import Array
from models.train.engine import KerasModel

Space = tuple[int, ...]  # the last axis of a tensor: groups of channels, one after the other


def _named(*names: str) -> set[type]:
    return {getattr(tf.keras.layers, name) for name in names}


CONVOLUTIONS = _named("Conv1D", "Conv2D")
DEPTHWISE = _named("DepthwiseConv1D", "DepthwiseConv2D")
SEPARABLE = _named("SeparableConv1D", "SeparableConv2D")
RECURRENT = _named("LSTM", "GRU", "SimpleRNN")
PRODUCERS = CONVOLUTIONS | SEPARABLE | RECURRENT | _named("Dense")  # they define the channels of their output
SPATIAL = ("SpatialDropout", "MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling")
RESIZING = ("UpSampling", "ZeroPadding", "Cropping")
PASS_THROUGH = _named("BatchNormalization", "ReLU", "LeakyReLU", "Activation", "Softmax", "Rescaling", "Dropout")
PASS_THROUGH |= _named("GaussianNoise", *(f"{name}{axes}D" for name in SPATIAL + RESIZING for axes in (1, 2)))
ELEMENTWISE = _named("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
SHARED_WEIGHTS = PRODUCERS | DEPTHWISE | _named("BatchNormalization")  # per channel: both uses keep the same channels
KNOWN = PRODUCERS | DEPTHWISE | PASS_THROUGH | ELEMENTWISE | _named("InputLayer", "Flatten", "Concatenate")


class Groups:
    """Channels that are kept or removed together: of one layer, or of all layers whose outputs are added."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.norms: list[Array] = []
        self.whole: list[bool] = []  # no channel may be removed

    def new(self, norms: Array, whole: bool = False) -> int:
        self.parents.append(len(self.parents))
        self.norms.append(norms)
        self.whole.append(whole)
        return len(self.parents) - 1

    def root(self, group: int) -> int:
        while self.parents[group] != group:
            group = self.parents[group]
        return group

    def tie(self, left: Space, right: Space) -> None:
        """From now on keep or remove channel i of both spaces together."""
        if [len(self.norms[group]) for group in left] != [len(self.norms[group]) for group in right]:
            self.freeze(left + right)
            return
        for a, b in zip(map(self.root, left), map(self.root, right)):
            if a != b:
                self.parents[b] = a
                self.norms[a] = self.norms[a] + self.norms[b]
                self.whole[a] |= self.whole[b]

    def freeze(self, space: Space) -> None:
        """Keep all channels of the space."""
        for group in space:
            self.whole[self.root(group)] = True

    def kept(self, space: Space, keep: float) -> Array:
        """Indices of the channels of a tensor that stay, int [k]."""
        parts, start = [], 0
        for group in map(self.root, space):
            norms = self.norms[group]
            count = len(norms) if self.whole[group] else kept_width(len(norms), keep)
            parts.append(start + np.sort(np.argsort(-norms, kind="stable")[:count]))
            start += len(norms)
        return np.concatenate(parts)


def prune(model: KerasModel, keep: float) -> KerasModel:
    """An uncompiled, smaller copy that keeps in every hidden layer the share `keep` of channels with the largest norm.

    Weights are copied. For Sequential and functional models of KNOWN layers, channels last. Outputs keep their width.
    Branches that are added keep the same channels. Raises ValueError that names the layer which cannot be pruned.
    """
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep is the share of channels that stay, above 0 and at most 1, not {keep}")
    groups, spaces = Groups(), dict[str, tuple[Space, Space]]()
    for output in model.outputs:
        groups.freeze(_follow(output, groups, spaces, {}))
    indices = {name: (groups.kept(into, keep), groups.kept(out, keep)) for name, (into, out) in spaces.items()}
    smaller = _rebuilt(model, lambda layer: _resized(layer, indices[layer.name][1]))
    for layer in model.layers:
        if layer.weights:
            smaller.get_layer(layer.name).set_weights(_cut(layer, *indices[layer.name]))
    return smaller


def kept_width(channels: int, keep: float) -> int:
    """A multiple of 8, or of 4 where there are few: INT8 kernels process that many channels at a time."""
    wanted = channels * keep
    step = 8 if wanted >= 16 else 4 if wanted >= 4 else 1
    return channels if keep == 1.0 else min(channels, max(1, round(wanted / step)) * step)


def _follow(tensor: Any, groups: Groups, spaces: dict[str, tuple[Space, Space]], known: dict[int, Space]) -> Space:
    """The space of a tensor, derived from the inputs on; `spaces` gets the input and output space of each layer."""
    if id(tensor) not in known:
        layer, node, _ = tensor._keras_history
        sources = layer._inbound_nodes[node].input_tensors
        _check(layer, sources)
        before = [_follow(source, groups, spaces, known) for source in sources]
        if layer.name in spaces and type(layer) in SHARED_WEIGHTS:  # one layer, used twice
            groups.tie(spaces[layer.name][0], before[0])
            known[id(tensor)] = spaces[layer.name][1]
        else:
            shape = sources[0].shape if sources else tensor.shape
            known[id(tensor)] = out = _output_space(layer, before, shape, groups)
            spaces[layer.name] = before[0] if before else out, out
    return known[id(tensor)]


def _check(layer: Any, sources: list[Any]) -> None:
    """Raise ValueError if the layer cannot be pruned."""
    kind = type(layer)
    reason = ""
    if kind not in KNOWN:
        reason = "layers of this type are not known here"
    elif getattr(layer, "data_format", None) == "channels_first":
        reason = "its channels come first; they must come last"
    elif getattr(layer, "groups", 1) != 1:
        reason = "it has groups"
    elif kind in DEPTHWISE and layer.depth_multiplier != 1:
        reason = "its depth_multiplier is not 1"
    elif kind in _named("BatchNormalization") and layer.axis not in (-1, len(sources[0].shape) - 1):
        reason = "its axis is not the last"
    elif kind in RECURRENT and len(sources) > 1:
        reason = "its initial state is an input"
    if reason:
        raise ValueError(f"cannot prune layer '{layer.name}' ({kind.__name__}): {reason}")


def _output_space(layer: Any, before: list[Space], shape: tuple[int, ...], groups: Groups) -> Space:
    """The space of a layer's output. before: of its inputs; shape: of its first input (of an input layer: its own)."""
    kind = type(layer)
    if kind in PRODUCERS:
        return (groups.new(_norms(layer)),)
    if kind in _named("InputLayer"):
        return (groups.new(np.zeros(shape[-1]), whole=True),)
    if kind in _named("Flatten"):
        return before[0] * prod(shape[1:-1])
    if kind in _named("Concatenate") and layer.axis in (-1, len(shape) - 1):
        return sum(before, ())
    for other in before[1:]:
        groups.tie(before[0], other)
    return max(before, key=lambda space: sum(len(groups.norms[group]) for group in space))  # the others are broadcast


def _norms(layer: Any) -> Array:
    """L1 norm of each output channel's weights, float [channels]."""
    if type(layer) in RECURRENT:
        sizes = sum(np.abs(weight).sum(axis=0) for weight in layer.get_weights()[:2])  # of input and recurrent kernel
        return np.asarray(sizes.reshape(-1, layer.units).sum(axis=0))  # over the gates
    weights = layer.get_weights()[1 if type(layer) in SEPARABLE else 0]
    return np.asarray(np.abs(weights).reshape(-1, weights.shape[-1]).sum(axis=0) * _gain(layer))


def _gain(layer: Any) -> Array | float:
    """The factor of each channel in the batch normalisation that follows the layer."""
    for node in layer._outbound_nodes:
        after = node.operation
        if type(after) in _named("BatchNormalization"):
            scale = np.abs(after.gamma.numpy()) if after.scale else 1.0
            return np.asarray(scale / np.sqrt(after.moving_variance.numpy() + after.epsilon))
    return 1.0


def _rebuilt(model: KerasModel, change: Callable[[Any], Any]) -> KerasModel:
    """The same graph with changed layers. A clone by Keras of a compiled model is compiled, too, and needs the loss."""
    if isinstance(model, tf.keras.Sequential):
        return tf.keras.Sequential([tf.keras.Input(model.input_shape[1:]), *map(change, model.layers)])
    return tf.keras.models.clone_model(tf.keras.Model(model.inputs, model.outputs), clone_function=change)


def _resized(layer: Any, out: Array) -> Any:
    """A new layer with len(out) output channels."""
    facts = layer.get_config()
    for key in {"filters", "units"} & facts.keys():
        facts[key] = len(out)
    return type(layer).from_config(facts)


def _cut(layer: Any, into: Array, out: Array) -> list[Array]:
    """The layer's weights for the channels that stay. into, out: indices of input and output channels."""
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
