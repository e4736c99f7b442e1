"""One check: what the repository offers, fetched, verified, tried, put into the store. Nothing here knows a lane."""

from __future__ import annotations

import io
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError
from tuf.api.exceptions import DownloadError, LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater, UpdaterConfig

from agent.box import files, private
from agent.update.fetching import choice, clock, refusal
from agent.update.fetching.download import download
from agent.update.fetching.fetch import Fetcher, shown
from agent.update.fetching.refusal import Refused
from agent.update.repository import bundle, index
from agent.update.repository.bundle import BundleError, Files
from agent.update.repository.index import Bundle, Index, Version
from agent.update.store import Store

log = logging.getLogger("reflexd.update")
FOLDER = "update"  # in the state directory
MAX_ROOT = 512_000  # bytes
SPARE = 100 << 20  # bytes that stay free: the recorder writes on the same disk
KEPT = 2  # versions beside those in use

Trial = Callable[[Path], str]


class Place(NamedTuple):
    """url: of the repository. root: the trusted root.json. listed: the configuration names the models itself."""

    url: str
    root: Path
    state_dir: Path
    listed: bool = False


class Client:
    """Of one repository, for one check."""

    def __init__(self, place: Place, fetcher: Fetcher, trial: Trial, now: Callable[[], float] = time.time) -> None:
        """trial: runs a package's golden outputs; what is wrong, empty for nothing. Raises Refused where it cannot."""
        self._place = place
        self._name = shown(place.url)  # for messages: without a login
        self._fetcher = fetcher
        self._trial = trial
        self._clock = now
        self._folder = place.state_dir / FOLDER
        self._tuf: Updater | None = None

    def refresh(self) -> None:
        """Fetch and verify what the repository offers. Raises Refused."""
        self._check_clock()
        with self._refusals():
            metadata = self._folder / "metadata"
            private.make_folder(metadata)
            for path in metadata.glob("tmp*"):
                path.unlink()  # python-tuf's, of a process that was killed
            updater = Updater(
                metadata_dir=str(metadata),
                metadata_base_url=f"{self._place.url.rstrip('/')}/metadata/",
                target_base_url=f"{self._place.url.rstrip('/')}/targets/",
                fetcher=self._fetcher,
                config=UpdaterConfig(max_root_rotations=64),
                bootstrap=self._root(),
            )
            updater.refresh()
            self._tuf = updater
            private.write(self._folder / "seen.json", json.dumps({"time": self._clock()}).encode())

    def versions(self, model: str) -> Index:
        """Those of a model; none where the repository does not have it, unless it was listed. Raises Refused."""
        name = index.target_name(model)
        with self._refusals():
            target = self._target(name)
            if target is None and self._place.listed:
                text = f"{self._name}: has no model '{model}': publish it there, or take it out of update.models"
                raise Refused(refusal.ABSENT, text)
            if target is None:
                return Index(model=model)
            if target.length > index.MAX_BYTES:
                raise Refused(refusal.BOMB, f"{self._name}: {name} has {target.length:,} bytes: no such index")
            content = self._fetcher.download_bytes(self._address(target), target.length)
            target.verify_length_and_hashes(io.BytesIO(content))
            return _parsed(content, f"{self._name}: {name}")

    def install(self, store: Store, version: Version) -> None:
        """Into the store, whole. Raises Refused, Paused, StoreError; OSError of the disk becomes Refused."""
        with self._refusals():
            store.make()
            staging = self._folder / "staging" / store.name
            shutil.rmtree(staging, ignore_errors=True)
            content = self._content(store, version)
            bundle.write(content, staging)
            mistake = self._trial(staging)
            if mistake:
                self._bar(store, version, mistake.replace(str(staging), f"{store.name} {version.version}"))
            store.add(staging, version.version)
            store.prune(KEPT)
            shutil.rmtree(staging, ignore_errors=True)

    def _content(self, store: Store, version: Version) -> Files:
        """From the smallest bundle whose base is on this box; a difference that fails is followed by the whole."""
        bases = choice.bases(store, version)
        fitting = [each for each in version.bundles if each.base is None or each.base in bases]
        for each in sorted(fitting, key=lambda candidate: candidate.bytes):
            base = bundle.read_package(bases[each.base]) if each.base else {}
            try:
                return self._unpacked(store, version, each, base)
            except BundleError as error:
                text = f"{self._name}: {each.file} {error}"
                if each.base is None:
                    self._bar(store, version, text, refusal.BOMB if error.bomb else refusal.DAMAGED)
                log.warning("%s; the whole package is fetched", text)
        text = f"{self._name}: {store.name} {version.version} has no whole package: publish it again"
        raise Refused(refusal.DAMAGED, text)

    def _unpacked(self, store: Store, version: Version, each: Bundle, base: Files) -> Files:
        """Raises BundleError, Refused, OSError."""
        target = self._target(each.file)
        if target is None:
            raise Refused(refusal.MIXED, f"{self._name}: {each.file} is announced and not there: publish it again")
        self._check_space(target.length + 2 * version.size)
        path = self._folder / "parts" / store.name / target.hashes["sha256"]
        self._forget_others(path)
        download(self._fetcher, self._address(target), path, target.length)
        with open(path, "rb") as file:
            packed = file.read()
        try:
            target.verify_length_and_hashes(io.BytesIO(packed))
            content = bundle.unpack(packed, base, version.size)
        finally:
            path.unlink()  # whole, so whatever is wrong with it stays wrong
        if bundle.digest(content) != version.digest:
            raise BundleError("makes another package than announced")
        return content

    def _bar(self, store: Store, version: Version, text: str, reason: str = refusal.GOLDEN) -> None:
        """Never fetched again: what is signed and wrong stays wrong. Raises Refused."""
        store.bar(version.version, text)
        advice = "it is not tried again: publish a corrected one under another version"
        raise Refused(reason, f"model {store.name}: version {version.version} is rejected: {text}: {advice}")

    def _target(self, name: str) -> TargetFile | None:
        assert self._tuf is not None, "refresh comes first"
        return self._tuf.get_targetinfo(name)

    def _address(self, target: TargetFile) -> str:
        folder, _, name = target.path.rpartition("/")
        return f"{self._place.url.rstrip('/')}/targets/{folder}/{target.hashes['sha256']}.{name}"

    def _root(self) -> bytes:
        """Raises Refused."""
        try:
            with files.open_regular(self._place.root, MAX_ROOT) as file:
                return file.read()
        except files.BadFile as error:
            advice = "copy metadata/1.root.json of the repository there, by a way that you trust"
            raise Refused(refusal.ROOT, f"{self._place.root}: {error}: {advice}") from error

    def _check_clock(self) -> None:
        """Raises Refused."""
        try:
            seen = float(json.loads((self._folder / "seen.json").read_bytes())["time"])
        except (OSError, ValueError, TypeError, KeyError):
            seen = 0.0
        mistake = clock.mistake(self._clock(), seen)
        if mistake:
            raise Refused(refusal.CLOCK, mistake)

    def _check_space(self, needed: int) -> None:
        """Raises Refused."""
        free = shutil.disk_usage(self._folder).free
        if free < needed + SPARE:
            text = f"{self._place.state_dir}: {free >> 20} MB free, {needed + SPARE >> 20} MB needed for an update"
            raise Refused(refusal.DISK, f"{text}: free some space ('reflexd doctor' says where)")

    def _forget_others(self, path: Path) -> None:
        """Parts of versions that are not wanted any more."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.iterdir():
            if other != path:
                other.unlink(missing_ok=True)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Whatever the libraries and the system raise becomes Refused."""
        try:
            yield
        except (RepositoryError, DownloadError, LengthOrHashMismatchError, OSError) as error:
            raise refusal.explain(error, self._name, clock.text(self._clock())) from error


def _parsed(content: bytes, name: str) -> Index:
    """Raises Refused."""
    try:
        return Index.model_validate_json(content)
    except ValidationError as error:
        raise Refused(
            refusal.DAMAGED, f"{name} is no index of versions: publish again, with a newer reflexd"
        ) from error
