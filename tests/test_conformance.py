"""What this box serves, asked by a client that no one here wrote: tritonclient over HTTP."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.data import Array
from agent.packages import package
from tests.serving import Box, serving

triton = pytest.importorskip(
    "tritonclient.http", reason="tritonclient is not installed: pip install 'tritonclient[http]'"
)
utils = pytest.importorskip("tritonclient.utils")
MODELS = ["person-coarse", "movenet", "arm-deviation"]


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with serving(*MODELS) as served:
        yield served


@pytest.fixture
def client(box: Box) -> Iterator[triton.InferenceServerClient]:
    made = triton.InferenceServerClient(f"127.0.0.1:{box.port}", network_timeout=60.0)
    yield made
    made.close()


def golden(model: str) -> Array:
    opened = package.open_package(package.find(model))
    rows = np.load(opened.folder / "golden.npz")["input_0"]
    return np.asarray(rows[0], opened.network.inputs[0].dtype).reshape(opened.network.inputs[0].shape)


def local(model: str, array: Array) -> list[Array]:
    network = package.open_package(package.find(model)).network
    network.input(0)[...] = array
    network.invoke()
    return [np.array(network.output(index)) for index in range(len(network.outputs))]


def test_it_says_what_it_is(box: Box, client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata["name"] == "reflexd" and "binary_tensor_data" in metadata["extensions"]
    assert client.is_model_ready("movenet") and not client.is_model_ready("unheard-of")
    version = box.served.named["movenet"].version
    assert client.is_model_ready("movenet", version) and not client.is_model_ready("movenet", "99")


@pytest.mark.parametrize("model", MODELS)
def test_its_metadata_are_the_models(model: str, box: Box, client: triton.InferenceServerClient) -> None:
    metadata, served = client.get_model_metadata(model), box.served.named[model]
    assert metadata["name"] == model and metadata["versions"] == [served.version]
    for there, here in zip([*metadata["inputs"], *metadata["outputs"]], [*served.inputs, *served.outputs]):
        assert there == here.as_json()
        assert utils.triton_to_np_dtype(there["datatype"]) == here.dtype


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_it_computes_what_the_model_does(
    model: str, binary: bool, box: Box, client: triton.InferenceServerClient
) -> None:
    array, served = golden(model), box.served.named[model]
    given = triton.InferInput(served.inputs[0].name, list(array.shape), utils.np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array, binary_data=binary)
    outputs = [triton.InferRequestedOutput(each.name, binary_data=binary) for each in served.outputs]
    for name in (model, served.checksum):
        result = client.infer(name, [given], outputs=outputs, request_id="7", timeout=60_000_000)
        assert result.get_response()["id"] == "7"
        for each, expected in zip(served.outputs, local(model, array)):
            assert np.array_equal(result.as_numpy(each.name), expected)


def test_outputs_that_are_not_named_are_all_there(box: Box, client: triton.InferenceServerClient) -> None:
    array, served = golden("movenet"), box.served.named["movenet"]
    given = triton.InferInput(served.inputs[0].name, list(array.shape), utils.np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    for compression in (None, "gzip", "deflate"):
        result = client.infer("movenet", [given], timeout=60_000_000, request_compression_algorithm=compression)
        assert np.array_equal(result.as_numpy(served.outputs[0].name), local("movenet", array)[0])


def test_a_mistake_is_an_error_that_the_client_understands(box: Box, client: triton.InferenceServerClient) -> None:
    array, served = golden("movenet"), box.served.named["movenet"]
    given = triton.InferInput("q", list(array.shape), utils.np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    with pytest.raises(utils.InferenceServerException, match="takes one input") as refused:
        client.infer("movenet", [given])
    assert refused.value.status() == "400"
    with pytest.raises(utils.InferenceServerException, match="no model 'unheard-of' is served here"):
        client.infer("unheard-of", [given])
    box.busy = 0.9
    try:
        right = triton.InferInput(served.inputs[0].name, list(array.shape), utils.np_to_triton_dtype(array.dtype))
        right.set_data_from_numpy(array)
        with pytest.raises(utils.InferenceServerException, match="90% busy with its own lanes"):
            client.infer("movenet", [right])
    finally:
        box.busy = 0.0


def test_with_tls_and_its_token(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with serving("arm-deviation", keys=keys) as box:
        context = ssl.create_default_context(cafile=str(keys / "web.crt"))
        client = triton.InferenceServerClient(
            f"127.0.0.1:{box.port}", ssl=True, ssl_context_factory=lambda: context, network_timeout=60.0
        )
        token = (keys / "web.token").read_text().strip()
        assert client.is_server_ready(headers={"Authorization": f"Bearer {token}"})
        assert not client.is_server_ready(headers={"Authorization": "Bearer wrong"})
        client.close()
