"""Does a head fit a backbone: the weights it learnt with, and the tensor between them to the last bit."""

from __future__ import annotations

from math import isclose

import numpy as np

from agent.backends import base
from agent.backends.base import EngineError, Tensor
from agent.decoders import base as decoders
from agent.errors import PackageError
from agent.packages.manifest import Manifest
from agent.packages.package import Package, find, open_package

SAME_SCALE = 1e-5  # of it: a converter computes it again from the ends of the range


def is_backbone(manifest: Manifest) -> bool:
    """Raises decoders.DecoderError."""
    return bool(decoders.load(manifest.decoder).Decoder.is_backbone)


def mismatch(head: Manifest, backbone: Manifest) -> str:
    """Why these manifests are not of a head and its backbone; empty where they are."""
    if head.backbone is None:
        return "it reads no backbone, and only models with a section 'backbone' are heads"
    if head.backbone.sha256 != backbone.checksum:
        return (
            f"backbone.sha256 is {head.backbone.sha256[:16]}..., that of the lane's model {backbone.checksum[:16]}...:"
            " a head fits only the weights it learnt with; install the two that belong together"
        )
    return ""


def output_of(backbone: Package, head: Package) -> int:
    """Number of the backbone's output that is the head's input. Raises PackageError unless it is the same tensor."""
    if reason := mismatch(head.manifest, backbone.manifest):
        raise PackageError(f"{head.folder}/manifest.yaml: {reason}")
    assert head.manifest.backbone
    outputs, wanted = backbone.network.outputs, head.manifest.backbone.output
    try:
        names = [[tensor.name, tensor.signature] for tensor in outputs]
        number = base.choose(names, [wanted])[0] if wanted else 0
    except EngineError as error:
        raise PackageError(f"{head.folder}/manifest.yaml: backbone.output: {error}") from error
    given, read = outputs[number], head.network.inputs[0]
    if not _same(given, read):
        raise PackageError(
            f"{head.folder}: the model reads {_described(read)}, its backbone {backbone.name} gives"
            f" {_described(given)}: convert it with the shape, type and scale of that output, and run both on the same"
            " engine"
        )
    return number


def _same(given: Tensor, read: Tensor) -> bool:
    """A scale that differs would shift every value, and no golden output would show it."""
    types = np.dtype(given.dtype) == np.dtype(read.dtype) and given.zero_point == read.zero_point
    return given.shape == read.shape and types and isclose(given.scale, read.scale, rel_tol=SAME_SCALE)


def _described(tensor: Tensor) -> str:
    return f"{tensor} (scale {tensor.scale:g}, zero point {tensor.zero_point})" if tensor.scale else str(tensor)


def verify(head: Package) -> None:
    """Against its backbone as the manifest names it; nothing for a model that is no head. Raises PackageError."""
    if head.manifest.backbone:
        output_of(open_package(find(head.manifest.backbone.model, head.folder.parent)), head)
