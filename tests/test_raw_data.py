"""No command carries raw data: by type, for every field and argument."""

from __future__ import annotations

import io
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands.wire import WireError, pack_command, unpack
from agent.data import Command
from tests.test_wire import STOP

FIELDS = [name for name in Command._fields if name != "arguments"]
PICTURE = np.zeros((4, 4, 3), np.uint8)
REFUSED = "pictures, sound and other raw data stay here"
RAW = [
    PICTURE,
    PICTURE[0, 0],
    PICTURE.ravel()[:1],
    np.zeros(3, np.float32),
    np.uint8(3),
    b"\1\2",
    bytearray(2),
    memoryview(b"ab"),
    PICTURE.data,
    array("f", [0.5]),
    [1, 2],
    (1, 2),
    {"a": b"b"},
    {1},
    None,
    1j,
    io.BytesIO(b"a"),
    object(),
]


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: type(raw).__name__)
def test_no_field_of_a_command_takes_raw_data(raw: Any) -> None:
    kind = type(raw).__name__
    for name in FIELDS:
        with pytest.raises(WireError, match=f"^command for .*: '{name}' is {kind}: {REFUSED}"):
            pack_command(STOP._replace(**{name: raw}))
    with pytest.raises(WireError, match=f"^command for 'stop': 'still' is {kind}: {REFUSED}"):
        pack_command(STOP._replace(arguments={"still": raw}))
    if not isinstance(raw, dict):
        with pytest.raises(WireError, match=f"^command for 'stop': 'arguments' is {kind}: "):
            pack_command(STOP._replace(arguments=raw))


def test_no_name_of_an_argument_is_raw_data() -> None:
    with pytest.raises(WireError, match=f"is bytes: {REFUSED}; only plain values leave"):
        pack_command(STOP._replace(arguments={b"still": 1}))  # type: ignore[dict-item]


raw_data: st.SearchStrategy[Any] = (
    st.binary()
    | st.binary().map(bytearray)
    | st.binary().map(lambda data: memoryview(data))
    | st.lists(st.floats(), max_size=9)
    | st.binary(min_size=1).map(lambda data: np.frombuffer(data, np.uint8))
    | st.none()
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(0, 9) | raw_data, min_size=1, max_size=4))
def test_whatever_the_arguments_only_plain_values_are_packed(arguments: dict[str, Any]) -> None:
    plain = all(type(value) is int for value in arguments.values())
    try:
        command = unpack(pack_command(STOP._replace(arguments=arguments)))
    except WireError:
        assert not plain
    else:
        assert plain and isinstance(command, Command) and command.arguments == arguments


def test_a_number_of_numpy_is_a_number() -> None:
    command = unpack(pack_command(STOP._replace(arguments={"level": np.float64(0.5)})))
    assert isinstance(command, Command) and command.arguments == {"level": 0.5}
