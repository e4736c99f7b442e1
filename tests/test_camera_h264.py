"""RTSP with H.264: pictures that build on a key frame, and when they repeat for good reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.camera._decode import Backlog
from tests import h264
from tests.processes import Cell, camera
from tests.test_camera import number_of, samples
from tests.test_camera_rtsp import Server, camera_of

STEP = 1800  # 50 pictures a second
NUMBER = 0b10110


def one_key_frame(number: int) -> bytes:
    """The first picture; the others repeat it, as of a scene in which nothing moves."""
    nal = h264.repeat(number) if number else h264.key(NUMBER)
    return h264.rtp(nal, number, number * STEP)


def changing(number: int) -> bytes:
    nal = h264.change(number % 256, number) if number else h264.key(0)
    return h264.rtp(nal, number, number * STEP)


def same_packet(number: int) -> bytes:
    return h264.rtp(h264.key(NUMBER), number, number * STEP)


def same_time(number: int) -> bytes:
    """The time stamps stop at the 100th picture."""
    nal = h264.change(number % 256, number) if number else h264.key(0)
    return h264.rtp(nal, number, min(number, 100) * STEP)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int], bytes]], Server]]:
    servers: list[Server] = []

    def start(packet: Callable[[int], bytes]) -> Server:
        servers.append(Server(h264.SDP, packet))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
        server.join(10)


Serve = Callable[[Callable[[int], bytes]], Server]


def test_kind_the_first_key_frame_is_not_lost(serve: Serve) -> None:
    """There is no second one: without it nothing would ever decode."""
    source = camera_of(serve(one_key_frame), open_timeout_ms=30_000)
    source.open()
    assert {number_of(sample.payload) for sample in samples(source, 20)} == {NUMBER}
    assert not source.comparable
    source.close()


@pytest.mark.parametrize(
    "waits_ms, dropped",
    [
        ([1, 2, 5, 18, 20, 3, 20], 3),  # the third is the last that waited; a picture that comes early later is none
        ([20, 1, 1], 0),
        ([1, 9] * 200, 199),  # a source of another rate than it says: no longer than a second
    ],
)
def test_pictures_that_waited_while_it_opened_are_not_taken_for_new(waits_ms: list[int], dropped: int) -> None:
    waiting = Backlog(0.02)
    arrivals = np.cumsum([waiting.t_newest, *[ms * 1_000_000 for ms in waits_ms]])[1:]
    assert next(number for number, arrival in enumerate(arrivals) if not waiting.includes(arrival)) == dropped


def cell_of(folder: Path, server: Server, **options: Any) -> Cell:
    url = f"rtsp://user:secret@127.0.0.1:{server.port}/live"
    lane = camera("camera.rtsp", url=url, open_timeout_ms=30_000, frozen_ms=500, **options)
    return Cell(folder, {"camera": lane})


def test_a_still_scene_is_not_a_frozen_picture(tmp_path: Path, serve: Serve) -> None:
    with cell_of(tmp_path, serve(one_key_frame)) as cell:
        _, daemon = cell.start_both()
        cell.wait_for_count("camera", "inferences", 100)
        assert cell.counts("camera")["stale"] == 0 and "frozen" not in daemon.text
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    "packet, message",
    [(same_packet, "the picture is frozen: the same bits for 5"), (same_time, "it repeats the old one: frozen?")],
)
@pytest.mark.slow
def test_the_same_packet_and_the_same_time_are_frozen(
    tmp_path: Path, serve: Serve, packet: Callable[[int], bytes], message: str
) -> None:
    with cell_of(tmp_path, serve(packet)) as cell:
        host = cell.actuate()
        daemon = cell.run()
        cell.wait_for("run")
        daemon.wait_for(message)
        cell.wait_for("safe", after=cell.verbs().index("run"))
        assert daemon.stop() == 0 and host.stop() == 0
