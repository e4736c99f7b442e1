"""The keys of an update repository, a file for each role. Root and targets stay away from the server: see README.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.box import files, private
from agent.errors import ConfigError
from agent.update.library import check_installed
from agent.update.repository.roles import OFFLINE, ROLES

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

MAX_KEY_BYTES = 1 << 16


def path_of(folder: Path, role: str) -> Path:
    return folder / f"{role}.pem"


def make(folder: Path) -> list[Path]:
    """A key for each role. Raises ConfigError where one is there: it is never overwritten; OSError."""
    paths = [path_of(folder, role) for role in ROLES]
    for path in paths:
        if os.path.lexists(path):
            raise ConfigError([f"{path} exists: with a new key the old one's boxes would take no update: see rotate"])
    private.make_folder(folder)
    for path in paths:
        _new(path)
    return paths


def replace(folder: Path, role: str) -> tuple[CryptoSigner, CryptoSigner]:
    """(old, new): a new key for a role; the old one stays beside it as ROLE.old-N.pem. Raises ConfigError, OSError."""
    path = path_of(folder, role)
    old = load(folder, role)
    number = 1 + sum(1 for _ in folder.glob(f"{role}.old-*.pem"))
    new = private.unfinished(path)
    new.unlink(missing_ok=True)
    _new(new)
    os.rename(path, folder / f"{role}.old-{number}.pem")
    os.rename(new, path)
    return old, load(folder, role)


def _new(path: Path) -> None:
    check_installed()
    from securesystemslib.signer import CryptoSigner

    with open(private.create(path), "wb") as file:
        file.write(CryptoSigner.generate_ed25519().private_bytes)
        file.flush()
        os.fsync(file.fileno())


def has(folder: Path, role: str) -> bool:
    return os.path.isfile(path_of(folder, role))


def load(folder: Path, role: str) -> CryptoSigner:
    """Raises ConfigError."""
    check_installed()
    from securesystemslib.signer import CryptoSigner

    path = path_of(folder, role)
    try:
        with files.open_regular(path, MAX_KEY_BYTES) as file:
            key = load_pem_private_key(file.read(), None)
    except files.BadFile as error:
        where = " (a key that is kept offline: bring it, or name its folder)" if role in OFFLINE else ""
        raise ConfigError([f"{path}: {error}{where}: --keys FOLDER; 'reflexd model keys FOLDER' makes keys"]) from error
    except (ValueError, TypeError) as error:
        raise ConfigError([f"{path}: is no private key in PEM: restore it from your copy"]) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError([f"{path}: is no Ed25519 key: 'reflexd model keys FOLDER' makes one"])
    return CryptoSigner(key)
