"""What a ZeroMQ address says: who can reach it, and how."""

from __future__ import annotations

from ipaddress import ip_address


def is_ipc(endpoint: str) -> bool:
    return endpoint.startswith("ipc://")


def is_local(endpoint: str) -> bool:
    """Only this box can reach it."""
    return is_ipc(endpoint) or is_loopback(endpoint.removeprefix("tcp://").rsplit(":", 1)[0].strip("[]"))


def is_loopback(host: str) -> bool:
    """An address or name of this box that no other one reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_ipv6(endpoint: str) -> bool:
    """ZeroMQ does not try IPv6 by itself. Not for names: it would prefer another address than the one listened at."""
    return endpoint.startswith("tcp://") and endpoint.count(":") > 2
