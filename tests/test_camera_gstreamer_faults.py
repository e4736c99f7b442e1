"""camera.gstreamer: pipelines that are wrong, senders that hang or send noise, and passwords."""

from __future__ import annotations

import ctypes
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.benches.programs import free_port
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.camera import _decode_protocol as protocol
from drivers.camera import _gst, _gst_child
from drivers.camera._picture_sender import PictureSender
from drivers.camera.gstreamer import Options, explained, without_secrets
from tests.gstreamer_fixtures import camera_of, needs_gstreamer
from tests.test_camera import HEIGHT, WIDTH, number_of, samples
from tests.test_camera_rtsp import patient, rtp

JPEG = "caps=application/x-rtp,media=video,encoding-name=JPEG,clock-rate=90000,payload=26"


@needs_gstreamer
@pytest.mark.parametrize(
    "pipeline, error, text",
    [
        ("nosuchsrc", DeviceFault, 'no element "nosuchsrc": which package has it'),
        ("videotestsrc ! avdec_none", DeviceFault, 'no element "avdec_none": install gstreamer1.0-libav'),
        ("videotestsrc colour=red", DeviceFault, 'no property "colour"'),
        ("audiotestsrc", DeviceFault, "could not link audiotestsrc0"),
        ("videotestsrc ! 'name", DeviceFault, "fails: "),
        ("v4l2src device=/dev/video99", DeviceMissing, "v4l2src0: Cannot identify device '/dev/video99'"),
        ("filesrc location=/nonexistent ! jpegdec", DeviceMissing, "filesrc0: "),
        ("filesrc location=/bin/true ! decodebin", DeviceFault, "fails: "),
        ("videotestsrc ! video/x-raw,width=640,height=480", DeviceFault, "640x480, more than max_pixels 100000"),
    ],
)
def test_a_wrong_pipeline_says_what_is_wrong(pipeline: str, error: type[Exception], text: str) -> None:
    camera = camera_of(pipeline, max_pixels=100_000)
    with pytest.raises(error) as raised:
        camera.open()
    assert text in str(raised.value) and str(raised.value).startswith(f"GStreamer pipeline '{pipeline.split()[0]} ")
    assert camera.child is None


@pytest.mark.parametrize(
    "pipeline",
    ["", " !\n", "x" * 5000, "videotestsrc ! appsink", "a ! autovideosink sync=false", "a\0b", "reflexd_sink. ! b"],
)
def test_a_pipeline_of_no_use_is_refused_when_the_configuration_is_read(pipeline: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Options.model_validate({"pipeline": pipeline})
    assert "autovideosink" not in str(refused.value)


def test_a_machine_without_gstreamer_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(_gst.ctypes, "CDLL", missing)
    kind, text = _gst_child.ending({"source": "videotestsrc"}, PictureSender(-1, -1, -1, True))
    assert kind == protocol.FAULT
    assert "apt-get install libgstreamer-plugins-base1.0-0 gstreamer1.0-plugins-base" in text


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """A UDP socket that sends to a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", free_port()))
        yield udp


def pictures_from(sender: socket.socket) -> str:
    return f"udpsrc address=127.0.0.1 port={sender.getpeername()[1]} {JPEG} ! rtpjpegdepay ! jpegdec"


def send(sender: socket.socket, packet: bytes) -> None:
    try:
        sender.send(packet)
    except ConnectionRefusedError:  # the server has not started
        pass


@needs_gstreamer
def test_a_sender_that_is_silent_is_missing_after_a_while(sender: socket.socket) -> None:
    camera = camera_of(pictures_from(sender), open_timeout_ms=1500)
    with pytest.raises(DeviceMissing, match="no picture within 1500 ms"):
        camera.open()
    assert camera.child is None


@needs_gstreamer
def test_a_sender_that_hangs_sends_noise_and_continues(sender: socket.socket) -> None:
    """The pictures have no order of their own: each is there or is lost."""
    camera, noise = camera_of(pictures_from(sender), timeout_ms=500), random.Random(8)
    flowing = threading.Event()
    number = itertools.count()

    def stream(packets: Callable[[], bytes]) -> None:
        flowing.set()
        while flowing.is_set():
            send(sender, packets())
            time.sleep(0.02)

    def pictures() -> bytes:
        return rtp(next(number) % 256)

    def noisy() -> bytes:
        good = rtp(next(number) % 256)
        at = noise.randrange(len(good))
        return noise.choice([noise.randbytes(noise.randrange(1500)), good[:at], good[:at] + noise.randbytes(400)])

    with sending(flowing, stream, pictures):
        camera.open()
        assert 0 <= number_of(patient(camera).payload) < 256
    with pytest.raises(DeviceTimeout, match="no picture for"):
        list(samples(camera, 10_000))
    with sending(flowing, stream, noisy):
        for _ in range(100):
            try:
                camera.read(0.02)
            except DeviceTimeout:
                pass
    with sending(flowing, stream, pictures):
        shape = patient(camera).payload.shape
    camera.close()
    assert shape == (HEIGHT, WIDTH, 3)


@contextmanager
def sending(
    flowing: threading.Event, stream: Callable[[Callable[[], bytes]], None], packets: Callable[[], bytes]
) -> Iterator[None]:
    thread = threading.Thread(target=stream, args=(packets,))
    thread.start()
    yield
    flowing.clear()
    thread.join()


SECRET = "rtspsrc location=rtsp://viewer:sesame-1@127.0.0.1:1/live?token=sesame-2 user-pw='sesame 3' ! decodebin"


@needs_gstreamer
def test_a_password_is_in_no_message_and_not_in_the_process_list() -> None:
    camera = camera_of(f"{SECRET}  videotestsrc is-live=true")
    assert "sesame" not in repr(camera.options) + camera.options.model_dump_json() + camera.label()
    with pytest.raises(DeviceMissing) as raised:
        camera.open()
    assert "sesame" not in str(raised.value) and "127.0.0.1" not in camera.label()
    camera = camera_of("videotestsrc is-live=true name=sesame")
    camera.open()
    assert camera.child is not None
    process = Path(f"/proc/{camera.child.process.pid}")
    visible = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    camera.close()
    assert b"_gst_child" in visible and b"sesame" not in visible


def test_gstreamers_texts_are_passed_on_without_secrets() -> None:
    text = 'could not set "rtsp://viewer:sesame-1@127.0.0.1:1/live?token=sesame-2" and "sesame 3" in rtspsrc0'
    assert without_secrets(text, SECRET) == 'could not set "rtsp://***@127.0.0.1:1/live?***" and "***" in rtspsrc0'
    assert without_secrets("device '/dev/video9'", "v4l2src device=/dev/video9") == "device '/dev/video9'"


@pytest.mark.parametrize(
    "element, package",
    [("aravissrc", "libaravis-0.8-0"), ("nvarguscamerasrc", "nvidia-l4t-gstreamer"), ("h265parse", "plugins-bad")],
)
def test_the_package_of_a_missing_element_is_named(element: str, package: str) -> None:
    assert package in explained(f'fails: no element "{element}"')
