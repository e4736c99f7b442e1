"""camera.gstreamer as a viewer of GStreamer's RTSP server, with the decoders of libav."""

from __future__ import annotations

import time

import pytest

from drivers.base import DeviceMissing
from tests.gstreamer_fixtures import camera_of, opened, reason
from tests.rtsp_fixtures import RtspServer, needs_rtsp_server
from tests.test_camera import samples
from tests.test_camera_rtsp_server import is_test_card

_REASON = reason("rtspsrc ! rtph264depay ! h264parse ! avdec_h264", "gstreamer1.0-plugins-bad gstreamer1.0-libav")
pytestmark = [needs_rtsp_server, pytest.mark.slow, pytest.mark.skipif(bool(_REASON), reason=_REASON or "here")]
DECODE = {
    "h264": "rtph264depay ! h264parse ! avdec_h264 max-threads=1",
    "h265": "rtph265depay ! h265parse ! avdec_h265 max-threads=1",
}


def pipeline(server: RtspServer, codec: str, password: str) -> str:
    login = f'user-id=viewer user-pw="{password}"'
    return f"rtspsrc location=rtsp://127.0.0.1:{server.port}/live {login} protocols=tcp latency=0 ! {DECODE[codec]}"


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_pictures_with_sound_beside_them_and_a_login(codec: str) -> None:
    login = 'viewer:p@ss  "w'
    with (
        RtspServer(codec, audio=True, login=login, method="digest") as server,
        opened(pipeline(server, codec, 'p@ss  \\"w')) as camera,
    ):
        for sample in samples(camera, 20):
            assert is_test_card(sample.payload) and sample.t_capture < time.monotonic_ns()
        assert not camera.comparable, "of these codecs a picture may repeat the one before for good reasons"


def test_a_wrong_password_and_a_server_that_is_killed() -> None:
    with RtspServer(login="viewer:right", method="digest") as server:
        with pytest.raises(DeviceMissing, match="rtspsrc0: .*[Uu]nauthorized") as raised:
            camera_of(pipeline(server, "h264", "wrong-one")).open()
        assert "wrong-one" not in str(raised.value)
        with opened(pipeline(server, "h264", "right")) as camera:
            next(samples(camera, 1))
            server.stop()
            with pytest.raises(DeviceMissing):
                list(samples(camera, 10_000))
