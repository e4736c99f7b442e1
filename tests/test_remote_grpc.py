"""Backend `remote` over gRPC: against a small server made of the protocol's own service definition."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends import base
from agent.backends.base import EngineAway, EngineError
from agent.benches.programs import free_port
from agent.benches.proxy import Proxy
from agent.open_inference.release import Release
from agent.web import make_keys
from tests.byte_search import Inputs, search

grpc = pytest.importorskip("grpc", reason="grpcio is not installed: pip install 'reflexd[remote]'")
service = pytest.importorskip(
    "tritonclient.grpc", reason="tritonclient is not installed: pip install 'reflexd[remote]'"
)
SHAPE = (1, 64, 64, 3)


class Scorer(service.service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[name-defined, misc]
    """FP32 x of SHAPE to FP32 y [1, 4]: its mean divided by 1 to 4. token: without it, no answer."""

    def __init__(self) -> None:
        self.token = ""
        self.failure: tuple[Any, str] | None = None
        self.answer: bytes | None = None
        self.go = threading.Event()
        self.go.set()

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        self._check(context)
        metadata = service.service_pb2.ModelMetadataResponse
        tensors = [metadata.TensorMetadata(name="x", datatype="FP32", shape=[-1, *SHAPE[1:]])]
        scores = [metadata.TensorMetadata(name="y", datatype="FP32", shape=[-1, 4])]
        return metadata(name=request.name, versions=["1"], inputs=tensors, outputs=scores)

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self._check(context)
        self.go.wait(30)
        if self.failure:
            context.abort(*self.failure)
        mean = np.frombuffer(request.raw_input_contents[0], np.float32).mean()
        content = (mean / np.arange(1, 5, dtype=np.float32)).astype(np.float32).tobytes()
        answer = service.service_pb2.ModelInferResponse
        output = answer.InferOutputTensor(name="y", datatype="FP32", shape=[1, 4])
        raw = content if self.answer is None else self.answer
        return answer(model_name=request.model_name, outputs=[output], raw_output_contents=[raw])

    def _check(self, context: Any) -> None:
        given = dict(context.invocation_metadata()).get("authorization", "")
        if self.token and given != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no token, but {given}")


@contextmanager
def serving(keys: Path | None = None, port: int = 0) -> Iterator[tuple[Scorer, int]]:
    server, scorer = grpc.server(futures.ThreadPoolExecutor(4)), Scorer()
    service.service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(scorer, server)
    if keys:
        certificate, key, _ = make_keys.make(keys, ["127.0.0.1"])
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        used = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    else:
        used = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    yield scorer, used
    scorer.go.set()
    server.stop(0).wait()


def loaded(folder: Path, url: str, **changes: Any) -> base.Engine:
    content = {
        "server": "gpu-1",
        "url": url,
        "model": "scorer",
        "input": {"name": "x", "datatype": "FP32", "shape": list(SHAPE)},
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4]}],
        "timeout_ms": 60_000,
        **changes,
    }
    path = folder / "remote.yaml"
    path.write_text(json.dumps(content))
    engine = base.load("remote", path)
    engine.permit(Release(["gpu-1"]))
    return engine


def picture() -> Any:
    values = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    inputs = Inputs()
    inputs.add("tensor", values)
    return values, inputs.marks()


def test_it_computes_what_the_model_does_and_sends_nothing_that_is_not_released(tmp_path: Path) -> None:
    with serving() as (_, port):
        proxy = Proxy(near := free_port(), port)
        engine = loaded(tmp_path, f"grpc://127.0.0.1:{near}")
        values, marks = picture()
        engine.fill(values[0])
        engine.permit(Release(["gpu-2"]))
        with pytest.raises(EngineError, match="the input of its model stays here"):
            engine.invoke()
        assert proxy.recorded and search(marks, {"wire": b"".join(data for _, data in proxy.recorded)}) == {}
        engine.permit(Release(["gpu-1"]))
        engine.invoke()
        assert np.allclose(engine.real(0), values.mean() / np.arange(1, 5), rtol=1e-5)
        assert search(marks, {"wire": b"".join(data for _, data in proxy.recorded)}) == {"tensor": {"wire"}}
        proxy.close()


def test_with_tls_it_trusts_one_certificate_and_sends_its_token(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with serving(keys) as (scorer, port):
        scorer.token = "hunter2-hunter2"
        url, token = f"grpcs://127.0.0.1:{port}", tmp_path / "token"
        token.write_text("hunter2-hunter2")
        token.chmod(0o600)
        proxy = Proxy(near := free_port(), port)
        trusted = {"ca": str(keys / "web.crt"), "token_file": str(token)}
        engine = loaded(tmp_path, f"grpcs://127.0.0.1:{near}", **trusted)
        values, marks = picture()
        engine.fill(values[0])
        engine.invoke()
        sent = b"".join(data for _, data in proxy.recorded)
        assert len(sent) > values.nbytes and search(marks, {"wire": sent}) == {} and b"hunter2" not in sent
        proxy.close()
        token.write_text("hunter2-wrong")
        with pytest.raises(EngineError, match="answers with StatusCode.UNAUTHENTICATED: no token") as refused:
            loaded(tmp_path, url, **trusted)
        assert "hunter2" not in str(refused.value)
        stranger = loaded(tmp_path, url, timeout_ms=3000)
        assert "cannot be reached" in stranger.away or "does not answer" in stranger.away


def test_a_call_ends_in_time_and_what_is_no_answer_is_one_message(tmp_path: Path) -> None:
    with serving() as (scorer, port):
        engine = loaded(tmp_path, f"grpc://127.0.0.1:{port}", timeout_ms=300)
        scorer.go.clear()
        with pytest.raises(EngineAway, match="does not answer in time"):
            engine.invoke()
        scorer.go.set()
        engine.parameters.__dict__["timeout_ms"] = 60_000.0  # type: ignore[attr-defined]
        engine.invoke()
        scorer.failure = grpc.StatusCode.INTERNAL, "out of\nmemory"
        with pytest.raises(EngineError, match="server 'gpu-1' .* answers with StatusCode.INTERNAL: out ofmemory"):
            engine.invoke()
        scorer.failure, scorer.answer = None, b"abc"
        with pytest.raises(EngineError, match="sends no valid answer: output 'y' has other bytes than its shape"):
            engine.invoke()


def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    port = free_port()
    engine = loaded(tmp_path, f"grpc://127.0.0.1:{port}")
    assert "cannot be reached" in engine.away
    for _ in range(2):
        with serving(port=port):
            _until_it_answers(engine)
        with pytest.raises(EngineAway):
            engine.invoke()


def _until_it_answers(engine: base.Engine) -> None:
    """The library tries to connect at growing intervals."""
    from tests.waiting import until

    def answers() -> bool:
        try:
            engine.invoke()
        except EngineAway:
            return False
        return True

    until(answers, "an answer")
