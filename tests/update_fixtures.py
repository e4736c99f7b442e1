"""A repository with versions of a small package, a web server for it that misbehaves on request, and a box."""

from __future__ import annotations

import shutil
import socketserver
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.packages.package import BUNDLED
from agent.update.fetching.client import Client, Place
from agent.update.fetching.fetch import Fetcher, Limits, Pace
from agent.update.repository import publish, signing
from agent.update.repository import tuf_repository as repository
from agent.update.repository.tuf_repository import Repository
from agent.update.store import Store

MODEL = "arm-deviation"
RANDOM = np.random.default_rng(3)


class Publisher:
    """A repository in a folder, its keys beside it, and versions of one bundled package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = folder / "repo"
        self.keys = folder / "keys"
        signing.make(self.keys)

    @property
    def root(self) -> Path:
        return self.repo / "metadata/1.root.json"

    @property
    def url(self) -> str:
        return self.repo.as_uri()

    def package(self, version: str, card: bytes = b"") -> Path:
        """The bundled one with another version and a card of random bytes, which no compression makes small."""
        folder = self.folder / f"package-{version}" / MODEL
        if not folder.exists():
            shutil.copytree(BUNDLED / MODEL, folder)
            manifest = folder / "manifest.yaml"
            lines = [
                f'version: "{version}"' if line.startswith("version:") else line
                for line in manifest.read_text().splitlines()
            ]
            manifest.write_text("\n".join(lines) + "\n")
            (folder / "CARD.md").write_bytes(card or RANDOM.bytes(300_000))
        return folder

    def at(self, days: float) -> Repository:
        """Opened as if it were so many days later."""
        return Repository(self.repo, self.keys, lambda: repository.now() + timedelta(days=days))

    def publish(self, version: str, card: bytes = b"", bases: int = 3, days: float = 0.0) -> publish.Made:
        wanted = publish.request(self.package(version, card), version, bases)
        target = self.at(days)
        if not target.exists:
            target.create()
        return publish.publish_into(target, wanted)


class Server:
    """The repository over HTTP. answer: takes a request in place of the server where it returns True."""

    def __init__(self, folder: Path, ranges: bool = True) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str]] = []  # path, Range
        self.answer: Callable[[SimpleHTTPRequestHandler], bool] = lambda request: False
        self.released = threading.Event()  # ends what hangs
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self) -> None:
                wanted = self.headers.get("Range", "")
                server.requests.append((self.path, wanted))
                if server.answer(self):
                    return
                path = Path(self.translate_path(self.path))
                if ranges and wanted and path.is_file():
                    _send_part(self, path.read_bytes(), int(wanted.removeprefix("bytes=").rstrip("-")))
                else:
                    super().do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        class Threads(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                """A client that goes away is part of the tests."""

        self._server = Threads(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def _send_part(request: SimpleHTTPRequestHandler, content: bytes, begin: int) -> None:
    request.send_response(206)
    request.send_header("Content-Length", str(len(content) - begin))
    request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    request.end_headers()
    request.wfile.write(content[begin:])


class Box:
    """What an updater has: its state, the trusted root, a clock."""

    def __init__(self, folder: Path, publisher: Publisher, url: str = "") -> None:
        self.state_dir = folder / "state"
        self.root = folder / "root.json"
        self.url = url or publisher.url
        folder.mkdir()
        shutil.copy(publisher.root, self.root)
        self.store = Store(self.state_dir, MODEL)
        self.offset_s = 0.0  # of its clock
        self.pace = Pace()
        self.limits = Limits(silent_s=0.5)
        self.tried: list[Path] = []
        self.mistake = ""

    def trial(self, folder: Path) -> str:
        self.tried.append(folder)
        return self.mistake

    def client(self) -> Client:
        self.fetcher = Fetcher(self.limits, self.pace)
        place = Place(self.url, self.root, self.state_dir)
        return Client(place, self.fetcher, self.trial, lambda: datetime.now().timestamp() + self.offset_s)

    def update(self) -> str:
        """One check; the newest version, which is then in the store."""
        client = self.client()
        client.refresh()
        version = client.versions(MODEL).versions[-1]
        if not self.store.has(version.version):
            client.install(self.store, version)
        return version.version

    def accept(self, version: str) -> None:
        self.store.begin_trial(version)
        self.store.commit()


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """With version 2.0."""
    made = Publisher(tmp_path / "publisher")
    made.publish("2.0")
    return made
