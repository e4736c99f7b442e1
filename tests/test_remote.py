"""Backend `remote`: a model that a server runs behaves as a local one, also where the server does not."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from click.testing import CliRunner

from agent.backends import base
from agent.backends.base import EngineAway, EngineError
from agent.benches.programs import free_port
from agent.errors import PackageError
from agent.modeltools.cli import model as model_command
from agent.open_inference.release import Release
from agent.packages import package
from agent.packages.outputs import ModelFault
from tests.serving import Box, listening, parameters, remote_package, serving

MODEL = "person-coarse"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with serving(MODEL, "movenet") as served:
        yield served


def opened(folder: Path, content: dict[str, Any]) -> package.Package:
    remote = package.open_package(remote_package(folder / "remote", MODEL, content))
    remote.network.permit(Release(["gpu-1"]))
    return remote


@pytest.mark.parametrize("name", [MODEL, "movenet"])
def test_it_finds_what_the_local_engine_finds(name: str, tmp_path: Path, box: Box) -> None:
    local = package.open_package(package.find(name))
    remote = package.open_package(remote_package(tmp_path / "remote", name, parameters(name, box.url)))
    remote.network.permit(Release(["gpu-1"]))
    assert remote.golden is not None and remote.golden <= 1
    rows = np.load(local.folder / "golden.npz")["input_0"]
    for row in rows[:4]:
        for each in (local, remote):
            each.engine.fill(row)
        assert remote.infer() == local.infer()


def test_its_package_is_verified_as_others_are(tmp_path: Path, box: Box) -> None:
    folder = remote_package(tmp_path / "remote", MODEL, parameters(MODEL, box.url))
    shown = CliRunner().invoke(model_command, ["verify", str(folder), "--json"])
    assert json.loads(shown.output)["ok"] is True and json.loads(shown.output)["golden"] <= 1


def test_a_server_with_another_model_of_that_name_is_found_by_the_golden_outputs(tmp_path: Path) -> None:
    content = parameters(MODEL, "http://127.0.0.1:1")

    async def metadata(request: web.Request) -> web.Response:
        return web.json_response({"inputs": [content["input"]], "outputs": content["outputs"]})

    async def infer(request: web.Request) -> web.Response:
        outputs = [{**each, "data": np.zeros(each["shape"]).ravel().tolist()} for each in content["outputs"]]
        for each in outputs:
            each["data"] = [int(value) for value in each["data"]]
        return web.json_response({"model_name": MODEL, "outputs": outputs})

    with listening(lambda: answering(metadata, infer)) as port:
        content["url"] = f"http://127.0.0.1:{port}"
        with pytest.raises(PackageError, match="golden outputs differ by"):
            opened(tmp_path, content)


def answering(metadata: Any, infer: Any) -> web.Application:
    """A server without the binary extension."""

    async def server(request: web.Request) -> web.Response:
        return web.json_response({"name": "other", "version": "1", "extensions": []})

    app = web.Application(client_max_size=1 << 26)
    app.router.add_get("/v2", server)
    app.router.add_get("/v2/models/{name}", metadata)
    app.router.add_post("/v2/models/{name}/infer", infer)
    return app


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"input": {"name": "y"}}, "has a model without input 'y'"),
        ({"input": {"shape": [1, 2, 3, 1]}}, "has a model with input .*, not "),
        ({"input": {"datatype": "FP64"}}, "has a model with input .*, not FP64"),
        ({"outputs": {"name": "y"}}, "has a model without output 'y'"),
        ({"outputs": {"shape": [1, 2]}}, "has a model with output .*, not "),
        ({"model": "unheard-of"}, "answers with status 404: no model 'unheard-of' is served here"),
        ({"version": "9"}, "answers with status 404: no model 'person-coarse' of version 9 is served here"),
    ],
)
def test_metadata_that_differ_from_the_file_are_one_message(
    change: dict[str, Any], mistake: str, tmp_path: Path, box: Box
) -> None:
    content = parameters(MODEL, box.url)
    for key, value in change.items():
        if key == "outputs":
            content["outputs"][0].update(value)
        else:
            content[key] = {**content[key], **value} if isinstance(value, dict) else value
    with pytest.raises(PackageError, match=f"server 'gpu-1' \\(http://127.0.0.1:{box.port}\\) {mistake}"):
        opened(tmp_path, content)


def test_a_box_starts_while_the_server_is_away_and_uses_it_once_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with caplog.at_level(logging.WARNING):
        remote = opened(tmp_path, parameters(MODEL, f"http://127.0.0.1:{port}"))
    (line,) = caplog.messages
    assert f"server 'gpu-1' (http://127.0.0.1:{port}) cannot be reached: Connection refused; it is tried" in line
    assert remote.golden is None
    for _ in range(2):
        with pytest.raises(ModelFault, match="cannot be reached: Connection refused"):
            remote.infer()
    with serving(MODEL, port=port):
        assert remote.infer() == []
    with pytest.raises(ModelFault, match="cannot be reached"):
        remote.infer()
    with serving(MODEL, port=port):
        assert remote.infer() == []


def test_a_server_that_sends_a_byte_now_and_then_holds_no_sample(tmp_path: Path, box: Box) -> None:
    remote = opened(tmp_path, parameters(MODEL, box.url))

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", drip)
    with listening(lambda: app) as port:
        content = {**parameters(MODEL, f"http://127.0.0.1:{port}"), "timeout_ms": 200}
        slow = base.load("remote", write(tmp_path / "slow.yaml", content))
        with pytest.raises(EngineAway, match="does not answer in time"), slow.own_inputs():
            slow.invoke()
    remote.engine.input(0)[...] = 0
    assert remote.infer() == []


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


ANSWERS = {
    "empty": b"",
    "html": b"<html></html>",
    "nothing": b"{}",
    "no outputs": b'{"outputs": []}',
    "another output": b'{"outputs": [{"name": "q", "datatype": "FP32", "shape": [1], "data": [1]}]}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_a_fault_of_the_model(answer: bytes, tmp_path: Path) -> None:
    content = parameters(MODEL, "http://127.0.0.1:1")

    async def metadata(request: web.Request) -> web.Response:
        return web.json_response({"inputs": [content["input"]], "outputs": content["outputs"]})

    async def infer(request: web.Request) -> web.Response:
        return web.Response(body=answer)

    with listening(lambda: answering(metadata, infer)) as port:
        content["url"] = f"http://127.0.0.1:{port}"
        engine = base.load("remote", write(tmp_path / "remote.yaml", content))
        with pytest.raises(EngineError, match="server 'gpu-1' .* sends no valid answer"), engine.own_inputs():
            engine.invoke()


def test_a_redirection_is_not_followed(tmp_path: Path, box: Box) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{box.url}{request.path}")

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", elsewhere)
    with listening(lambda: app) as port, pytest.raises(EngineError, match="answers with status 307"):
        base.load("remote", write(tmp_path / "remote.yaml", parameters(MODEL, f"http://127.0.0.1:{port}")))


def test_a_token_is_needed_and_never_shown(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with serving(MODEL, keys=keys) as box:
        trust = {"ca": str(keys / "web.crt")}
        content = {**parameters(MODEL, box.url), **trust, "token_file": "token"}
        (tmp_path / "remote").mkdir()
        token = tmp_path / "remote/token"
        token.write_text("hunter2-hunter2-hunter2")
        token.chmod(0o600)
        with pytest.raises(PackageError, match="answers with status 401: a token is needed") as refused:
            opened(tmp_path, content)
        assert "hunter2" not in str(refused.value)
        token.chmod(0o644)
        with pytest.raises(PackageError, match="every user of this box can read the token: chmod 600"):
            opened(tmp_path, content)
        token.unlink()
        with pytest.raises(PackageError, match="token_file .*No such file"):
            opened(tmp_path, content)
        os.symlink(keys / "web.token", token)
        assert opened(tmp_path, content).golden is not None


def test_a_certificate_that_is_not_trusted_gets_no_input(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(MODEL, keys=tmp_path / "keys") as box:
        remote = opened(tmp_path, parameters(MODEL, box.url))
        with pytest.raises(ModelFault, match="has a certificate that is not trusted: self.signed certificate"):
            remote.infer()
        wrong_name = parameters(MODEL, f"https://127.0.0.2:{box.port}")
        with pytest.raises(PackageError, match="ca.crt: No such file"):
            opened(tmp_path, {**wrong_name, "ca": "ca.crt"})


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"url": "https://me:hunter2@gpu-1"}, "a url has no user and no password"),
        ({"url": "gpu-1"}, "expected http://"),
        ({"server": "a b"}, "'server': expected 1 to 32 letters"),
        ({"outputs": []}, "'outputs': "),
        ({"timeout_ms": 0}, "'timeout_ms': "),
        ({"input": {"name": "x", "datatype": "FP31", "shape": [1]}}, "expected one of BOOL"),
        ({"input": {"name": "x", "datatype": "FP32", "shape": [0]}}, "expected sizes of at least 1"),
        ({"input": {"name": "x", "datatype": "FP64", "shape": [1 << 20, 1 << 20]}}, "at most 268,435,456 are allowed"),
        ({"token": "hunter2"}, "unknown key 'token'"),
    ],
)
def test_a_mistake_in_the_file_is_named(change: dict[str, Any], mistake: str, tmp_path: Path) -> None:
    content = {**parameters(MODEL, "http://127.0.0.1:1"), **change}
    with pytest.raises(EngineError, match=mistake) as refused:
        base.load("remote", write(tmp_path / "remote.yaml", content))
    assert "hunter2" not in str(refused.value)


def test_grpc_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tritonclient", None)
    monkeypatch.delitem(__import__("sys").modules, "agent.open_inference.grpc_client", raising=False)
    with pytest.raises(EngineError, match="needs the Python package 'tritonclient.*pip install 'reflexd\\[remote\\]'"):
        base.load("remote", write(tmp_path / "remote.yaml", parameters(MODEL, "grpc://127.0.0.1:1")))


def test_lanes_do_not_share_it(tmp_path: Path, box: Box) -> None:
    folder = remote_package(tmp_path / "remote", MODEL, parameters(MODEL, box.url))
    with pytest.raises(PackageError, match="share: a server computes it for all lanes already"):
        package.open_package(folder, shared=True)


GARBAGE = {
    "nothing": b"",
    "no http": b"\x16\x03\x01\0\xff" * 40,
    "a length below zero": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
    "a length without end": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "bad chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000,
    "a line without end": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000,
    "more than allowed": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (1 << 21),
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_whatever_a_server_sends_it_is_one_message(sent: bytes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_send_to_all, args=(listener, sent), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        content = {**parameters(MODEL, url), "timeout_ms": 2000}
        try:
            away = base.load("remote", write(tmp_path / "remote.yaml", content)).away
        except EngineError as error:
            away = str(error)
        assert away.startswith(f"server 'gpu-1' ({url}) ") and len(away) < 200, away
        listener.shutdown(socket.SHUT_RDWR)


def _send_to_all(listener: socket.socket, sent: bytes) -> None:
    with suppress(OSError):
        while True:
            connection = listener.accept()[0]
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(sent)
