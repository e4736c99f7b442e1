"""Files that this box can write and not read: encrypted for the owner of a key pair from `reflexd keys`.

X25519 with a fresh key per file, HKDF-SHA256, ChaCha20-Poly1305 (the construction of RFC 9180's base mode, without
its framing).
"""

from __future__ import annotations

import zmq.utils.z85 as z85
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"reflexd sealed 1\n"
NONCE = bytes(12)  # each key is used once


class SealError(Exception):
    """A file that cannot be decrypted with this key."""


def encrypt(plain: bytes, public: bytes) -> bytes:
    """public: of the reader, Z85, as in a .key file."""
    ephemeral = X25519PrivateKey.generate()
    reader = X25519PublicKey.from_public_bytes(z85.decode(public))
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    return MAGIC + ephemeral_public + _cipher(ephemeral, reader, ephemeral_public).encrypt(NONCE, plain, MAGIC)


def decrypt(sealed: bytes, secret: bytes) -> bytes:
    """secret: Z85, as in a .key_secret file. Raises SealError."""
    if not sealed.startswith(MAGIC) or len(sealed) < len(MAGIC) + 48:
        raise SealError("not a sealed file of reflexd")
    ephemeral_public, rest = sealed[len(MAGIC) :][:32], sealed[len(MAGIC) + 32 :]
    reader = X25519PrivateKey.from_private_bytes(z85.decode(secret))
    ephemeral = X25519PublicKey.from_public_bytes(ephemeral_public)
    try:
        return _cipher(reader, ephemeral, ephemeral_public).decrypt(NONCE, rest, MAGIC)
    except (InvalidTag, ValueError) as error:
        raise SealError("it was sealed for another key, or is damaged") from error


def _cipher(private: X25519PrivateKey, public: X25519PublicKey, salt: bytes) -> ChaCha20Poly1305:
    shared = private.exchange(public)
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, salt, MAGIC).derive(shared))
