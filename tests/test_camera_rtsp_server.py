"""camera.rtsp against GStreamer's RTSP server: codecs, transports, sound, logins, a server that dies."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from agent.data import Sample
from drivers.base import DeviceMissing, DeviceTimeout
from drivers.camera.rtsp import Driver, Options
from tests.rtsp_fixtures import RtspServer, needs_rtsp_server
from tests.test_camera import samples

BARS = {20: (191, 191, 191), 65: (0, 191, 191), 160: (0, 191, 0), 290: (191, 0, 0)}  # column: BGR of the test card


def is_test_card(picture: np.ndarray) -> bool:
    """Its bars are where they should be, with the right colours: nothing is torn, shifted or in another order."""
    bright = picture[50].astype(int)
    return picture.shape == (240, 320, 3) and all(
        ((bright[column] > 128) == (np.array(colour) > 128)).all() for column, colour in BARS.items()
    )


def contiguous(camera: Driver, count: int) -> list[Sample]:
    """So many samples, none of which is unaccounted for."""
    last, read = camera.sequence, []
    for sample in samples(camera, count):
        assert sample.sequence == last + 1 + sample.skipped
        assert is_test_card(sample.payload)
        last = sample.sequence
        read.append(sample)
    return read


@contextmanager
def opened(camera: Driver) -> Iterator[Driver]:
    camera.open()
    yield camera
    camera.close()


@needs_rtsp_server
@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_pictures_with_sound_beside_them(codec: str, transport: str) -> None:
    with RtspServer(codec, audio=True) as server:
        start = time.monotonic()
        with opened(server.camera(transport=transport)) as camera:
            assert camera.rate_hz == 25
            read = contiguous(camera, 1)
            print(f"{codec} over {transport}: first picture after {time.monotonic() - start:.2f} s")
            read += contiguous(camera, 49)
        spans = np.diff([sample.t_capture for sample in read])
        assert (spans > 0).all()


@needs_rtsp_server
@pytest.mark.slow
@pytest.mark.parametrize("password", ["p@ss/w?rd", "2024#Cam", "a:b%c&d;e", "'\"$ {}"], ids=["a", "b", "c", "d"])
@pytest.mark.parametrize("method", ["basic", "digest"])
def test_kind_a_password_of_odd_characters_opens_it(method: str, password: str) -> None:
    with RtspServer(login=f"viewer:{password}", method=method) as server:
        with opened(server.camera(user="viewer", password=password)) as camera:
            contiguous(camera, 2)
        with opened(server.camera(f"viewer:{password}")) as camera:
            contiguous(camera, 2)


@needs_rtsp_server
@pytest.mark.slow
@pytest.mark.parametrize("method", ["basic", "digest"])
def test_what_is_refused_is_said_without_the_password(method: str) -> None:
    with RtspServer(login="viewer:right", method=method) as server:
        for login, path, cause in [
            ("viewer:wrong-one", "live", "refuses user and password"),
            ("", "live", "asks for a user and a password"),
            ("viewer:right", "other", "has no stream of this path"),
        ]:
            with pytest.raises(DeviceMissing, match=f"^rtsp://127.0.0.1:{server.port} {cause}") as refused:
                server.camera(login, path).open()
            assert not re.search("wrong-one|viewer|right|other", str(refused.value))


@needs_rtsp_server
@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_server_that_is_killed_and_returns(transport: str) -> None:
    with RtspServer() as server, opened(server.camera(transport=transport, timeout_ms=1000)) as camera:
        contiguous(camera, 5)
        server.stop()
        with pytest.raises(DeviceMissing, match="ended the stream"):
            list(samples(camera, 10_000))
        camera.close()
        with pytest.raises(DeviceMissing, match="refuses the connection"):
            camera.open()
        assert camera.child is None
        server.start()
        camera.open()
        assert contiguous(camera, 5)[0].sequence <= 25, "the pictures are counted from the new start"


@needs_rtsp_server
@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_server_that_hangs_and_continues(transport: str) -> None:
    with RtspServer() as server, opened(server.camera(transport=transport, timeout_ms=1000)) as camera:
        contiguous(camera, 5)
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeviceTimeout, match="no picture for"):
            list(samples(camera, 10_000))
        server.process.send_signal(signal.SIGCONT)
        camera.close()
        camera.open()
        contiguous(camera, 5)


def test_a_server_that_accepts_and_is_silent_is_missing_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
        camera = Driver(Options.model_validate({"url": url, "open_timeout_ms": 1500}), "yard")
        with pytest.raises(DeviceMissing, match="no picture within 1500 ms|does not answer"):
            camera.open()
        assert camera.child is None


@pytest.mark.parametrize(
    "answer", [b"\0" * 4096, b"HTTP/1.1 200 OK\r\n\r\n", b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n"]
)
def test_kind_a_server_that_answers_nonsense_is_missing(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"
        camera = Driver(Options.model_validate({"url": url, "open_timeout_ms": 1500}), "yard")
        with pytest.raises(DeviceMissing, match="does not answer|no picture within"), answering(listener, answer):
            camera.open()
        assert camera.child is None


@contextmanager
def answering(listener: socket.socket, answer: bytes) -> Iterator[None]:
    """The first client gets this answer, once it has asked."""

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    thread.join(30)
