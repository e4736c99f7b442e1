"""`reflexd diag`: one archive for a support ticket; bounded, without secrets, and honest about what it lacks."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import click

from agent.field import board, collect, doctor, snapshot, status
from agent.field.checks.base import Box, run_tool
from agent.field.snapshot import View
from agent.recorder import redact

TOTAL = 50_000_000  # bytes before compression
TEXT = 5_000_000  # of one text; the end is kept, what has just happened stands there
RECORDING = 10_000_000


class Archive:
    """A tar.gz for its owner only. Texts are redacted on the way in; what cannot be had is noted."""

    def __init__(self, path: Path, known: list[str]) -> None:
        self.path = path
        self.known = known
        self.left = TOTAL
        self.lacks: list[str] = []
        self.folder = path.name.partition(".")[0]
        self.file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
        self.tar = tarfile.open(fileobj=self.file, mode="w:gz")

    def text(self, name: str, content: str | None, why: str = "not here") -> None:
        if content is None:
            self.lacks.append(f"{name}: {why}")
            return
        clean = redact.text(content, self.known)
        if len(clean) > TEXT:
            self.lacks.append(f"{name}: only its last {TEXT // 1_000_000} MB")
            clean = clean[-TEXT:]
        self.data(name, clean.encode("utf-8", "replace"))

    def data(self, name: str, content: bytes) -> None:
        """As it is; not if it holds a secret in plain sight."""
        if len(content) > self.left:
            self.lacks.append(f"{name}: {len(content) / 1e6:.1f} MB, more than is left of {TOTAL // 1_000_000} MB")
            return
        if any(secret.encode() in content for secret in self.known if not secret.isdigit()):
            self.lacks.append(f"{name}: holds a secret")
            return
        entry = tarfile.TarInfo(f"{self.folder}/{name}")
        entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
        self.tar.addfile(entry, io.BytesIO(content))
        self.left -= len(content)

    def close(self) -> None:
        self.tar.close()
        self.file.close()


def show(path: Path, output: Path | None, recording: bool) -> int:
    """Raises OSError where the archive cannot be written; an older one is not overwritten."""
    view = snapshot.look(path)
    out = output or _folder() / f"reflexd-diag-{view.config.node}-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz"
    archive = Archive(out, _known_secrets(view))
    try:
        for step in _steps(view, recording):
            click.echo(f"  {step.__name__} ...", err=True)
            try:
                step(archive)
            except OSError as error:  # a file that went away meanwhile
                archive.lacks.append(f"{step.__name__}: {error}")
        archive.text("LACKS.txt", "".join(f"{line}\n" for line in archive.lacks) or "nothing\n")
    finally:
        archive.close()
    for line in archive.lacks:
        click.echo(redact.text(f"without {line}", archive.known))
    click.echo(f"{out.resolve()}: {out.stat().st_size / 1e6:.1f} MB; look into it before you send it: tar -tzf {out}")
    return 0


def _folder() -> Path:
    """Here; or where everybody may write, as the root of an image may be read-only."""
    return Path() if os.access(".", os.W_OK) else Path(tempfile.gettempdir())


def _known_secrets(view: View) -> list[str]:
    """Of the configuration and of every key file that it names or that lies beside one."""
    data = collect.parsed(view.path)
    files = [view.config.keys.own] if view.config.keys else []
    files += [one for file in files for one in sorted(file.parent.glob("*secret*"))]
    written = redact.raw_secrets(collect.read(str(view.path)) or "") if data is None else redact.secrets(data)
    return redact.longest_first(chain(written, redact.key_secrets(files)))


def _steps(view: View, recording: bool) -> Iterator[Callable[[Archive], None]]:
    """In the order of their worth, as the archive may be full before the end."""

    def configuration(archive: Archive) -> None:
        archive.text("reflexd.yaml", *collect.configuration(view.path))
        archive.text("mistakes.txt", collect.mistakes(view.path))

    def state(archive: Archive) -> None:
        now = status.take(view.path, board.Board())
        archive.text("status.json", json.dumps(redact.tree(status.as_dict(now)), indent=2))
        archive.text("status.txt", "\n".join(status.lines(now)) + "\n")

    def examination(archive: Archive) -> None:
        found = list(doctor.examine(Box(view, Path("/"), run_tool)))
        archive.text("doctor.json", json.dumps(redact.tree(doctor.as_dict(found)), indent=2))

    def versions(archive: Archive) -> None:
        archive.text("versions.txt", collect.versions())
        archive.text("os-release", collect.read("/etc/os-release"))

    def log(archive: Archive) -> None:
        archive.text("journal.txt", *collect.journal(run_tool))
        archive.text("dmesg.txt", run_tool(["dmesg"]), "not readable: sudo reflexd diag")

    def ledgers(archive: Archive) -> None:
        archive.text("ledgers.txt", collect.summary(view))
        for name in view.snapshots:
            archive.data(f"ledgers/{name}.ledger", (view.run_dir / f"{name}.ledger").read_bytes())
        archive.lacks += view.troubles

    def recordings(archive: Archive) -> None:
        found = collect.recordings(view)
        archive.text("recordings.txt", collect.listing(found), "no recordings in state_dir")
        newest = next((one for one in found if one.stat().st_size <= RECORDING), None) if recording else None
        if newest:
            archive.data(f"recordings/{newest.name}", newest.read_bytes())
        elif found:
            archive.lacks.append(
                "recordings: left out as asked" if not recording else "recordings: none is below 10 MB"
            )

    yield from (configuration, state, examination, versions, log, recordings, ledgers)
