"""actuator.http against a real aiohttp server in a child process, and over TLS."""

import json
import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from agent.benches.io import http as counterpart
from drivers.actuator import http
from drivers.base import DeviceFault, load
from tests.mqtt_fixtures import certificate, opened

LAMP = {
    "critical": False,
    "requests": {"on": {"path": "/lamp", "body": {"on": True}}, "off": {"path": "/lamp", "body": {"on": False}}},
    "safe": "off",
}


@pytest.fixture(scope="module")
def server():
    with counterpart.server() as options:
        yield options["url"]


def received(url):
    with urllib.request.urlopen(url + "/requests") as answer:
        return json.load(answer)


def actuator(url, **options):
    return http.Driver(http.Options(**{"url": url, "timeout_ms": 10_000, "retries": 0, **LAMP, **options}), "lamp")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_verb_is_a_request(server, method):
    driver = actuator(server + "/api/", method=method, token="Zq-token")
    with opened(driver):
        driver.apply("on", {"speed": 1})
        driver.safe()
    first, second = received(server)[-2:]
    assert (first["method"], first["path"], first["body"]) == (method, "/api/lamp", {"on": True})
    assert second["body"] == {"on": False}
    headers = {name.lower(): value for name, value in first["headers"].items()}
    assert headers["authorization"] == "Bearer Zq-token" and headers["content-type"] == "application/json"


def test_a_token_in_a_header_of_its_own(server):
    driver = actuator(server, token="Zq-token", token_header="X-Api-Key")
    with opened(driver):
        driver.safe()
    headers = {name.lower(): value for name, value in received(server)[-1]["headers"].items()}
    assert headers["x-api-key"] == "Zq-token" and "authorization" not in headers


@pytest.mark.parametrize(
    "status, text",
    [
        (301, "301 Moved Permanently: a redirect is not followed"),
        (307, "307 Temporary Redirect: a redirect is not followed"),
        (401, "401 Unauthorized: check the token"),
        (404, "404 Not Found: check url, path and method"),
        (500, "500 Internal Server Error"),
        (599, "answers 599"),
    ],
)
def test_a_status_is_named_and_not_tried_again(server, status, text):
    driver = actuator(server + f"/status/{status}", requests={"on": {}, "off": {}}, retries=3, token="Zq-token")
    before = len(received(server))
    with opened(driver), pytest.raises(DeviceFault, match=text) as raised:
        driver.apply("on", {})
    assert "Zq" not in str(raised.value)
    assert [request["path"] for request in received(server)[before:]] == [f"/status/{status}"]


def test_a_busy_server_is_tried_again_with_growing_pauses(server, monkeypatch):
    pauses = []
    monkeypatch.setattr(http.time, "sleep", pauses.append)
    driver = actuator(server + "/status/503", requests={"on": {}, "off": {}}, retries=3, backoff_ms=50)
    before = len(received(server))
    with opened(driver), pytest.raises(DeviceFault, match="503 Service Unavailable"):
        driver.safe()
    assert pauses == [0.05, 0.1, 0.2]
    assert len(received(server)) == before + 4


class Quiet(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_tls(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    public, key = certificate(tmp_path)
    stranger, _ = certificate(tmp_path / "elsewhere")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    try:
        driver = actuator(f"https://localhost:{port}", tls={"ca": str(public)})
        with opened(driver):
            driver.safe()
        for url, ca in ((f"https://localhost:{port}", stranger), (f"https://127.0.0.1:{port}", public)):
            driver = actuator(url, tls={"ca": str(ca)})
            with opened(driver), pytest.raises(DeviceFault, match="certificate is not valid here"):
                driver.safe()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("critical", [{}, {"critical": True}, {"critical": "false"}, {"critical": None}])
def test_it_is_not_for_an_emergency_stop(critical):
    options = {key: value for key, value in LAMP.items() if key != "critical"}
    with pytest.raises(ValidationError, match="HTTP is not for an emergency stop.*write 'critical: false'"):
        http.Options.model_validate({"url": "http://h", **options, **critical})


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"safe": "halt"}, "'halt' is not among"),
        ({"url": "ftp://h"}, "write http://host/path"),
        ({"url": "http://user:Zq@h"}, "a token is an option"),
        ({"url": "http://h/?token=Zq"}, "a token is an option"),
        ({"url": "http://h/\r\nX: y"}, "printable ASCII|url"),
        ({"url": "http://h:99999"}, "a port of 1 to 65535"),
        ({"url": "http://admin:hunter#Cam2024@h:502"}, "a token is an option"),
        ({"url": "http://h:hunter"}, "a port of 1 to 65535"),
        ({"url": "http://h:0"}, "port"),
        ({"token": "Zq\r\nX: y"}, "pattern"),
        ({"requests": {"off": {"path": "lamp"}}}, "pattern"),
        ({"requests": {"off": {"body": float("nan")}}}, "finite|JSON|float"),
        ({"method": "GET"}, "Input should be"),
        ({"retries": 6}, "less than"),
    ],
)
def test_invalid_options_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint) as raised:
        http.Options.model_validate({"url": "http://h", **LAMP, **options})
    assert "Zq" not in str(raised.value)


def test_it_is_loaded_by_name_and_says_its_deadline():
    module = load("actuator.http")
    driver = module.Driver(module.Options(url="http://h", **LAMP, timeout_ms=200, retries=2, backoff_ms=50))
    assert driver.deadline_ms == 50 + 3 * 200 + 50 + 100
