"""A box that computes for others, in this process; and packages whose model a server runs."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from agent import web_keys
from agent.backends.base import Tensor
from agent.offload.endpoint import Endpoint
from agent.offload.links import wire_names
from agent.offload.served import BY_DEFAULT, Admission, Served, ServedModel
from agent.open_inference.tensors import DTYPES
from agent.packages import package
from agent.packages.checksums import digest
from agent.web import make_keys


class Box:
    """A box that serves. busy: share of its cores that its own lanes use, which a test may change."""

    busy = 0.0
    served: Served
    port = 0
    url = ""


@contextmanager
def serving(*models: str, keys: Path | None = None, admission: Admission = BY_DEFAULT, port: int = 0) -> Iterator[Box]:
    """keys: a folder in which a certificate and a token are made. port: 0: any."""
    box = Box()
    opened = {name: ServedModel(name, package.open_package(package.find(name))) for name in models}
    box.served = Served(opened, lambda: box.busy, admission)
    if keys:
        make_keys.make(keys, ["127.0.0.1"])
    endpoint = Endpoint(box.served, web_keys.read_token(keys) if keys else "")
    with listening(endpoint.application, web_keys.tls(keys) if keys else None, port) as box.port:
        box.url = f"{'https' if keys else 'http'}://127.0.0.1:{box.port}"
        yield box
    box.served.close()


@contextmanager
def listening(
    application: Callable[[], web.Application], tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[int]:
    """Any application of aiohttp, on a thread of its own; its port."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []

    async def start() -> web.AppRunner:
        runner = web.AppRunner(application(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, reuse_address=True)
        await site.start()
        ports.append(runner.addresses[0][1])
        return runner

    def run() -> None:
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def stated(tensor: Tensor, name: str) -> dict[str, Any]:
    """As remote.yaml has it."""
    datatype = next(key for key, dtype in DTYPES.items() if dtype == tensor.dtype)
    shape, quantised = list(tensor.shape), {"scale": tensor.scale, "zero_point": tensor.zero_point}
    return {"name": name, "datatype": datatype, "shape": shape, **quantised}


def parameters(model: str, url: str) -> dict[str, Any]:
    """Of remote.yaml, for a bundled model that another reflexd serves."""
    network = package.open_package(package.find(model)).network
    outputs = zip(network.outputs, wire_names(network.outputs, "output"))
    return {
        "server": "gpu-1",
        "url": url,
        "model": model,
        "input": stated(network.inputs[0], wire_names(network.inputs, "input")[0]),
        "outputs": [stated(tensor, name) for tensor, name in outputs],
        "timeout_ms": 60_000,
    }


def remote_package(folder: Path, model: str, content: dict[str, Any]) -> Path:
    """The bundled package with its golden outputs; its model runs where `content` says. JSON is YAML."""
    source = package.find(model)
    folder.mkdir(exist_ok=True)
    file = folder / "remote.yaml"
    file.write_text(json.dumps(content))
    shutil.copy(source / "golden.npz", folder)
    manifest = (source / "manifest.yaml").read_text()
    for key, value in (("file", "remote.yaml"), ("sha256", digest(file)), ("backend", "remote")):
        manifest = re.sub(rf"^{key}: .*$", f"{key}: {value}", manifest, flags=re.MULTILINE)
    (folder / "manifest.yaml").write_text(manifest.replace("budget_ms: 2.0", "budget_ms: 2000"))
    return folder
