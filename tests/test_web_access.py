"""Who may use the live view: names, origins, TLS, the token, and the files that hold it."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest

from agent.benches.programs import free_port
from agent.web import make_keys
from agent.web_keys import read_token, tls
from tests.processes import Cell
from tests.waiting import until
from tests.web import Page, web_cell

ARM = {"arm": {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}}


def test_a_page_of_another_site_reads_nothing(tmp_path: Path) -> None:
    """DNS rebinding shows as another Host, a request across sites as another Origin, or as no Origin at all."""
    with web_cell(tmp_path) as (_, page, _daemon):
        assert page.get("/api/status", Host="evil.example")[0] == 421
        assert page.get("/api/status", Host="192.0.2.7:80")[0] == 421
        assert page.get("/api/status", Origin="http://evil.example")[0] == 403
        assert page.get("/api/status", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert page.post("/api/replay", {"name": "x.mcap"}, Origin="null")[0] == 403
        assert page.get("/api/live?lane=arm", Origin="http://evil.example", Upgrade="websocket")[0] == 403
        assert page.get("/api/status", Host="localhost:1")[0] == 200


def test_beyond_this_box_it_needs_tls_and_the_token(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    certificate, key, token_file = make_keys.make(folder, ["127.0.0.1"])
    assert [path.stat().st_mode & 0o777 for path in (key, token_file)] == [0o600, 0o600]
    with Cell(tmp_path, ARM) as cell:
        port = free_port()
        cell.config["web"] = {"port": port, "host": "0.0.0.0", "keys": str(folder)}
        _, daemon = cell.start_both()
        trust = _trusting(certificate)
        page = Page(f"https://127.0.0.1:{port}", trust)
        until(lambda: page.get("/")[0] == 200, lambda: daemon.text)
        assert page.get("/api/status")[0] == 401
        assert page.post("/api/login", {"token": "wrong"})[0] == 403
        assert page.get("/api/status", Authorization="Bearer wrong")[0] == 401
        token = token_file.read_text().strip()
        assert page.get("/api/status", Authorization=f"Bearer {token}")[1]["web"]["pictures"] == "hidden"
        assert page.post("/api/login", {"token": token})[0] == 204
        assert "HttpOnly" not in page.cookie and token not in page.cookie
        assert page.get("/api/status")[0] == 200
        assert page.get("/api/status", Host=f"{socket.gethostname()}:{port}")[0] == 200
        assert page.get("/api/status", Host="evil.example")[0] == 421
        assert token not in daemon.text
        with pytest.raises(OSError):
            _plain_request(port)


def _trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def _plain_request(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = connection.recv(100)
    if not answer.startswith(b"HTTP/"):
        raise OSError("no HTTP without TLS")
    return answer


def test_keys_are_never_overwritten_and_a_readable_token_is_refused(tmp_path: Path) -> None:
    _, _, token = make_keys.make(tmp_path, [])
    with pytest.raises(FileExistsError, match="remove it first"):
        make_keys.make(tmp_path, [])
    os.chmod(token, 0o644)
    with pytest.raises(ValueError, match="every user of this box can read the token: chmod 600"):
        read_token(tmp_path)
    assert tls(tmp_path)


def test_another_address_without_keys_is_refused(tmp_path: Path) -> None:
    """In the configuration as on the command line."""
    with Cell(tmp_path, ARM) as cell:
        view = cell.start("web", "-c", str(cell.write()), "--host", "0.0.0.0", "--port", str(free_port()))
        assert view.exit_code() == 2 and "the live view has no keys: set web.keys" in view.text
        open_to_all = cell.write("open.yaml", web={"port": 8087, "host": "0.0.0.0"})
        check = cell.start("check", "-c", str(open_to_all))
        assert check.exit_code() == 2 and "open.yaml:" in check.text and "set web.keys: FOLDER" in check.text
        no_keys = cell.write("lost.yaml", web={"port": 8087, "host": "0.0.0.0", "keys": str(tmp_path / "none")})
        check = cell.start("check", "-c", str(no_keys))
        assert check.exit_code() == 2 and "'reflexd keys --web" in check.text
