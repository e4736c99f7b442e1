"""A network camera over RTSP, newest frame only."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from drivers.camera import _rtsp_url
from drivers.camera._decoded import Decoded, DecoderOptions

REFUSED = "refuses user and password: check both, and whether they may view this stream"
ASKS = "asks for a user and a password: set them in the url or as options"
# By what FFmpeg writes of it.
CAUSES = {
    "failed: 403": "forbids this user to view the stream",
    "failed: 404": "has no stream of this path: check what follows the host in the url",
    "failed: 461": "does not offer this transport: set 'transport' to the other one",
    "failed: 503": "has no place for another viewer now: close other programs that view it",
    "Connection refused": "refuses the connection: check host and port, and whether the camera has RTSP switched on",
    "Failed to resolve": "is not known by that name: check host and name server",
    "No route to host": "is not reachable from this box: check address and cable",
    "Network is unreachable": "is not reachable from this box: check address and network",
    "timed out": "does not answer: check host and port",
}


class Options(DecoderOptions):
    """The stream's address and how it is received."""

    # the url holds the password, and an error would quote it
    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr = Field(description="rtsp://host:554/path; a user:password@ before the host may have any character")
    user: str = Field("", description="instead of one in the url")
    password: SecretStr = Field(
        SecretStr(""), description="instead of one in the url: '${NAME}' keeps it out of the file"
    )
    transport: Literal["tcp", "udp"] = Field(
        "tcp", description="udp has less delay, but loses pictures on a network that drops packets"
    )
    reorder_ms: float = Field(
        0.0, ge=0, le=5000, description="udp: how long to wait for a packet that arrives out of order"
    )
    probe_kb: int = Field(500, ge=1, le=5000, description="how much of the stream is examined before the first picture")

    @field_validator("url")
    @classmethod
    def _is_rtsp(cls, url: SecretStr) -> SecretStr:
        _rtsp_url.parse(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _one_login(self) -> Options:
        _ = self.address
        return self

    @property
    def address(self) -> _rtsp_url.Address:
        """Of url, user and password. Raises ValueError."""
        return _rtsp_url.parse(self.url.get_secret_value(), self.user, self.password.get_secret_value())


class Driver(Decoded):
    """t_capture is the arrival in the decoder, so the delay of exposure, encoding and network is not included."""

    options: Options
    endless = True

    def label(self) -> str:
        return self.options.address.label

    def request(self) -> dict[str, Any]:
        return {
            "source": self.options.address.url,
            "pace": "live",
            "loop": False,
            "open_failure": "does not answer or refuses: check host, path, user and password",
            "open_failures": {**CAUSES, "failed: 401": REFUSED if self.options.address.login else ASKS},
        }

    def environment(self) -> dict[str, str]:
        o = self.options
        # not fflags nobuffer: it throws the packets away that were examined, among them the first key frame
        options = {
            "rtsp_transport": o.transport,
            "flags": "low_delay",
            "max_delay": round(o.reorder_ms * 1000),
            "reorder_queue_size": 0 if o.reorder_ms == 0 else 500,
            "probesize": o.probe_kb * 1000,
            # do not wait for 20 pictures to measure their rate: the stream says it, and it is nominal only
            "fpsprobesize": 0,
            "allowed_media_types": "video",
            "protocol_whitelist": "rtsp,rtp,udp,tcp,tls,crypto,srtp",
        }
        spelled = "|".join(f"{key};{setting}" for key, setting in options.items())
        # 16 is AV_LOG_ERROR: on the child's standard output, which is read only while it opens
        return {"OPENCV_FFMPEG_CAPTURE_OPTIONS": spelled, "OPENCV_FFMPEG_LOGLEVEL": "16"}
