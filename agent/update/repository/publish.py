"""Puts a version of a package into a repository: whole, and as differences from the newest versions before it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import ConfigError
from agent.packages import package
from agent.update import library
from agent.update.repository import bundle, index
from agent.update.repository.bundle import Files
from agent.update.repository.index import Bundle, Index, Version
from agent.update.state import CONFIGURED, VERSION_PATTERN

if TYPE_CHECKING:
    from agent.update.repository.tuf_repository import Repository

KEPT = 20  # versions of a model in a repository; files of older ones are deleted
WORTH = 0.95  # a difference that is not smaller than this share of the whole is not published


class Request(NamedTuple):
    """What to publish. bases: how many older versions to make differences from."""

    package: Path
    name: str
    version: str
    bases: int = 3


def request(folder: Path, version: str, bases: int) -> Request:
    """version: empty for the manifest's. Raises PackageError, ConfigError."""
    made = Request(folder, folder.resolve().name, version or package.read(folder).version, bases)
    for text, what in ((made.name, "model"), (made.version, "version")):
        if not re.fullmatch(VERSION_PATTERN, text) or text == CONFIGURED:
            where = "rename the folder" if what == "model" else "give another one with --version"
            raise ConfigError([f"'{text}' cannot name a {what}: letters, digits and . _ + - are possible: {where}"])
    return made


class Made(NamedTuple):
    """A version with its bundles, not published yet. sizes: for people, of each way."""

    version: Version
    contents: dict[str, bytes]  # by the names of the targets
    sizes: list[dict[str, Any]]


def make(wanted: Request, repo: Path) -> Made:
    """Every bundle of a version. Raises PackageError, ConfigError, OSError."""
    library.check_installed()
    content = bundle.read_package(wanted.package)
    folder = f"{wanted.name}/{wanted.version}"
    full, _ = bundle.pack(content)
    contents = {f"{folder}/full.rxp": full}
    rows: list[dict[str, Any]] = [{"from": "", "bytes": len(full), "published": True}]
    bundles = [Bundle(base=None, file=f"{folder}/full.rxp", bytes=len(full))]
    for base in _bases(wanted, repo):
        packed, sizes = bundle.pack(content, base.files)
        row = {"from": base.version, "bytes": len(packed), "published": len(packed) < WORTH * len(full)}
        rows.append({**row, **sizes, "whole": len(full)})
        if row["published"]:
            target = f"{folder}/from-{base.version}.rxp"
            contents[target] = packed
            bundles.append(Bundle(base=bundle.digest(base.files), file=target, bytes=len(packed)))
    size = sum(map(len, content.values()))
    version = Version(version=wanted.version, digest=bundle.digest(content), size=size, bundles=bundles)
    return Made(version, contents, rows)


class _Base(NamedTuple):
    version: str
    files: Files


def _bases(wanted: Request, repo: Path) -> list[_Base]:
    """The newest versions before this one, unpacked."""
    if not os.path.isdir(repo / "metadata"):
        return []
    from agent.update.repository.tuf_repository import Repository

    repository = Repository(repo, repo)
    if not repository.exists:
        return []
    targets = repository.targets()
    known = index.of_targets(repository, targets, wanted.name)
    older = [version for version in known.versions if version.version != wanted.version][-wanted.bases :]
    bases = []
    for version in reversed(older if wanted.bases else []):
        full = next(each for each in version.bundles if each.base is None)
        packed = repository.target_path(targets.targets[full.file]).read_bytes()
        bases.append(_Base(version.version, bundle.unpack(packed, {}, version.size)))
    return bases


def publish(wanted: Request, repo: Path, keys: Path) -> Made:
    """Checks the package, makes the bundles, signs. Raises PackageError, ConfigError, OSError."""
    library.check_installed()
    from agent.update.repository.tuf_repository import Repository

    package.open_package(wanted.package)
    return publish_into(Repository(repo, keys), wanted)


def publish_into(repository: Repository, wanted: Request) -> Made:
    """A package that was checked. Raises PackageError, ConfigError, OSError."""
    if not repository.exists:
        repository.create()
    targets = repository.targets()
    known = index.of_targets(repository, targets, wanted.name)
    made = make(wanted, repository.folder)
    for version in known.versions:
        if version.version == wanted.version and version.digest != made.version.digest:
            text = f"version {wanted.version} of {wanted.name} is published with other content, and stays as it is"
            raise ConfigError([f"{repository.folder}: {text}: give another one with --version"])
        if version.version == wanted.version:
            repository.refresh()
            return made
    kept = [*known.versions, made.version]
    for name, content in made.contents.items():
        repository.add_target(targets, name, content)
    gone = [targets.targets.pop(each.file) for version in kept[:-KEPT] for each in version.bundles]
    name = index.target_name(wanted.name)
    gone += [targets.targets[name]] if name in targets.targets else []
    listed = Index(model=wanted.name, versions=kept[-KEPT:])
    repository.add_target(targets, name, listed.model_dump_json().encode())
    repository.commit(targets)
    for target in gone:
        repository.target_path(target).unlink(missing_ok=True)
    return made


def as_text(wanted: Request, made: Made) -> str:
    """A line for each way, for a person."""
    lines = [f"{wanted.name} {wanted.version}: {made.version.size:,} bytes in the package"]
    for row in made.sizes:
        if not row["from"]:
            lines.append(f"  whole: {row['bytes']:,} bytes")
            continue
        note = "" if row["published"] else "; saves too little, so it is not published"
        ways = f"subtract alone {row['subtract']:,}, bsdiff {row['bsdiff']:,}, whole {row['whole']:,}"
        lines.append(f"  from {row['from']}: {row['bytes']:,} bytes ({ways}){note}")
    return "\n".join(lines)


def as_json(wanted: Request, made: Made) -> str:
    content = {"model": wanted.name, "version": wanted.version, "size": made.version.size, "bundles": made.sizes}
    return json.dumps(content, indent=2)
