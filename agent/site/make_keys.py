"""`reflexd keys --site FOLDER --box NAME`: the site's own authority, and for each box the folder that goes onto it."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.box import private
from agent.errors import ConfigError
from agent.site_keys import CA, CERTIFICATE, KEY
from agent.yamlfile import NAME

DAYS = 3650
BEGINS = datetime(1970, 1, 1, tzinfo=timezone.utc)  # the clock of a box without a battery starts there
CA_KEY = "ca.key"


class Authority:
    """Of one site. Its secret key signs boxes in; it stays where it was made, on no box."""

    def __init__(self, folder: Path) -> None:
        """The one in this folder, or a new one. Raises OSError, ValueError."""
        folder.mkdir(mode=private.FOLDER, parents=True, exist_ok=True)
        self.folder = folder
        if not (folder / CA_KEY).exists():
            self._make()
        key = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self.certificate = x509.load_pem_x509_certificate((folder / CA).read_bytes())

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"reflexd site {x509.random_serial_number():x}"[:64])
        certificate = (
            _builder(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        private.write(self.folder / CA, _pem(certificate), mode=0o644)
        private.write(self.folder / CA_KEY, _pem_key(key))

    def make_box(self, box: str) -> Path:
        """The folder of a box: its certificate, its key and the authority's certificate.

        Raises FileExistsError, never overwrites.
        """
        folder = self.folder / box
        if folder.exists():
            raise FileExistsError(f"{folder} exists: remove it first where '{box}' is to have a new certificate")
        folder.mkdir(mode=private.FOLDER)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(box), self.certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{_label(box)}.site.invalid")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private.write(folder / CA, _pem(self.certificate), mode=0o644)
        private.write(folder / CERTIFICATE, _pem(certificate), mode=0o644)
        private.write(folder / KEY, _pem_key(key))
        return folder


def show(folder: Path, boxes: tuple[str, ...], as_json: bool) -> None:
    """Make them, and say what goes where. Raises ConfigError, OSError."""
    for box in boxes:
        if not re.fullmatch(NAME, box) or box in (".", ".."):
            raise ConfigError([f"'{box[:32]}': a box's name has 1 to 32 letters, digits, '_', '.' or '-': its `node`"])
    try:
        authority = Authority(folder)
    except ValueError as error:
        raise ConfigError([f"{folder}: its {CA_KEY} or {CA} is damaged ({error}): choose another FOLDER"]) from error
    made = {box: str(authority.make_box(box)) for box in boxes}
    if as_json:
        click.echo(json.dumps({"authority": str(folder / CA_KEY), "boxes": made}))
        return
    click.echo(f"authority: {folder / CA_KEY}   whoever has it can add boxes: keep it off the boxes")
    for box, path in made.items():
        click.echo(
            f"box {box}: {path}   scp -r {path} {box}:/etc/reflexd/site; there 'site: {{keys: /etc/reflexd/site}}'"
        )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINS)
        .not_valid_after(datetime.now(timezone.utc) + timedelta(days=DAYS))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _label(box: str) -> str:
    """The box's name as a host's: that TLS wants some name; which box it is, the common name says."""
    return re.sub(r"[^a-z0-9]+", "-", box.lower()).strip("-") or "box"


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())
