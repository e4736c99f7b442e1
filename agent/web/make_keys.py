"""`reflexd keys --web FOLDER`: a TLS certificate of this box, made here, and the token that a browser must know."""

from __future__ import annotations

import json
import os
import secrets
import socket
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.box import private
from agent.web_keys import CERTIFICATE, KEY, TOKEN

DAYS = 3650  # nobody renews it on a box in the field; the browser asks once whether to trust it


def make(folder: Path, names: list[str]) -> list[Path]:
    """The certificate, its key and the token. names: under which browsers reach this box, beside its own.

    Raises FileExistsError, never overwrites.
    """
    folder.mkdir(mode=private.FOLDER, parents=True, exist_ok=True)
    paths = [folder / name for name in (CERTIFICATE, KEY, TOKEN)]
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{path} exists: remove it first, or choose another FOLDER")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = _certificate(key, names).public_bytes(serialization.Encoding.PEM)
    for path, content in zip(paths, (certificate, pem, secrets.token_urlsafe(24).encode() + b"\n")):
        private.write(path, content)
    os.chmod(paths[0], 0o644)
    return paths


def show(folder: Path, names: list[str], as_json: bool) -> None:
    """Make them, and say where they are and what goes into the configuration."""
    certificate, key, token = make(folder, names)
    if as_json:
        click.echo(json.dumps({"certificate": str(certificate), "key": str(key), "token": str(token)}))
        return
    click.echo(f"certificate: {certificate}   the browser asks once whether to trust it")
    click.echo(f"secret key:  {key}   keep it here")
    click.echo(f"token:       {token}   the browser asks for it: sudo cat {token}")
    click.echo(f"in the configuration: 'web: {{port: 8087, host: 0.0.0.0, keys: {folder}}}'")


def _certificate(key: ec.EllipticCurvePrivateKey, names: list[str]) -> x509.Certificate:
    own = socket.gethostname()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, own[:64])])
    now = datetime.now(timezone.utc)
    alternatives = x509.SubjectAlternativeName(
        [_general_name(name) for name in dict.fromkeys([own, "localhost", *names])]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))  # the clock of a box without a battery may be behind
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
