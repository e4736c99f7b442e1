"""Certificates and keys of an OPC UA client, read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from drivers.base import DeviceFault
from drivers.links.opcua.options import ServerOptions

MIN_BITS, MAX_BITS = 2048, 4096  # OPC 10000-7, Basic256Sha256: MinAsymmetricKeyLength, MaxAsymmetricKeyLength
PEM = b"-----BEGIN"


def apply_security(client: Client, options: ServerOptions) -> None:
    """Sign, or sign and encrypt, for this one server. Raises DeviceFault."""
    if options.security == "none":
        return
    assert options.certificate and options.key and options.server_certificate, "checked by the options"
    own, server = _certificate(options.certificate), _certificate(options.server_certificate)
    key = _key(options.key, options.key_password.get_secret_value())
    if key.public_key() != own.public_key():
        raise DeviceFault(f"{options.key}: is not the key of {options.certificate}")
    # OPC 10000-6, 6.2.2: a server compares the name of the client with the URI in its certificate
    client.application_uri = _application_uri(own, options.certificate)
    policy: Any = SecurityPolicyBasic256Sha256
    client.security_policy = policy(server, own, key, options.message_mode)
    client.uaclient.set_security(client.security_policy)


def refuse_clear_password(client: Client, options: ServerOptions) -> None:
    """In a session that is not activated yet. Raises DeviceFault.

    OPC 10000-4, UserNameIdentityToken: where neither its policy nor the channel encrypts, the password stands there as
    it is; and the server chooses that policy.
    """
    if not options.password.get_secret_value() or options.clear_password:
        return
    policy = client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri or ""
    if (not policy or policy.endswith("#None")) and options.security != "sign_and_encrypt":
        raise DeviceFault(f"{options.url}: wants the password in clear: use security: sign_and_encrypt")


def _certificate(path: Path) -> x509.Certificate:
    content = _read(path)
    load = x509.load_pem_x509_certificate if PEM in content else x509.load_der_x509_certificate
    try:
        return load(content)
    except ValueError:
        raise DeviceFault(f"{path}: is no certificate in PEM or DER") from None


def _key(path: Path, password: str) -> RSAPrivateKey:
    content = _read(path)
    load = load_pem_private_key if PEM in content else load_der_private_key
    try:
        key = load(content, password.encode() or None)
    except (ValueError, TypeError):  # TypeError: a password is missing, or one too many
        raise DeviceFault(f"{path}: is no key in PEM or DER, or key_password is not its password") from None
    if not isinstance(key, RSAPrivateKey) or not MIN_BITS <= key.key_size <= MAX_BITS:
        raise DeviceFault(f"{path}: Basic256Sha256 needs an RSA key of {MIN_BITS} to {MAX_BITS} bits")
    return key


def _application_uri(certificate: x509.Certificate, path: Path) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0]
    except (x509.ExtensionNotFound, IndexError, ValueError):
        raise DeviceFault(f"{path}: has no application URI among its alternative names: make a new one") from None


def _read(path: Path) -> bytes:
    if not path.is_file():  # the open of a pipe would wait for its writer
        raise DeviceFault(f"{path}: is no file: write the path of the certificate or key")
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise DeviceFault(f"{path}: {error.strerror}") from error
