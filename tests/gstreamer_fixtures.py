"""GStreamer on this machine, or why there is none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.isolated import python
from drivers.camera.gstreamer import Driver, Options

PACKAGES = "gstreamer1.0-plugins-base gstreamer1.0-plugins-good"


def reason(elements: str = "videotestsrc ! videoconvert ! jpegenc ! jpegdec", packages: str = PACKAGES) -> str:
    """Why a pipeline of these elements cannot run here; empty where it can."""
    program = python("tests.gstreamer_probe", f"{elements} ! appsink name=probe")
    works = subprocess.run(program, capture_output=True, timeout=100, check=False)
    return f"GStreamer is missing: apt-get install {packages}" if works.returncode else ""


_REASON = reason()
needs_gstreamer = pytest.mark.skipif(bool(_REASON), reason=_REASON or "here")


def camera_of(pipeline: str, **options: object) -> Driver:
    limits = {"timeout_ms": 10_000, "open_timeout_ms": 60_000}
    return Driver(Options.model_validate({"pipeline": pipeline, **limits, **options}), "yard")


@contextmanager
def opened(pipeline: str, **options: object) -> Iterator[Driver]:
    camera = camera_of(pipeline, **options)
    camera.open()
    try:
        yield camera
    finally:
        camera.close()
