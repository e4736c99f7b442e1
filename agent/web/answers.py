"""Answers to a browser, and the bodies of its requests."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from agent import redact
from agent.web.programs import ProgramError, Programs


async def body(request: web.Request) -> dict[str, Any]:
    """The object in JSON that a request carries. Raises HTTPBadRequest."""
    try:
        content = await request.json()
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise web.HTTPBadRequest(text="expected an object in JSON")
    return content


def json(content: dict[str, Any]) -> web.Response:
    return web.json_response(content, headers={"Cache-Control": "no-store"})


def jpeg(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def ask(programs: Programs, module: str, *arguments: str, **options: Any) -> Any:
    """As Programs.ask. Raises HTTPServiceUnavailable."""
    try:
        return await programs.ask(module, *arguments, **options)
    except ProgramError as error:
        raise web.HTTPServiceUnavailable(text=redact.message(str(error))) from error
