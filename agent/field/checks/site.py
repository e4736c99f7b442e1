"""The site: its library, this box's certificate, the other boxes."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from agent import site_keys
from agent.config.models import Config
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, listed
from agent.site import library
from agent.site.published import THERE

ALONE = "no other box sees this one; its own lanes run on"
SOON = timedelta(days=60)
TIMEOUT_S = 1.0


def checks(box: Box) -> Iterator[Check]:
    section = box.config.site
    if section is None:
        yield Check("site", SKIP, "not configured (section site)")
        return
    if not library.installed():
        fix = "scripts/setup site, or pip install 'reflexd[site]'; then systemctl restart reflexd"
        yield Check("site library", BAD, "eclipse-zenoh is not installed", ALONE, fix)
    if section.keys:
        yield certificate(section.keys, box.config.node, datetime.now(timezone.utc))
    for peer in section.peers:
        yield address(peer, box.config)
    yield from _boxes(box)


def certificate(folder: Path, node: str, now: datetime) -> Check:
    title = "site certificate"
    if os.path.exists(folder / site_keys.KEY) and not os.access(folder / site_keys.KEY, os.R_OK):
        return Check(title, SKIP, f"{folder}: only the service may read it: sudo reflexd doctor")
    if mistake := site_keys.mistake(folder, node):
        return Check(title, BAD, mistake, ALONE, f"reflexd keys --site FOLDER --box {node}")
    identity = site_keys.read(folder)
    if reason := site_keys.outdated(identity, now):
        fix = "sudo timedatectl set-ntp true, where the clock is wrong; else reflexd keys --site"
        return Check(title, BAD, reason, ALONE, fix)
    until = f"of {identity.name}, until {identity.ends:%Y-%m-%d}"
    if identity.ends - now < SOON:
        return Check(title, WARN, until, f"then {ALONE}", f"reflexd keys --site FOLDER --box {node}")
    return Check(title, GOOD, until)


def address(peer: str, config: Config) -> Check:
    """Does a box of this site answer there? The handshake says why not, which the link cannot see."""
    title = f"site peer {peer}"
    kind, _, where = peer.partition("/")
    host, _, port = where.rpartition(":")
    effect = "no link to that box by this address"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as plain:
            if kind == "tls" and config.site and config.site.keys:
                return _handshake(title, plain, config.site.keys, config)
    except ssl.SSLError as error:
        fix = "both boxes need folders of the same 'reflexd keys --site', and clocks that are about right"
        reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
        return Check(title, BAD, f"no agreement on TLS: {reason}", effect, fix)
    except OSError as error:
        fix = f"on that box: reflexd status, site.listen; from here: ping {host}; firewall: port {port}/tcp"
        return Check(title, WARN, error.strerror or str(error), effect, fix)
    return Check(title, GOOD, "accepts connections")


def _handshake(title: str, plain: socket.socket, keys: Path, config: Config) -> Check:
    """Raises OSError."""
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the name in the certificate is the box's, not the host's
    context.load_verify_locations(keys / site_keys.CA)
    context.load_cert_chain(keys / site_keys.CERTIFICATE, keys / site_keys.KEY)
    with context.wrap_socket(plain) as secured:
        raw = secured.getpeercert(binary_form=True) or b""
    names = x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    if config.site and name not in config.site.boxes:
        effect, fix = f"'{name}' is not heard", f"add '{name}' to site.boxes, where it belongs to the site"
        return Check(title, WARN, f"the box there is '{name}', which site.boxes does not name", effect, fix)
    return Check(title, GOOD, f"the box there is '{name}'")


def _boxes(box: Box) -> Iterator[Check]:
    site = box.view.site
    if not site:
        state = WARN if box.view.pid else SKIP
        cause = "the link has written nothing" if box.view.pid else "the daemon does not run"
        yield Check("site link", state, cause, ALONE, "journalctl -u reflexd | grep -i site")
        return
    if not site["linked"] or site["troubles"]:
        cause = listed(site["troubles"]) or "it is not open"
        yield Check("site link", BAD, cause, ALONE, "see the message; journalctl -u reflexd | grep -i site")
    for name, other in site["boxes"].items():
        yield _other(name, other, site["version"])


def _other(name: str, other: dict[str, Any], version: str) -> Check:
    title = f"box {name}"
    if other["troubles"]:
        fix = f"on that box: reflexd site; journalctl -u reflexd | grep 'box {name}'"
        return Check(title, WARN, listed(other["troubles"]), "rules that need it count it as missing", fix)
    if other["state"] != THERE:
        effect, fix = "rules that need it count it as missing", "is it on? on that box: reflexd status; cable, switch"
        return Check(title, WARN, f"{other['state']} for {other['for_s']:.0f} s", effect, fix)
    if other["version"] != version:
        effect = "messages that both understand are used"
        return Check(title, WARN, f"has {other['version']}, this box {version}", effect, "update the older one")
    return Check(title, GOOD, f"there, round trip {other['trip_ms'] or 0:.1f} ms, {other['version']}")
