"""Messages of the Open Inference Protocol: written and read, and whatever a peer sends in their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.data import Array
from agent.open_inference import messages, server
from agent.open_inference.messages import HEADER, Message
from agent.open_inference.tensors import DTYPES, MAX_TENSOR_BYTES, MessageError

values = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=4, max_side=4))
)


def header(message: Message) -> str | None:
    return None if message.header is None else str(message.header)


def same(first: Array, second: Array) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


@given(values)
def test_a_tensor_comes_back_bit_by_bit_in_binary(array: Array) -> None:
    request = messages.write_request({"x": array}, ["y", "z"], binary=True, timeout_us=1500, id="7")
    read = messages.read_request(request.body, header(request))
    assert same(read.inputs["x"], array)
    assert (read.outputs, read.timeout_us, read.id) == ({"y": True, "z": True}, 1500, "7")
    answer = messages.write_answer("m", "1", "7", [("y", array, True), ("z", array, False)])
    assert same(messages.read_answer(answer.body, header(answer))["y"], array)


@given(values.filter(lambda array: bool(np.isfinite(array.astype(np.float64)).all())))
def test_numbers_come_back_as_json_too(array: Array) -> None:
    message = messages.write_request({"x": array}, [], binary=False)
    assert message.header is None
    read = messages.read_request(message.body, None).inputs["x"]
    assert read.dtype == array.dtype and np.array_equal(read, array)


def test_nested_json_is_a_tensor_too() -> None:
    data = {"inputs": [{"name": "x", "datatype": "INT8", "shape": [2, 2], "data": [[1, 2], [3, -4]]}]}
    assert messages.read_request(json.dumps(data).encode(), None).inputs["x"].tolist() == [[1, 2], [3, -4]]


def request(change: Callable[[dict[str, Any]], object], size: int = 4) -> tuple[bytes, str]:
    """A request of four bytes with something changed."""
    tensor = {"name": "x", "datatype": "UINT8", "shape": [4], "parameters": {"binary_data_size": 4}}
    content: dict[str, Any] = {"inputs": [tensor]}
    change(content)
    text = json.dumps(content).encode()
    return text + bytes(size), str(len(text))


def tensor(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["inputs"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (tensor(shape=[5]), "has 4 bytes"),
        (tensor(shape=[-1]), "or less than none"),
        (tensor(shape=[MAX_TENSOR_BYTES, 2]), "has more than 268,435,456 bytes"),
        (tensor(shape=[True]), "no list of whole numbers"),
        (tensor(shape=[1] * 9), "no list of whole numbers"),
        (tensor(datatype="BYTES"), "'datatype' is not one of BOOL, UINT8"),
        (tensor(datatype=["UINT8"]), "'datatype' is not one of"),
        (tensor(name=""), "'name' is not 1 to 256 characters"),
        (tensor(name="a\nb"), "'name' is not 1 to 256 characters"),
        (tensor(parameters={"binary_data_size": 5}), "is not within the message"),
        (tensor(parameters={"binary_data_size": -1}), "is not within the message"),
        (tensor(parameters={"binary_data_size": 3}), "has 3 bytes"),
        (tensor(parameters={}), "has neither 'data' nor 'binary_data_size'"),
        (tensor(parameters={}, data=[1, 2, 3, 4]), "4 bytes behind the tensors"),
        (lambda content: content.update(inputs=[]), "'inputs' is no list of 1 to 64 tensors"),
        (lambda content: content.update(inputs=[1]), "'inputs' has an entry that is no tensor"),
        (lambda content: content.update(inputs=content["inputs"] * 65), "'inputs' is no list of 1 to 64 tensors"),
        (lambda content: content.update(parameters={"timeout": -1}), "'timeout' is not 0 to"),
        (lambda content: content.update(parameters={"timeout": "soon"}), "'timeout' is not 0 to"),
        (lambda content: content.update(outputs=[{"name": 1}]), "'name' is not 1 to 256 characters"),
    ],
)
def test_a_request_that_is_none_is_refused_by_its_mistake(
    change: Callable[[dict[str, Any]], object], mistake: str
) -> None:
    with pytest.raises(MessageError, match=mistake):
        messages.read_request(*request(change))


@pytest.mark.parametrize("length", ["", "-1", "+3", "1e3", "999", "9999999999", "\u0663", "0x3", "3 "])
def test_a_length_of_the_json_part_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(MessageError, match=HEADER):
        messages.read_request(b"{}", length)


@pytest.mark.parametrize(
    "data", [None, {}, "abcd", [1, 2, 3], [1, 2, 3, 4, 5], [[1, 2], [3]], [1, 2, 3, 256], [1, 2, 3, -1], [1, 2, 3, 0.5]]
)
def test_data_that_a_type_does_not_store_is_refused(data: object) -> None:
    entry = {"name": "x", "datatype": "UINT8", "shape": [4], "data": data}
    with pytest.raises(MessageError, match="data"):
        messages.read_request(json.dumps({"inputs": [entry]}).encode(), None)


@pytest.mark.parametrize("depth", [100, 100_000])
def test_brackets_without_end_are_no_message(depth: int) -> None:
    nested = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": ' + b"[" * depth + b"]" * depth
    with pytest.raises(MessageError):
        messages.read_request(nested + b"}]}", None)


words = st.text("ab\0\n\u00e9", max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | json_values,
        "datatype": st.sampled_from(list(DTYPES)) | json_values,
        "shape": st.lists(st.integers(-2, 5), max_size=3) | json_values,
        "data": st.lists(st.integers(-300, 300), max_size=9) | json_values,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40)}) | json_values,
    },
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(entries, max_size=3) | json_values,
        "outputs": st.lists(entries, max_size=3) | json_values,
        "parameters": st.fixed_dictionaries({"timeout": json_values}) | json_values,
        "id": json_values,
    },
)


@given(st.binary(max_size=64) | contents.map(lambda content: json.dumps(content).encode()), st.binary(max_size=40))
def test_whatever_is_sent_it_is_a_message_or_a_mistake(text: bytes, behind: bytes) -> None:
    for length in (None, str(len(text)), "3"):
        for read in (messages.read_request, messages.read_answer):
            try:
                read(text + behind, length)
            except MessageError as error:
                assert len(str(error)) < 2000
    for parse in (messages.read_model, messages.has_binary):
        try:
            parse(text)
        except MessageError:
            pass
    assert len(messages.error_text(text)) <= 160


def test_what_a_server_says_of_an_error_is_one_short_line() -> None:
    assert messages.error_text(json.dumps({"error": "a\x1b[2J\nb" + "c" * 500}).encode()) == "a[2Jb" + "c" * 153
    assert messages.error_text(b"<html>") == ""


@pytest.mark.parametrize(
    "url",
    [
        "gpu-1:8000",
        "ftp://gpu-1",
        "http://",
        "http://gpu-1:0",
        "http://gpu-1:99999",
        "http://gpu-1/v2",
        "https://g\u00fc",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://, https://, grpc:// or grpcs://, then HOST:PORT"):
        server.parse("gpu-1", url)


def test_no_password_stands_in_an_address_and_no_token_travels_in_plain() -> None:
    with pytest.raises(ValueError) as refused:
        server.parse("gpu-1", "https://me:hunter2@gpu-1")
    assert "hunter2" not in str(refused.value) and "token_file" in str(refused.value)
    with pytest.raises(ValueError, match="a token would be sent in plain"):
        server.parse("gpu-1", "http://gpu-1:8000", token="hunter2hunter2")
    made = server.parse("gpu-1", "https://gpu-1", token="hunter2hunter2")
    assert "hunter2" not in f"{made} {made!r}" and made.port == 443
    assert server.parse("here", "http://[::1]:8000", token="x").authority == "[::1]:8000"
