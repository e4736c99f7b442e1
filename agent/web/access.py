"""Who may use the live view: the names it answers to, where its pages come from, its token, and its headers.

A page of somebody else's site must not read this box through the browser of a person who may (DNS rebinding,
cross-site requests). So a Host is an address, localhost or a name of the configuration, and an Origin is that Host.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from agent.endpoints import is_loopback

COOKIE = "reflexd"
SESSION_S = 12 * 3600.0
MAX_SESSIONS = 256
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FREE = ("/", "/api/login")  # without a token, as are the files of the page
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access:
    """The checks of every request. token: empty where none is needed."""

    def __init__(self, host: str, names: Iterable[str], token: str, secure: bool) -> None:
        """host: of the configuration. names: further ones under which browsers reach this box. secure: TLS."""
        self.local = is_loopback(host.strip("[]"))
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        if not self.local:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own.partition('.')[0]}.local"}
        self._token = token.encode()
        self._secure = secure
        self._sessions: dict[str, float] = {}  # until when, oldest first

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = self._refused(request)
        if refused:
            response: web.StreamResponse = web.json_response({"error": refused[1]}, status=refused[0])
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.json_response({"error": error.text or error.reason}, status=error.status)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _refused(self, request: web.Request) -> tuple[int, str] | None:
        host = request.headers.get("Host", "")
        if not self._is_ours(host):
            return 421, f"this box does not answer to the name {host[:60]!r}: add it to web.names"
        origin = request.headers.get("Origin")
        changes = request.method not in ("GET", "HEAD") or "Upgrade" in request.headers
        if (origin is not None or changes) and not self._same(origin, host):
            return 403, "a page of another site may not use this one"
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return 403, "a page of another site may not use this one"
        if self._token and not self._admitted(request):
            return 401, "a token is needed: it is in web.token, made by 'reflexd keys --web'"
        return None

    def _is_ours(self, host: str) -> bool:
        name = (urlsplit(f"//{host}").hostname or "").lower().rstrip(".") if len(host) < 300 else ""
        try:
            address = ip_address(name.partition("%")[0])
        except ValueError:
            return name in self._names
        return address.is_loopback or not self.local

    def _same(self, origin: str | None, host: str) -> bool:
        """Programs that are no browser send no Origin."""
        return origin is None or origin == f"{'https' if self._secure else 'http'}://{host}"

    def _admitted(self, request: web.Request) -> bool:
        if not request.path.startswith("/api/") or request.path in FREE:
            return True
        until = self._sessions.get(request.cookies.get(COOKIE, ""), 0.0)
        return time.monotonic() < until or self._is_token(
            request.headers.get("Authorization", "").removeprefix("Bearer ")
        )

    def _is_token(self, text: str) -> bool:
        return bool(self._token) and hmac.compare_digest(text.strip().encode("utf-8", "replace"), self._token)

    async def login(self, request: web.Request) -> web.Response:
        """A session for a browser that knows the token, whose page's code then never holds it."""
        content = await request.json()
        if not isinstance(content, dict) or not self._is_token(str(content.get("token", ""))):
            raise web.HTTPForbidden(text="wrong token: it is in web.token, made by 'reflexd keys --web'")
        session = secrets.token_urlsafe(32)
        self._sessions = dict([*self._sessions.items(), (session, time.monotonic() + SESSION_S)][-MAX_SESSIONS:])
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE, session, max_age=int(SESSION_S), httponly=True, secure=self._secure, samesite="Strict"
        )
        return response
