"""The Zenoh session of a box: mutual TLS, who may speak for whom, short leases. Only here Zenoh is configured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zenoh

from agent import site_keys
from agent.site.settings import Settings

LEASE_MS = 300  # measured: 100 takes a busy box for dead; a cut is noticed within 230 to 290 ms
MAX_MESSAGE = 1 << 24  # bytes; a batch of inputs for another box's model
HANDSHAKE_MS = 2000
FIRST_RETRY_MS, LAST_RETRY_MS = 100, 1000
SAYS = ["put", "delete", "reply", "declare_queryable", "liveliness_token"]
HEARS = ["declare_subscriber", "declare_liveliness_subscriber", "liveliness_query", "query"]


def open_session(settings: Settings) -> zenoh.Session:
    """Opens within tens of ms: links to peers come up afterwards, as often as they have to. Raises zenoh.ZError."""
    return zenoh.open(zenoh.Config.from_json5(json.dumps(configuration(settings))))


def configuration(settings: Settings) -> dict[str, Any]:
    """For Zenoh. Without keys there is neither TLS nor an access list: `insecure: true` on a private network."""
    discovery = {"enabled": settings.discovery}
    config: dict[str, Any] = {
        "mode": "peer",
        "listen": {"endpoints": settings.listen},
        "connect": {
            "endpoints": settings.peers,
            "timeout_ms": -1,
            "exit_on_failure": False,
            "retry": {"period_init_ms": FIRST_RETRY_MS, "period_max_ms": LAST_RETRY_MS, "period_increase_factor": 2},
        },
        # Half a second at the start otherwise, in which nothing is sent.
        "scouting": {"delay": 0, "multicast": discovery, "gossip": discovery},
        "open": {"return_conditions": {"connect_scouted": False, "declares": False}},
        "transport": {
            "unicast": {"open_timeout": HANDSHAKE_MS, "accept_timeout": HANDSHAKE_MS, "max_sessions": 128},
            "link": {"tx": {"lease": LEASE_MS, "keep_alive": 4}, "rx": {"max_message_size": MAX_MESSAGE}},
            "shared_memory": {"enabled": False},
        },
    }
    if settings.keys:
        config["transport"]["link"].update(protocols=["tls"], tls=_tls(Path(settings.keys)))
        config["access_control"] = _access(settings)
    return config


def _tls(keys: Path) -> dict[str, Any]:
    """Addresses change and say nothing; the access list goes by the name in the certificate, in both directions."""
    certificate, key = str(keys / site_keys.CERTIFICATE), str(keys / site_keys.KEY)
    return {
        "root_ca_certificate": str(keys / site_keys.CA),
        "listen_certificate": certificate,
        "listen_private_key": key,
        "connect_certificate": certificate,
        "connect_private_key": key,
        "enable_mtls": True,
        "verify_name_on_connect": False,
    }


def _access(settings: Settings) -> dict[str, Any]:
    """A box says what lies below its own name, and nothing else; a certificate with another name is not heard at all.

    What this box asks for leaves it, too: without an egress rule for its own subscriptions data silently stops.
    """
    names = [*settings.boxes, settings.node]  # a second box of this name is noticed only where it is heard
    rules = [
        _rule("says", SAYS, "egress", settings.key(settings.node, "**")),
        _rule("asks", HEARS, "egress", f"{settings.root}/**"),
        _rule("is-asked", HEARS, "ingress", f"{settings.root}/**"),
        *(_rule(f"of-{name}", SAYS, "ingress", settings.key(name, "**")) for name in names),
    ]
    return {
        "enabled": True,
        "default_permission": "deny",
        "rules": rules,
        "subjects": [{"id": name, "cert_common_names": [name]} for name in names],
        "policies": [{"rules": ["says", "asks", "is-asked", f"of-{name}"], "subjects": [name]} for name in names],
    }


def _rule(name: str, messages: list[str], flow: str, keys: str) -> dict[str, Any]:
    return {"id": name, "messages": messages, "flows": [flow], "permission": "allow", "key_exprs": [keys]}
