"""The RTSP driver against a small real server: RTP/JPEG (RFC 2435) over TCP or UDP, with a password."""

from __future__ import annotations

import base64
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import cv2
import pytest
from pydantic import ValidationError

from agent.data import Sample
from drivers.base import DeviceMissing, DeviceTimeout
from drivers.camera.rtsp import Driver, Options
from tests.test_camera import HEIGHT, WIDTH, number_of, numbered, samples
from tests.waiting import until

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\n"
    "t=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track0\r\n"
)
JPEG = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]


def rtp(number: int) -> bytes:
    """The picture of this number as one RTP packet, quantisation tables included."""
    jpeg = cv2.imencode(".jpg", numbered(number % 256), JPEG)[1].tobytes()
    tables = b"".join(jpeg[at.end() + 3 : at.end() + 67] for at in re.finditer(b"\xff\xdb", jpeg))
    scan = jpeg.index(b"\xff\xda")
    data = jpeg[scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big") : -2]
    header = struct.pack(">BBHII", 0x80, 0x80 | 26, number & 0xFFFF, number * 1800 & 0xFFFFFFFF, 7)
    return (
        header
        + bytes([0, 0, 0, 0, 1, 255, WIDTH // 8, HEIGHT // 8])
        + struct.pack(">HH", 0, len(tables))
        + tables
        + data
    )


class Server(threading.Thread):
    """Serves one client after the other, 50 pictures a second while `flowing`. packet: of the picture of a number."""

    def __init__(self, sdp: str = SDP, packet: Callable[[int], bytes] = rtp) -> None:
        super().__init__(daemon=True)
        self.sdp, self.packet = sdp, packet
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.flowing = threading.Event()
        self.flowing.set()
        self.hang_up = threading.Event()
        self.login = "user:secret"
        self.sent: dict[int, int] = {}  # number -> when

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                try:
                    self.serve(client)
                except OSError:
                    continue

    def serve(self, client: socket.socket) -> None:
        send = interleaved_in(client)
        lines = client.makefile("rb")
        while request := read_request(lines):
            client.sendall(self.answer(request).encode())
            if port := re.search(r"client_port=(\d+)", request.get("transport", "")):
                send = datagrams_to(int(port[1]))
            if request["verb"] == "PLAY":
                self.play(send)
                return

    def answer(self, request: dict[str, str]) -> str:
        status, more, body = "200 OK", "", ""
        login = base64.b64encode(self.login.encode()).decode()
        if request["verb"] == "DESCRIBE" and login not in request.get("authorization", ""):
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="x"\r\n'
        elif request["verb"] == "DESCRIBE":
            more, body = f"Content-Type: application/sdp\r\nContent-Length: {len(self.sdp)}\r\n", self.sdp
        elif request["verb"] == "SETUP":
            more = f"Session: 1\r\nTransport: {request['transport']};server_port=5000-5001\r\n"
        return f"RTSP/1.0 {status}\r\nCSeq: {request['cseq']}\r\n{more}\r\n{body}"

    def play(self, send: Callable[[bytes], None]) -> None:
        number = 0
        while not self.hang_up.wait(0.02):
            if self.flowing.is_set():
                self.sent[number] = time.monotonic_ns()
                send(self.packet(number))
                number += 1

    def stop(self) -> None:
        self.hang_up.set()
        with suppress(OSError):  # stopped already
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def read_request(lines: BinaryIO) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in iter(lambda: lines.readline().decode().strip(), ""):
        name, _, value = line.partition(": ")
        fields |= {name.lower(): value} if fields else {"verb": line.split()[0]}
    return fields


def interleaved_in(client: socket.socket) -> Callable[[bytes], None]:
    return lambda packet: client.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)


def datagrams_to(port: int) -> Callable[[bytes], None]:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(packet: bytes) -> None:
        sender.sendto(packet, ("127.0.0.1", port))

    return send


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()
    server.join(10)


def camera_of(server: Server, login: str = "user:secret@", **options: object) -> Driver:
    url = f"rtsp://{login}127.0.0.1:{server.port}/live"
    return Driver(Options.model_validate({"url": url, "timeout_ms": 5000, **options}), "yard")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_come_with_the_time_of_their_arrival(server: Server, transport: str) -> None:
    camera = camera_of(server, transport=transport)
    camera.open()
    last = -1
    for sample in samples(camera, 30):
        assert sample.sequence == last + 1 + sample.skipped
        assert server.sent[number_of(sample.payload)] < sample.t_capture < time.monotonic_ns()
        last = sample.sequence
    camera.close()


def test_a_late_reader_gets_the_newest(server: Server) -> None:
    camera = camera_of(server)
    camera.open()
    first = next(samples(camera, 1))
    offset = number_of(first.payload) - first.sequence
    until(lambda: max(server.sent) >= offset + first.sequence + 20)
    late = next(samples(camera, 1))
    assert late.skipped > 0 and late.sequence == first.sequence + 1 + late.skipped
    assert number_of(late.payload) == offset + late.sequence
    camera.close()


def test_a_silent_server_is_a_timeout_and_may_continue(server: Server) -> None:
    camera = camera_of(server, timeout_ms=200)
    camera.open()
    server.flowing.clear()
    with pytest.raises(DeviceTimeout, match=f"rtsp://127.0.0.1:{server.port}: no picture"):
        list(samples(camera, 1000))
    server.flowing.set()
    assert patient(camera).sequence > 0
    camera.close()


def patient(camera: Driver) -> Sample:
    """The next sample, however long it takes; the time limit of the test ends the wait."""
    while True:
        with suppress(DeviceTimeout):
            return next(samples(camera, 1))


def test_a_server_that_hangs_up_is_missing_and_opens_again(server: Server) -> None:
    camera = camera_of(server)
    camera.open()
    server.hang_up.set()
    with pytest.raises(DeviceMissing, match=r"ended the stream after \d+ frames"):
        list(samples(camera, 1000))
    camera.close()
    server.hang_up.clear()
    camera.open()
    assert next(samples(camera, 1)).sequence >= 0
    camera.close()


def test_a_server_that_sends_nothing_is_missing_after_a_while(server: Server) -> None:
    server.flowing.clear()
    camera = camera_of(server, open_timeout_ms=1000)
    with pytest.raises(DeviceMissing, match="no picture within 1000 ms"):
        camera.open()
    assert camera.child is None


@pytest.mark.parametrize(
    "login, cause", [("", "asks for a user and a password"), ("user:wrong-secret@", "refuses user and password")]
)
def test_a_wrong_password_is_not_in_the_error(server: Server, login: str, cause: str) -> None:
    with pytest.raises(DeviceMissing, match=cause) as refused:
        camera_of(server, login).open()
    assert "secret" not in str(refused.value) and "user:" not in str(refused.value)


@pytest.mark.parametrize(
    "password", ["2024#Cam", "p@ss/w?rd", "a:b%c&d;e", "w\u00f6rd \u20ac", "'\"\\ {}"], ids=["a", "b", "c", "d", "e"]
)
@pytest.mark.parametrize("by_option", [False, True])
def test_kind_a_password_of_any_characters_opens_the_camera(
    server: Server, password: str, by_option: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """12: and stands neither in the camera's name nor in what other users see of the decoder's process."""
    server.login = f"user:{password}"
    options = {"user": "user", "password": password} if by_option else {}
    camera = camera_of(server, "" if by_option else f"user:{password}@", **options)
    camera.open()
    assert next(samples(camera, 1)).sequence >= 0
    assert camera.child is not None
    process = Path(f"/proc/{camera.child.process.pid}")
    visible = (process / "cmdline").read_text() + (process / "environ").read_text() + caplog.text
    camera.close()
    assert password not in visible + camera.label() + repr(camera.options) + camera.options.model_dump_json()
    assert camera.label() == f"rtsp://127.0.0.1:{server.port}"


def test_a_closed_port_is_missing(server: Server) -> None:
    server.stop()
    with pytest.raises(DeviceMissing, match="refuses the connection: check host and port"):
        camera_of(server).open()


def test_the_password_is_not_in_the_process_list(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    camera = camera_of(server)
    camera.open()
    assert camera.child is not None
    process = Path(f"/proc/{camera.child.process.pid}")
    visible = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert b"drivers.camera._decode" in visible and b"secret" not in visible
    assert "secret" not in repr(camera.options) + camera.options.model_dump_json() + caplog.text
    camera.close()


@pytest.mark.parametrize(
    "url", ["http://user:secret@host/x", "rtsp://", "user:secret@host", "rtsp://user:secret@host:badport/"]
)
def test_a_wrong_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Options.model_validate({"url": url})
    assert "secret" not in str(refused.value) and "rtsp://host/path" in str(refused.value)
