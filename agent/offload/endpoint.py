"""The Open Inference Protocol over HTTP, for other boxes and any client of it: aiohttp around `Served`."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from agent.offload.served import Refused, Served, ServedModel
from agent.open_inference import messages
from agent.open_inference.messages import BINARY, HEADER, MAX_JSON, Request
from agent.open_inference.tensors import MessageError
from agent.packages.outputs import ModelFault

NAME, VERSION = "reflexd", "2"
JSON_BYTES = 32  # of a value that is written as JSON: the longest number, its comma and white space
BODY_S = 10.0  # until a request's body is here
DEFAULT_NS = 1_000_000_000  # of a request that states no time
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """The application. token: empty where none is needed."""

    def __init__(self, served: Served, token: str) -> None:
        self._served = served
        self._token = token.encode()
        largest = max((model.inputs[0] for model in served.models.values()), key=lambda each: each.size_bytes)
        self.largest_body = MAX_JSON + largest.size_bytes // largest.dtype.itemsize * JSON_BYTES

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._middleware], client_max_size=self.largest_body)
        app.router.add_get("/v2", self._server)
        app.router.add_get("/v2/reflexd", self._state)
        app.router.add_get("/v2/health/{kind:live|ready}", self._ready)
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            app.router.add_get(path, self._model)
            app.router.add_get(f"{path}/ready", self._model_ready)
            app.router.add_post(f"{path}/infer", self._infer)
        return app

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whoever has the token; every mistake is an answer of the protocol."""
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip().encode("utf-8", "replace")
        if self._token and not hmac.compare_digest(given, self._token):
            return _error(401, "a token is needed: 'Authorization: Bearer TOKEN', from web.token of the served box")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _error(error.status, error.reason)
        except MessageError as error:
            return _error(400, str(error))
        except Refused as error:
            return _error(503 if error.busy else 404, str(error))
        except ModelFault as error:
            return _error(500, str(error))

    async def _server(self, request: web.Request) -> web.Response:
        return web.json_response({"name": NAME, "version": VERSION, "extensions": [BINARY]})

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _state(self, request: web.Request) -> web.Response:
        """For boxes that choose a peer: beside the protocol."""
        models = {model.checksum: round(model.p99_ms, 3) for model in self._served.named.values()}
        return web.json_response({"busy": self._served.busy(), "models": models})

    async def _model(self, request: web.Request) -> web.Response:
        model = self._found(request)
        description = {
            "name": request.match_info["model"],
            "versions": [model.version],
            "platform": "reflexd",
            "inputs": [each.as_json() for each in model.inputs],
            "outputs": [each.as_json() for each in model.outputs],
        }
        return web.json_response(description)

    async def _model_ready(self, request: web.Request) -> web.Response:
        self._found(request)
        return web.Response()

    async def _infer(self, request: web.Request) -> web.Response:
        model = self._found(request)
        arrived = time.monotonic_ns()
        try:
            body = await asyncio.wait_for(request.read(), BODY_S)
        except asyncio.TimeoutError:
            raise web.HTTPRequestTimeout from None
        asked = messages.read_request(body, request.headers.get(HEADER))
        outputs = _wanted(model, asked)
        deadline = arrived + (asked.timeout_us * 1000 or DEFAULT_NS)
        values = await self._computed(model, asked, deadline)
        named = {each.name: array for each, array in zip(model.outputs, values)}
        answer = messages.write_answer(
            request.match_info["model"],
            model.version,
            asked.id,
            [(name, named[name], binary) for name, binary in outputs.items()],
        )
        kind = "application/json" if answer.header is None else "application/octet-stream"
        headers = {} if answer.header is None else {HEADER: str(answer.header)}
        return web.Response(body=answer.body, content_type=kind, headers=headers)

    async def _computed(self, model: ServedModel, asked: Request, deadline: int) -> list[Any]:
        (stated,) = model.inputs
        if list(asked.inputs) != [stated.name]:
            raise MessageError(f"model {model.name} takes one input, {stated}")
        array = asked.inputs[stated.name]
        if array.shape != stated.shape or array.dtype != stated.dtype:
            raise MessageError(f"model {model.name} takes {stated}")
        job = self._served.submit(model.checksum, array, deadline)
        left_s = (deadline - time.monotonic_ns()) / 1e9
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), max(left_s, 0.0))
        except asyncio.TimeoutError:
            raise Refused("not computed in time", busy=True) from None

    def _found(self, request: web.Request) -> ServedModel:
        """By its name, or by the checksum of its files."""
        name, version = request.match_info["model"], request.match_info.get("version")
        model = self._served.models.get(name)
        if model is None or version not in (None, model.version):
            raise Refused(f"no model '{name[:64]}'{f' of version {version[:64]}' if version else ''} is served here")
        return model


def _wanted(model: ServedModel, asked: Request) -> dict[str, bool]:
    """Output -> as binary."""
    known = [each.name for each in model.outputs]
    unknown = next((name for name in asked.outputs if name not in known), None)
    if unknown is not None:
        raise MessageError(f"model {model.name} has no output '{unknown}'; it has {', '.join(known)}")
    return asked.outputs or dict.fromkeys(known, asked.binary)


def _error(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=json.dumps({"error": text}).encode(), content_type="application/json")
