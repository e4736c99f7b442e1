"""An RTSP address as people write it: user and password with any character, percent-encoded or not."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

SCHEMES = ("rtsp", "rtsps")
HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[\w.-]{1,253})(?::([0-9]{1,5}))?(?=[/?#]|$)")
# What FFmpeg does not take for an end of the user info. Encoding no more keeps it short: FFmpeg has 127 bytes for it.
LITERAL = "!$&'()*+,;=~^`{}|<>\"\\[]"
MAX_LOGIN = 127


class Address(NamedTuple):
    """login: user:password, percent-encoded; empty without any. rest: path and query as written."""

    scheme: str
    login: str
    host: str
    port: int
    rest: str

    @property
    def label(self) -> str:
        """For messages: cheap cameras have the password in the path or the query, so only the host."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """For the decoder."""
        at = f"{self.login}@" if self.login else ""
        return f"{self.scheme}://{at}{self.host}:{self.port}{self.rest}"


def parse(url: str, user: str = "", password: str = "") -> Address:
    """user, password: instead of those in the url. Raises ValueError, whose text quotes no part of the url."""
    scheme, _, after = url.partition("://")
    match = _host(after) if scheme in SCHEMES and after.isprintable() else None
    if match is None or not 0 < int(match[2] or 554) <= 65535:
        if url.startswith("/dev/"):
            raise ValueError("a device of this box is the 'device' of driver camera.v4l2")
        raise ValueError("write rtsp://host/path or rtsps://host/path, the password as option 'password'")
    login = _encoded(after[: match.start()].removesuffix("@"))
    if user or password:
        if login:
            raise ValueError("write user and password either in the url or as options")
        login = f"{quote(user, LITERAL)}:{quote(password, LITERAL)}"
    if len(login) > MAX_LOGIN:
        raise ValueError(f"user and password are longer than the decoder's {MAX_LOGIN} bytes")
    return Address(scheme, login, match[1], int(match[2] or 554), after[match.end() :])


def _host(after: str) -> re.Match[str] | None:
    """Where the host is. In a password `@`, `/`, `?` and `#` may stand as they are, and `@` in a path, too.

    So an IP address is preferred, then a name with a dot or a port, then any; of several the last one.
    """
    hosts = [match for at in re.finditer("^|@", after) if (match := HOST.match(after, at.end()))]
    if not hosts or _is_address(hosts[0]) and hosts[0].start() == 0:
        return hosts[0] if hosts else None
    hosts = [host for host in hosts if host.start() and ":" in after[: host.start()]] or hosts[:1]
    addresses = [host for host in hosts if _is_address(host)]
    clear = [host for host in hosts if "." in host[1] or host[2]]
    return (addresses or clear or hosts)[-1]


def _is_address(host: re.Match[str]) -> bool:
    try:
        return bool(ip_address(host[1].strip("[]")))
    except ValueError:
        return host[1] == "localhost"


def _encoded(login: str) -> str:
    """What is percent-encoded stays so; everything else is encoded where it has to be."""
    user, colon, password = login.partition(":")
    return colon.join(quote_from_bytes(unquote_to_bytes(part), LITERAL) for part in (user, password) if part or colon)
