"""Reading a repository's files over HTTP and from folders: redirects, logins, parts, hostile paths."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError

from agent.update.fetching.fetch import Fetcher, Limits, shown
from tests.update_fixtures import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(range(256)) * 1000)
    made = Server(folder)
    yield made
    made.close()


def read(url: str, offset: int = 0) -> tuple[int, bytes]:
    begin, chunks = Fetcher(Limits(silent_s=2.0)).read(url, offset)
    return begin, b"".join(chunks)


def redirect(server: Server, location: str) -> None:
    def answer(request: SimpleHTTPRequestHandler) -> bool:
        if request.path != "/moved":
            return False
        request.send_response(302)
        request.send_header("Location", location)
        request.end_headers()
        return True

    server.answer = answer


def test_a_redirect_is_followed(server: Server) -> None:
    redirect(server, "/file")
    assert len(read(f"{server.url}/moved")[1]) == 256_000


@pytest.mark.parametrize("location", ["/moved", "file:///etc/passwd", "ftp://example/x"])
def test_a_redirect_to_itself_or_another_kind_is_refused(server: Server, location: str) -> None:
    redirect(server, location)
    with pytest.raises(DownloadError, match="redirected"):
        read(f"{server.url}/moved")


def test_a_login_is_sent_and_not_shown(server: Server) -> None:
    seen: list[str] = []

    def answer(request: SimpleHTTPRequestHandler) -> bool:
        seen.append(request.headers.get("Authorization", ""))
        request.send_error(401)
        return True

    server.answer = answer
    url = server.url.replace("//", "//box:p%40ss@") + "/file"
    with pytest.raises(DownloadHTTPError) as error:
        read(url)
    assert base64.b64decode(seen[0].removeprefix("Basic ")) == b"box:p@ss"
    assert "p%40ss" not in str(error.value) and "p%40ss" not in shown(url)


def test_a_part_begins_where_it_was_asked_for(server: Server) -> None:
    assert read(f"{server.url}/file", 255_999) == (255_999, b"\xff")
    path = Path(server.folder / "file")
    assert read(path.as_uri(), 255_999) == (255_999, b"\xff")


def test_a_part_without_its_place_is_refused(server: Server) -> None:
    def answer(request: SimpleHTTPRequestHandler) -> bool:
        request.send_response(206)
        request.end_headers()
        return True

    server.answer = answer
    with pytest.raises(DownloadError, match="a part without its place"):
        read(f"{server.url}/file", 10)


def test_a_missing_file_is_as_with_a_web_server(tmp_path: Path) -> None:
    with pytest.raises(DownloadHTTPError) as error:
        read((tmp_path / "none").as_uri())
    assert error.value.status_code == 404


def test_a_pipe_or_a_folder_in_a_repository_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(DownloadError, match="no regular file"):
            read(path.as_uri())


def test_an_answer_of_another_protocol_is_refused(server: Server) -> None:
    def answer(request: SimpleHTTPRequestHandler) -> bool:
        request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
        return True

    server.answer = answer
    with pytest.raises(DownloadError):
        read(f"{server.url}/file")
