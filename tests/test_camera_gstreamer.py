"""camera.gstreamer: pictures of real pipelines, their formats and time stamps, and how they end."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.camera._gst import Picture, Pipeline
from drivers.camera._gst_child import Player, Problem
from drivers.camera._picture_sender import PictureSender
from tests.gstreamer_fixtures import camera_of, needs_gstreamer, opened
from tests.test_camera import samples
from tests.waiting import until

pytestmark = needs_gstreamer
LIVE = "videotestsrc is-live=true ! video/x-raw,width={width},height=60,framerate=25/1"
PERIOD = 40_000_000


@pytest.mark.parametrize("pixels, width", [("bgr", 322), ("bgr", 321), ("grey", 323), ("yuyv", 322), ("yuyv", 320)])
def test_each_format_and_every_width(pixels: str, width: int) -> None:
    """Lines of a width that four does not divide are padded."""
    with opened(LIVE.format(width=width), pixels=pixels) as camera:
        picture = next(samples(camera, 1)).payload
        assert (camera.width, camera.height, camera.pixels, camera.rate_hz) == (width, 60, pixels, 25)
        to_bgr = {"grey": cv2.COLOR_GRAY2BGR, "yuyv": cv2.COLOR_YUV2BGR_YUY2}
        shown = picture if pixels == "bgr" else cv2.cvtColor(picture, to_bgr[pixels])
        # the test card's bars, from left to right: each one darker than the one before
        bars = shown[:20, width // 14 :: width // 7][:, :7].astype(int).sum(2) if pixels == "grey" else None
        assert bars is None or (np.diff(bars, axis=1) < 0).all()
        if pixels != "grey":
            assert (shown[:20, width * 5 // 14].astype(int) @ [1, 0, -1] > 80).all(), "the third bar is cyan"
            assert (shown[:20, width * 11 // 14].astype(int) @ [-1, 0, 1] > 80).all(), "the sixth bar is red"


def test_the_time_stamps_of_buffers_are_kept() -> None:
    """The source stamps on a grid of its rate; an element then delays every picture by 20 ms."""
    with opened(f"{LIVE.format(width=320)} ! identity sleep-time=20000") as camera:
        read = []
        for sample in samples(camera, 20):
            assert time.monotonic_ns() - sample.t_capture >= 20_000_000
            read.append(sample)
    steps = np.diff([sample.t_capture for sample in read])
    counted = np.diff([sample.sequence for sample in read])
    assert (steps > 0).all() and (np.abs(steps - np.round(steps / PERIOD) * PERIOD) <= 1).all()
    assert all(sample.skipped == count - 1 for sample, count in zip(read[1:], counted, strict=True))


@pytest.mark.parametrize(
    "pipeline, stamp", [(LIVE.format(width=320), "arrival"), ("videotestsrc ! clocksync", "buffer")]
)
def test_without_stamps_of_this_clock_it_is_the_arrival(pipeline: str, stamp: str) -> None:
    start = time.monotonic_ns()
    with opened(pipeline, stamp=stamp) as camera:
        stamps = [sample.t_capture for sample in samples(camera, 10)]
    assert start < stamps[0] and stamps == sorted(set(stamps)) and stamps[-1] < time.monotonic_ns()
    assert any(step % PERIOD for step in np.diff(stamps))


@pytest.mark.parametrize("offset_s, kept", [(-9, True), (-11, False), (0, True), (9, True), (11, False)])
def test_stamps_of_another_clock_are_a_fault(offset_s: int, kept: bool) -> None:
    """Those of a moment ago are kept; what is in the future has just arrived."""

    class Scripted:
        def base_time(self) -> int:
            return 1_000_000_000_000

    player = Player({"channels": 3, "stamp": "buffer"}, cast(Pipeline, Scripted()), PictureSender(-1, -1, -1, True))
    player.stamped = True
    picture = Picture(0, 0, 64, 48, 25.0, 2_000_000_000, False)
    arrival = 1_002_000_000_000 - offset_s * 1_000_000_000
    if kept:
        assert player._stamp(picture, arrival) == min(arrival, 1_002_000_000_000)
    else:
        with pytest.raises(
            Problem, match=re.escape(f"stamps its pictures {offset_s:+d} s from now: set 'stamp: arrival'")
        ):
            player._stamp(picture, arrival)


def test_a_late_reader_gets_the_newest() -> None:
    with opened(LIVE.format(width=320)) as camera:
        first = next(samples(camera, 1))
        until(lambda: time.monotonic_ns() > first.t_capture + 15 * PERIOD)
        late = next(samples(camera, 1))
        assert late.skipped >= 10 and late.sequence == first.sequence + 1 + late.skipped
        assert late.t_capture >= first.t_capture + 10 * PERIOD


def test_it_opens_again_and_releases_its_device_when_closed() -> None:
    camera = camera_of(LIVE.format(width=320))
    for _ in range(2):
        camera.open()
        assert camera.child is not None
        process = camera.child.process
        assert next(samples(camera, 1)).sequence >= 0
        camera.close()
        camera.close()
        assert process.returncode == 0, "not killed"


def test_a_child_that_hangs_is_killed_when_closed() -> None:
    with opened(LIVE.format(width=320), timeout_ms=300) as camera:
        assert camera.child is not None
        process = camera.child.process
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeviceTimeout, match="GStreamer pipeline 'videotestsrc ...': no picture for"):
            list(samples(camera, 1000))
    assert process.returncode == -signal.SIGKILL


def test_a_crash_of_a_plugin_is_a_fault_and_it_opens_again() -> None:
    with opened(LIVE.format(width=320)) as camera:
        assert camera.child is not None
        os.kill(camera.child.process.pid, signal.SIGSEGV)
        with pytest.raises(DeviceFault, match="died of SIGSEGV"):
            list(samples(camera, 1000))
        camera.close()
        camera.open()
        assert next(samples(camera, 1)).sequence >= 0


def test_the_end_of_the_stream_is_a_camera_that_is_gone() -> None:
    """Also where another branch of the pipeline goes on."""
    for pipeline in ("videotestsrc num-buffers=3", "videotestsrc is-live=true ! fakesink  videotestsrc num-buffers=3"):
        camera = camera_of(pipeline)
        with pytest.raises(DeviceMissing, match="ended the stream after"):
            camera.open()
            list(samples(camera, 1000))
        camera.close()


def test_another_picture_size_is_a_fault(tmp_path: Path) -> None:
    for number, size in enumerate([(48, 64, 3)] * 3 + [(96, 128, 3)]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros(size, np.uint8))
    source = f"multifilesrc location={tmp_path}/%d.png caps=image/png,framerate=5/1 ! pngdec ! clocksync"
    camera = camera_of(source)
    with pytest.raises(DeviceFault, match="changes its picture size after 3 frames"):
        camera.open()
        list(samples(camera, 1000))
    camera.close()


def test_pictures_that_repeat_for_good_reasons_are_not_compared() -> None:
    with opened(f"{LIVE.format(width=320)} ! jpegenc ! jpegdec") as camera:
        next(samples(camera, 1))
        assert camera.comparable


def test_the_list_of_plugins_is_kept_where_systemd_has_a_folder_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    with opened(LIVE.format(width=320)) as camera:
        next(samples(camera, 1))
    assert (tmp_path / "gstreamer.bin").stat().st_size > 0
