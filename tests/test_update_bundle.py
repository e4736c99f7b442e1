"""Bundles of packages: what comes out is what went in, the smallest way wins, and nothing hostile is unpacked."""

from __future__ import annotations

import bz2
import hashlib
import json
import struct
from pathlib import Path

import bsdiff4
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.packages.package import BUNDLED
from agent.update.repository import bundle, deltas
from agent.update.repository.bundle import LENGTH, MAGIC, BundleError
from agent.update.repository.deltas import DeltaError

RANDOM = np.random.default_rng(7)
OLD = RANDOM.integers(0, 256, 60_000, np.uint8).tobytes()


def stepped(data: bytes, share: float) -> bytes:
    """A share of the weights moved by one step, as fine tuning does."""
    weights = np.frombuffer(data, np.uint8).copy()
    weights[RANDOM.random(len(weights)) < share] += 1
    return weights.tobytes()


def made(rows: list[list[object]], payload: bytes = b"") -> bytes:
    index = json.dumps(rows).encode()
    return MAGIC + LENGTH.pack(len(index)) + index + payload


@pytest.mark.parametrize(
    ("new", "how"),
    [
        (OLD, deltas.SAME),
        (stepped(OLD, 0.3), deltas.SUBTRACT),
        (OLD[:30_000] + b"inserted" + OLD[30_000:], deltas.BSDIFF),
        (RANDOM.integers(0, 256, 60_000, np.uint8).tobytes(), deltas.FULL),
        (b"", deltas.FULL),
    ],
)
def test_the_smallest_way_is_chosen_and_gives_the_same_bytes(new: bytes, how: str) -> None:
    packed, _ = bundle.pack({"model": new}, {"model": OLD})
    assert f'"{how}"'.encode() in packed
    assert bundle.unpack(packed, {"model": OLD}, len(new)) == {"model": new}


@settings(max_examples=60, deadline=None)
@given(new=st.binary(max_size=2000), old=st.binary(max_size=2000))
def test_every_way_gives_the_same_bytes(new: bytes, old: bytes) -> None:
    for how, payload in deltas.encode(new, old).items():
        assert deltas.decode(how, payload, old, len(new)) == new


def test_a_bundled_package_survives_with_all_that_its_manifest_names(tmp_path: Path) -> None:
    content = bundle.read_package(BUNDLED / "person-coarse")
    assert sorted(content) == ["CARD.md", "golden.npz", "manifest.yaml", "person-coarse.tflite"]
    packed, _ = bundle.pack(content)
    bundle.write(bundle.unpack(packed, {}, sum(map(len, content.values()))), tmp_path / "copy")
    assert bundle.digest(bundle.read_package(tmp_path / "copy")) == bundle.digest(content)


def test_packing_twice_gives_the_same_bytes() -> None:
    content, base = {"a": OLD, "b": b"text"}, {"a": stepped(OLD, 0.1)}
    assert bundle.pack(content, base)[0] == bundle.pack(dict(reversed(content.items())), base)[0]


def test_against_another_base_the_result_is_refused() -> None:
    packed, _ = bundle.pack({"model": stepped(OLD, 0.1)}, {"model": OLD})
    with pytest.raises(BundleError, match="another sha256"):
        bundle.unpack(packed, {"model": OLD[::-1]}, 1 << 20)


def test_a_zstd_bomb_is_not_unpacked() -> None:
    bomb = zstandard.compress(bytes(1 << 28), 19)
    assert len(bomb) < 20_000
    row = ["model", 1000, hashlib.sha256(b"").hexdigest(), "full", len(bomb)]
    with pytest.raises(BundleError, match="would unpack into more than the 1,000 bytes") as error:
        bundle.unpack(made([row], bomb), {}, 1 << 30)
    assert error.value.bomb


def test_a_bsdiff_bomb_is_not_unpacked() -> None:
    zeros = bz2.compress(bytes(1 << 27))
    patch = struct.pack("<8s3q", b"BSDIFF40", len(zeros), len(zeros), 1000) + zeros * 3
    with pytest.raises(DeltaError, match="would unpack into more than"):
        deltas.decode(deltas.BSDIFF, patch, OLD, 1000)


def test_a_package_larger_than_announced_is_a_bomb() -> None:
    packed, _ = bundle.pack({"model": bytes(100_000)})
    with pytest.raises(BundleError, match="would unpack into 100,000 bytes, 50,000 are expected") as error:
        bundle.unpack(packed, {}, 50_000)
    assert error.value.bomb


HASH = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RXPKG01\n",
        MAGIC + LENGTH.pack(1 << 30),
        MAGIC + LENGTH.pack(3) + b"{}x",
        made([]),
        made([["../escape", 0, HASH, "full", 0]]),
        made([["/etc/passwd", 0, HASH, "full", 0]]),
        made([["", 0, HASH, "full", 0]]),
        made([["a\0b", 0, HASH, "full", 0]]),
        made([["a", 0, HASH, "same", 0], ["a", 0, HASH, "same", 0]]),
        made([["a", -1, HASH, "same", 0]]),
        made([["a", True, HASH, "same", 0]]),
        made([["a", 0, HASH, "same"]]),
        made([["a", 0, HASH, "unknown", 0]]),
        made([["a", 0, HASH, "bsdiff", 0]]),
        made([["a", 0, HASH, "same", 0]], b"more"),
        made([[f"f{number}", 0, HASH, "same", 0] for number in range(200)]),
        made([["a" * 300, 0, HASH, "same", 0]]),
        b"[" * 100_000,
    ],
)
def test_a_damaged_bundle_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError):
        bundle.unpack(content, {}, 1 << 20)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_byte_never_passes_as_another_package(data: st.DataObject) -> None:
    content = {"model": b"weights" * 50, "manifest.yaml": b"version: 1"}
    packed = bytearray(bundle.pack(content, {"model": b"weightz" * 50})[0])
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    try:
        result = bundle.unpack(bytes(packed), {"model": b"weightz" * 50}, 1 << 20)
    except BundleError:
        return
    # A name may have changed: the digest of the whole package, which is signed, differs.
    assert result == content or bundle.digest(result) != bundle.digest(content)


def test_a_damaged_bsdiff_of_the_right_size_is_refused() -> None:
    patch = bsdiff4.diff(OLD, stepped(OLD, 0.1))
    for cut in (10, 40, len(patch) // 2, len(patch) - 1):
        with pytest.raises(DeltaError):
            deltas.decode(deltas.BSDIFF, patch[:cut], OLD, len(OLD))
