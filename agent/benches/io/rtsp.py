"""A real RTSP server for camera.rtsp, and how long it takes from opening to the first picture.

GStreamer's server, of the packages that `reason` names, runs in a child process.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from agent.benches.programs import free_port
from drivers.base import DeviceTimeout
from drivers.camera.rtsp import Driver, Options

SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
PROBE = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("x264enc", "x265enc", "rtph264pay", "alawenc", "videotestsrc")))
"""
WAIT_S = 30.0


def reason() -> str:
    """Why it cannot run here; empty where it can."""
    try:
        works = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return f"{SYSTEM_PYTHON} does not run"
    return f"GStreamer's RTSP server is missing: apt-get install python3-gi {PACKAGES}" if works.returncode else ""


class RtspServer:
    """Serves /live; after `stop` it starts again at the same port."""

    def __init__(self, codec: str = "h264", **settings: object) -> None:
        self.port = free_port()
        self.settings = {"port": self.port, "codec": codec, **settings}
        self.start()

    def start(self) -> None:
        program = str(Path(__file__).with_name("rtsp_server.py"))
        command = [SYSTEM_PYTHON, "-I", program, json.dumps(self.settings)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            self.stop()
            raise OSError("GStreamer's RTSP server does not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def camera(self, login: str = "", path: str = "live", **options: object) -> Driver:
        url = f"rtsp://{login and login + '@'}127.0.0.1:{self.port}/{path}"
        limits = {"timeout_ms": 5000, "open_timeout_ms": 30_000}
        return Driver(Options.model_validate({"url": url, **limits, **options}), "yard")


def first_picture_s(times: int) -> list[float]:
    """From `open` to the first picture, of H.264 over TCP with a key frame each second. Raises DeviceError, OSError."""
    with RtspServer() as server:
        return [_first_picture_s(server.camera()) for _ in range(times)]


def _first_picture_s(camera: Driver) -> float:
    start = time.monotonic()
    try:
        camera.open()
        while camera.read(1.0) is None:
            if time.monotonic() - start > WAIT_S:
                raise DeviceTimeout(f"no picture within {WAIT_S:g} s")
        return time.monotonic() - start
    finally:
        camera.close()
