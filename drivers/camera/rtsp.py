"""A network camera over RTSP, newest frame only."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator

from drivers.base import DeviceMissing
from drivers.camera._decoded import Decoded, DecodedOptions


class Options(DecodedOptions):
    """The stream's address and how it is received."""

    # the url holds the password, and an error would quote it
    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr = Field(description="rtsp://user:password@host:554/path")
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
        try:
            parts = urlsplit(url.get_secret_value())
            valid = parts.scheme in ("rtsp", "rtsps") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # its text quotes the port, which may be part of a password
            valid = False
        if not valid:
            raise ValueError("write rtsp://host/path or rtsps://host/path, with : and @ in a password as %3A and %40")
        return url


class Driver(Decoded):
    """t_capture is the arrival in the decoder, so the delay of exposure, encoding and network is not included."""

    options: Options

    def label(self) -> str:
        # cheap cameras have the password in the path or the query, so only the host is safe to log
        parts = urlsplit(self.options.url.get_secret_value())
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 554}"

    def request(self) -> dict[str, Any]:
        return {
            "source": self.options.url.get_secret_value(),
            "pace": "live",
            "loop": False,
            "open_failure": "does not answer or refuses: check host, path, user and password",
        }

    def ffmpeg(self) -> str:
        o = self.options
        # not fflags nobuffer: it throws the packets away that were examined, among them the first key frame
        options = {
            "rtsp_transport": o.transport,
            "flags": "low_delay",
            "max_delay": round(o.reorder_ms * 1000),
            "reorder_queue_size": 0 if o.reorder_ms == 0 else 500,
            "probesize": o.probe_kb * 1000,
            "protocol_whitelist": "rtsp,rtp,udp,tcp,tls,crypto,srtp",
        }
        return "|".join(f"{key};{setting}" for key, setting in options.items())

    def end_error(self) -> Exception:
        return DeviceMissing(f"{self.label()} ended the stream after {self.sequence + 1} frames")
