"""Tensors for another box: the error stays below its target, and foreign bytes are refused within bounds."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent import compression
from agent.compression import CompressionError, pack, unpack
from agent.data import Array

RANDOM = np.random.default_rng(1)
BELL = RANDOM.normal(0.5, 2.0, (14, 14, 192)).astype(np.float32)


def error(values: Array, target: float) -> float:
    """rms of what is lost, by the rms of the values."""
    wide = values.astype(np.float64)
    return float(np.sqrt(np.mean((unpack(pack(values, target)) - wide) ** 2) / np.mean(wide**2)))


@pytest.mark.parametrize("target", (0.001, 0.021, 0.035, 0.3))
def test_the_error_is_close_to_its_target_and_not_above(target: float) -> None:
    assert 0.95 * target < error(BELL, target) <= target * 1.0001


def test_a_coarser_target_takes_fewer_bytes_and_both_fewer_than_float32() -> None:
    fine, coarse = (len(pack(BELL, target)) for target in (0.021, 0.035))
    assert coarse < fine < BELL.nbytes / 4


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(max_dims=4, max_side=9),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
    ),
    st.floats(0.001, 0.5),
)
@example(np.array([3e38, -3e38, 1e30], np.float32), 0.02)
@example(np.array([2e-38, -3e-38], np.float32), 0.02)
def test_whatever_the_values_shape_and_error_are_kept(values: Array, target: float) -> None:
    try:
        data = pack(values, target)
        back = unpack(data)
    except CompressionError as refused:
        assert "beyond float32" in str(refused) and np.abs(values).max() > 1e38  # the last step may be past the end
        return
    assert back.shape == values.shape and back.dtype == np.float32
    wide = values.astype(np.float64)
    assert np.sum((back - wide) ** 2) <= (target * 1.001) ** 2 * np.sum(wide**2)


def test_values_on_a_coarse_grid_keep_the_error_too() -> None:
    """As an INT8 network computes them: every value half-way between two steps would err by more than the formula."""
    grid = (RANDOM.integers(-3, 4, 10_000) * 0.25).astype(np.float32)
    for target in np.linspace(0.05, 0.5, 40):
        assert error(grid, float(target)) <= target * 1.0001


def test_an_outlier_keeps_its_value_beyond_a_byte_of_steps() -> None:
    values = BELL.copy()
    values[3, 4, 5] = 300.0
    assert unpack(pack(values, 0.021))[3, 4, 5] == pytest.approx(300.0, abs=0.2)
    assert error(values, 0.021) <= 0.021 * 1.0001
    assert len(pack(values, 0.021)) < 1.05 * len(pack(BELL, 0.021))  # and the others pay nothing for it
    values[3, 4, 5] = 3e6
    assert np.abs(unpack(pack(values, 0.0002)) - values).max() < 1e4


def test_zeros_stay_zeros() -> None:
    zeros = np.zeros((2, 3), np.float32)
    assert np.array_equal(unpack(pack(zeros, 0.02)), zeros)


@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf))
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(CompressionError, match="NaN or infinite"):
        pack(np.array([1.0, bad], np.float32), 0.02)


def test_wrong_sizes_and_targets_are_refused() -> None:
    for shape in ((0,), (1,) * 9):
        with pytest.raises(CompressionError, match="values on 8 axes are packed"):
            pack(np.zeros(shape, np.float32), 0.02)
    for target in (0.0, 0.9, float("nan")):
        with pytest.raises(CompressionError, match="expected 0.0001 to 0.5"):
            pack(BELL, target)


def packed(**changes: object) -> bytes:
    content = zstandard.compress(bytes(6))
    fields = {"version": 1, "shape": (2, 3), "width": 1, "step": 0.5, "content": content}
    return bytes(msgpack.packb(tuple({**fields, **changes}.values())))


def test_a_hand_made_message_is_read() -> None:
    assert np.array_equal(
        unpack(packed(content=zstandard.compress(bytes([0, 1, 2, 255, 254, 127])))).ravel() * 2, [0, 1, 2, -1, -2, 127]
    )


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"version": 2}, "packed by version 2, this is 1: update the older box"),
        ({"version": True}, "not packed values"),
        ({"shape": (2, -3)}, "shape, width or content"),
        ({"shape": (1 << 20, 1 << 20)}, "1 to 16,777,216 are taken"),
        ({"shape": 6}, "shape, width or content"),
        ({"width": True}, "shape, width or content"),
        ({"width": 3}, "shape, width or content"),
        ({"width": 2}, "the content is not 12 bytes"),
        ({"step": 0.0}, "no positive number"),
        ({"step": float("nan")}, "no positive number"),
        ({"step": 1}, "no positive number"),
        ({"step": 1e300, "content": zstandard.compress(b"\1" * 6)}, "beyond float32"),
        ({"content": b"no zstd"}, "does not unpack"),
        ({"content": zstandard.compress(bytes(7))}, "the content is not 6 bytes"),
        ({"content": "text"}, "shape, width or content"),
    ],
)
def test_each_field_of_foreign_bytes_is_checked(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CompressionError, match=reason):
        unpack(packed(**changes))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.compress(bytes(1 << 28))
    assert len(bomb) < 50_000
    with pytest.raises(CompressionError, match="the content is not 6 bytes"):
        unpack(packed(content=bomb))
    with pytest.raises(CompressionError, match="1 to 1,000 are taken"):
        unpack(pack(BELL, 0.02), most=1000)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(CompressionError):
        unpack(data)


@given(st.integers(0, 10_000), st.integers(1, 255), st.integers(0, 10_000))
def test_damaged_bytes_are_refused_or_bounded(at: int, change: int, cut: int) -> None:
    data = bytearray(pack(BELL[:4, :4], 0.02))
    data[at % len(data)] ^= change
    del data[len(data) - cut % 3 :]
    try:
        values = unpack(bytes(data))
    except CompressionError:
        return
    assert values.size <= compression.MAX_VALUES and np.isfinite(values).all()
