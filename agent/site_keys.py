"""A box's identity in its site: the files of `reflexd keys --site`, and what can be wrong with them."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography import x509  # imported where it is used: a box without a site is spared it

CA, CERTIFICATE, KEY = "ca.crt", "box.crt", "box.key"
ADVICE = (
    "'reflexd keys --site FOLDER --box {node}' makes the folder {node}: copy it to this box, and name it in site.keys"
)


class Identity(NamedTuple):
    """Of a certificate: the box's name, and from when to when it is valid, UTC."""

    name: str
    begins: datetime
    ends: datetime


def read(folder: Path) -> Identity:
    """Raises OSError; ValueError where the files do not belong together."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization

    authority = _certificate(folder / CA)
    certificate = _certificate(folder / CERTIFICATE)
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        raise ValueError(f"{folder / CERTIFICATE}: it is of another site than {folder / CA}") from None
    key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
    public = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*public) != certificate.public_key().public_bytes(*public):
        raise ValueError(f"{folder / KEY}: it is the key of another certificate")
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    return Identity(name, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _certificate(path: Path) -> x509.Certificate:
    """Raises OSError, ValueError."""
    from cryptography import x509

    content = path.read_bytes()
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise ValueError(f"{path}: no certificate") from None


def mistake(folder: Path, node: str) -> str:
    """What is wrong with this box's keys, and what to do; empty where nothing is. Not whether they are valid today."""
    try:
        identity = read(folder)
        mode = os.stat(folder / KEY).st_mode
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}: {ADVICE.format(node=node)}"
    except ValueError as error:
        return f"{error}: {ADVICE.format(node=node)}"
    if mode & 0o007:
        return f"{folder / KEY}: every user of this box can copy the secret key: chmod 600 {folder / KEY}"
    if identity.name != node:
        whose = f"it is of the box '{identity.name}', and this one is '{node}'"
        return f"{folder / CERTIFICATE}: {whose}: {ADVICE.format(node=node)}"
    return ""


def outdated(identity: Identity, now: datetime | None = None) -> str:
    """Why the other boxes would refuse it today; empty where they would not."""
    now = now or datetime.now(timezone.utc)
    if identity.begins <= now <= identity.ends:
        return ""
    span = f"{identity.begins:%Y-%m-%d} to {identity.ends:%Y-%m-%d}"
    return f"the certificate is valid from {span}, and by this box's clock it is {now:%Y-%m-%d}"
