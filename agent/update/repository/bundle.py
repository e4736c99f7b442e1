"""A package in one file, whole or against an older version of it.

MAGIC, the length of the index, the index as JSON, then the files one after the other as deltas.py makes them. Each
result is checked against its sha256, whatever it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from agent.box import files
from agent.errors import PackageError
from agent.packages import package
from agent.packages.checksums import file_inside
from agent.update.repository import deltas
from agent.update.repository.deltas import DeltaError

MAGIC = b"RXPKG01\n"
LENGTH = struct.Struct("<I")
MAX_INDEX, MAX_FILES, MAX_BYTES = 1 << 16, 128, 1 << 30  # bytes of the index; files and bytes of a package
BESIDE = ("CARD.md",)  # travels with a package without being in its manifest

Files = Mapping[str, bytes]  # by their names in the package


class BundleError(Exception):
    """The text is the end of a sentence that starts with the file's name. bomb: it would fill memory or the disk."""

    def __init__(self, text: str, bomb: bool = False) -> None:
        super().__init__(text)
        self.bomb = bomb


class Entry(NamedTuple):
    """A file of the package. length: of its bytes in the bundle."""

    name: str
    size: int
    sha256: str
    how: str
    length: int


def read_package(folder: Path) -> dict[str, bytes]:
    """The files of a package that its manifest names, and its card. Raises PackageError."""
    manifest = package.read(folder)
    names = ["manifest.yaml", manifest.file, *manifest.files, *([manifest.golden] if manifest.golden else [])]
    names += [name for name in BESIDE if os.path.isfile(folder / name)]
    content: dict[str, bytes] = {}
    for name in dict.fromkeys(names):
        path = file_inside(folder, name)
        try:
            with files.open_regular(path, MAX_BYTES) as file:
                content[name] = file.read()
        except (files.BadFile, OSError) as error:
            raise PackageError(f"{path}: {error}") from error
    return content


def digest(content: Files) -> str:
    """sha256 of a whole package: of its files' names and their sha256."""
    lines = [f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in sorted(content.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def pack(content: Files, base: Files | None = None) -> tuple[bytes, dict[str, int]]:
    """(the smallest bundle, the bytes with each kind of difference alone). base: files of the older version."""
    entries, payloads, sizes = [], [], dict.fromkeys((deltas.SUBTRACT, deltas.BSDIFF), 0)
    for name, new in sorted(content.items()):
        made = deltas.encode(new, (base or {}).get(name))
        how = min(made, key=lambda method: len(made[method]))
        entries.append(Entry(name, len(new), hashlib.sha256(new).hexdigest(), how, len(made[how])))
        payloads.append(made[how])
        for method in sizes:
            sizes[method] += len(made.get(method, made.get(deltas.FULL, b"")))
    index = json.dumps(entries).encode()
    head = b"".join([MAGIC, LENGTH.pack(len(index)), index])
    return head + b"".join(payloads), {method: len(head) + size for method, size in sizes.items()}


def unpack(bundle: bytes, base: Files, limit: int) -> dict[str, bytes]:
    """The package's files. limit: bytes of all of them together. Raises BundleError."""
    entries, start = _index(bundle)
    total = sum(entry.size for entry in entries)
    if total > min(limit, MAX_BYTES):
        raise BundleError(f"would unpack into {total:,} bytes, {min(limit, MAX_BYTES):,} are expected", bomb=True)
    content: dict[str, bytes] = {}
    for entry in entries:
        content[entry.name] = _file(entry, bundle[start : start + entry.length], base)
        start += entry.length
    if start != len(bundle):
        raise BundleError("is longer or shorter than its index says")
    return content


def _file(entry: Entry, payload: bytes, base: Files) -> bytes:
    try:
        data = deltas.decode(entry.how, payload, base.get(entry.name, b""), entry.size)
    except DeltaError as error:
        raise BundleError(f"'{entry.name}' {error}", bomb="more than" in str(error)) from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleError(f"'{entry.name}' has another sha256 than announced")
    return data


def _index(bundle: bytes) -> tuple[list[Entry], int]:
    """(the files, where the first one's bytes begin). Raises BundleError."""
    head = len(MAGIC) + LENGTH.size
    if not bundle.startswith(MAGIC) or len(bundle) < head:
        raise BundleError("is no package of reflexd")
    (length,) = LENGTH.unpack_from(bundle, len(MAGIC))
    if length > MAX_INDEX:
        raise BundleError(f"has an index of {length:,} bytes; at most {MAX_INDEX:,} are read", bomb=True)
    try:
        entries = [_entry(row) for row in json.loads(bundle[head : head + length])]
    except (ValueError, TypeError, RecursionError) as error:
        raise BundleError("has a damaged index") from error
    if not 0 < len(entries) <= MAX_FILES or len({entry.name for entry in entries}) != len(entries):
        raise BundleError(f"has no files, some twice, or more than {MAX_FILES}")
    return entries, head + length


def _entry(row: list[object]) -> Entry:
    """Raises ValueError, TypeError."""
    name, size, sha256, how, length = row
    texts, numbers = (name, sha256, how), (size, length)
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise ValueError
    entry = Entry(*row)  # type: ignore[arg-type]
    plain = entry.name and "\0" not in entry.name and len(entry.name) < 256
    if not plain or files.leads_out(entry.name) or min(entry.size, entry.length) < 0:
        raise ValueError
    return entry


def write(content: Files, folder: Path) -> None:
    """Into a new folder. Raises OSError."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
