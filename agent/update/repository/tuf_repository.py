"""A repository as The Update Framework has it (TUF 1.0, theupdateframework.io): signed files in a folder.

metadata/ says what targets/ holds, and who signs. A version of a file is never changed; timestamp.json, replaced last,
says which ones are valid together: a reader sees all of a change or nothing of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from agent.box import private
from agent.errors import ConfigError
from agent.update.repository import signing
from agent.update.repository.roles import ROLES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP

# A box takes nothing newer once one of them has ended. What is signed on the server ends soon: who takes the server
# cannot keep boxes at an old version for longer.
DAYS = {ROOT: 1095, TARGETS: 365, SNAPSHOT: 30, TIMESTAMP: 7}
RENEWED = {ROOT: 365, TARGETS: 90}  # days before the end at which `refresh` signs them again, where it has the key
PUBLIC_FILE, PUBLIC_FOLDER = 0o644, 0o755  # a web server reads them
Kind = TypeVar("Kind", Root, Targets, Snapshot, Timestamp)


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


class Repository:
    """Opened for publishing."""

    def __init__(self, folder: Path, keys: Path, clock: Callable[[], datetime] = now) -> None:
        self.folder = folder
        self.keys = keys
        self._metadata = folder / "metadata"
        self._clock = clock

    @property
    def exists(self) -> bool:
        return os.path.isfile(self._metadata / "timestamp.json")

    def create(self) -> None:
        """An empty one, signed by all four keys. Raises ConfigError, OSError."""
        signers = {role: signing.load(self.keys, role) for role in ROLES}
        root = Root(expires=self._end(ROOT))
        for role, signer in signers.items():
            root.add_key(signer.public_key, role)
        for folder in (self._metadata, self.folder / "targets"):
            folder.mkdir(mode=PUBLIC_FOLDER, parents=True, exist_ok=True)
        self._write_root(root, [signers[ROOT]])
        self._write_all(Targets(expires=self._end(TARGETS)), 0, 0)

    def commit(self, changed: Targets) -> None:
        """Make these targets the valid ones. Raises ConfigError, OSError."""
        self._check_keys((TARGETS, SNAPSHOT, TIMESTAMP))
        changed.version, changed.expires = changed.version + 1, self._end(TARGETS)
        self._write_all(changed, self.snapshot().version, self.timestamp().version)

    def refresh(self) -> list[str]:
        """Sign again what ends soon; the roles. Raises ConfigError, OSError."""
        done = [SNAPSHOT, TIMESTAMP]
        if signing.has(self.keys, ROOT) and self._ends_soon(self.root(), ROOT):
            root = self.root()
            root.version, root.expires = root.version + 1, self._end(ROOT)
            self._write_root(root, [signing.load(self.keys, ROOT)])
            done.append(ROOT)
        if signing.has(self.keys, TARGETS) and self._ends_soon(self.targets(), TARGETS):
            self.commit(self.targets())
            return [*done, TARGETS]
        self._point_to(self.snapshot().meta["targets.json"], self.snapshot().version, self.timestamp().version)
        return done

    def rotate(self, role: str) -> int:
        """A new key for a role, in a new version of root.json, which the old root key signs; its number.

        Every box follows by itself. Raises ConfigError, OSError.
        """
        self._check_keys(dict.fromkeys([ROOT, role] if role == ROOT else [ROOT, role, SNAPSHOT, TIMESTAMP]))
        root_key = signing.load(self.keys, ROOT)
        targets, snapshot, timestamp = self.targets(), self.snapshot(), self.timestamp()
        old, new = signing.replace(self.keys, role)
        root = self.root()
        root.revoke_key(old.public_key.keyid, role)
        root.add_key(new.public_key, role)
        root.version, root.expires = root.version + 1, self._end(ROOT)
        self._write_root(root, [root_key, new] if role == ROOT else [root_key])
        if role == TARGETS:
            targets.version, targets.expires = targets.version + 1, self._end(TARGETS)
            self._write_all(targets, snapshot.version, timestamp.version)
        elif role in (SNAPSHOT, TIMESTAMP):
            self._point_to(snapshot.meta["targets.json"], snapshot.version, timestamp.version)
        return root.version

    def add_target(self, targets: Targets, name: str, content: bytes) -> None:
        """Write a file under the name of its hash, as clients ask for it, and list it. Raises OSError."""
        target = TargetFile.from_data(name, content, ["sha256"])
        path = self.target_path(target)
        path.parent.mkdir(mode=PUBLIC_FOLDER, parents=True, exist_ok=True)
        _publish(path, content)
        targets.targets[name] = target

    def target_path(self, target: TargetFile) -> Path:
        folder, _, name = target.path.rpartition("/")
        return self.folder / "targets" / folder / f"{target.hashes['sha256']}.{name}"

    def root(self) -> Root:
        numbers = [int(path.name.split(".")[0]) for path in self._metadata.glob("[0-9]*.root.json")]
        return self._read(f"{max(numbers, default=1)}.root.json", Root)

    def timestamp(self) -> Timestamp:
        return self._read("timestamp.json", Timestamp)

    def snapshot(self) -> Snapshot:
        return self._read(f"{self.timestamp().snapshot_meta.version}.snapshot.json", Snapshot)

    def targets(self) -> Targets:
        return self._read(f"{self.snapshot().meta['targets.json'].version}.targets.json", Targets)

    def ends(self) -> dict[str, datetime]:
        """When each role's signature ends."""
        signed: dict[str, Signed] = {
            ROOT: self.root(),
            TARGETS: self.targets(),
            SNAPSHOT: self.snapshot(),
            TIMESTAMP: self.timestamp(),
        }
        return {role: each.expires for role, each in signed.items()}

    def _read(self, name: str, kind: type[Kind]) -> Kind:
        """Raises ConfigError."""
        path = self._metadata / name
        try:
            signed: Signed = Metadata[Any].from_bytes(path.read_bytes()).signed
        except (OSError, RepositoryError) as error:
            raise ConfigError([f"{path}: cannot be read: restore the repository from a copy ({error})"]) from error
        if not isinstance(signed, kind):
            raise ConfigError([f"{path}: is no {kind.type}: restore the repository from a copy"])
        return signed

    def _check_keys(self, roles: Iterable[str]) -> None:
        """All of them before anything is signed: half a change would stop every box. Raises ConfigError."""
        root = self.root()
        for role in roles:
            if signing.load(self.keys, role).public_key.keyid not in root.roles[role].keyids:
                raise _wrong_key(self.keys, role)

    def _write_all(self, targets: Targets, snapshot: int, timestamp: int) -> None:
        """snapshot, timestamp: their versions until now."""
        content = self._write(f"{targets.version}.targets.json", targets, TARGETS)
        self._point_to(MetaFile.from_data(targets.version, content, ["sha256"]), snapshot, timestamp)

    def _point_to(self, targets: MetaFile, snapshot: int, timestamp: int) -> None:
        made = Snapshot(version=snapshot + 1, expires=self._end(SNAPSHOT), meta={"targets.json": targets})
        content = self._write(f"{made.version}.snapshot.json", made, SNAPSHOT)
        meta = MetaFile.from_data(made.version, content, ["sha256"])
        stamp = Timestamp(version=timestamp + 1, expires=self._end(TIMESTAMP), snapshot_meta=meta)
        self._write("timestamp.json", stamp, TIMESTAMP)

    def _write_root(self, root: Root, signers: list[CryptoSigner]) -> None:
        metadata: Metadata[Any] = Metadata(root)
        for signer in signers:
            metadata.sign(signer, append=True)
        before = self.root() if root.version > 1 else root
        for each in (before, root):
            _verify(each, ROOT, metadata, self.keys)
        content = metadata.to_bytes()
        _publish(self._metadata / f"{root.version}.root.json", content)

    def _write(self, name: str, signed: Targets | Snapshot | Timestamp, role: str) -> bytes:
        metadata: Metadata[Any] = Metadata(signed)
        signer: Signer = signing.load(self.keys, role)
        metadata.sign(signer)
        _verify(self.root(), role, metadata, self.keys)
        content = metadata.to_bytes()
        _publish(self._metadata / name, content)
        return content

    def _end(self, role: str) -> datetime:
        return self._clock() + timedelta(days=DAYS[role])

    def _ends_soon(self, signed: Signed, role: str) -> bool:
        return signed.expires - self._clock() < timedelta(days=RENEWED[role])


def _verify(root: Root, role: str, metadata: Metadata[Any], keys: Path) -> None:
    """Before anything is published that no box would take. Raises ConfigError."""
    try:
        root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except RepositoryError as error:
        raise _wrong_key(keys, role) from error


def _wrong_key(keys: Path, role: str) -> ConfigError:
    path = signing.path_of(keys, role)
    return ConfigError([f"{path}: is not the {role} key of this repository: name the right --keys FOLDER"])


def _publish(path: Path, content: bytes) -> None:
    """Raises OSError."""
    private.write(path, content)
    os.chmod(path, PUBLIC_FILE)
