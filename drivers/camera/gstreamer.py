"""The pictures of any GStreamer pipeline: MIPI CSI, GigE Vision, hardware decoders, network cameras."""

from __future__ import annotations

import os
import re
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from drivers.camera._decoded import Decoded, DecodedOptions
from drivers.camera._gst_child import SINK

FORMATS = {"bgr": ("BGR", 3), "grey": ("GRAY8", 1), "yuyv": ("YUY2", 2)}
# The Debian package of a plugin, by the beginning of its element's name.
PACKAGES = {
    "arav": "libaravis-0.8-0",
    "avdec_": "gstreamer1.0-libav",
    "libcamera": "gstreamer1.0-libcamera",
    "nv": "NVIDIA's nvidia-l4t-gstreamer",
    "va": "gstreamer1.0-plugins-bad",
    "vaapi": "gstreamer1.0-vaapi",
    "bayer": "gstreamer1.0-plugins-bad",
    "h26": "gstreamer1.0-plugins-bad",
    "srt": "gstreamer1.0-plugins-bad",
    "v4l2": "gstreamer1.0-plugins-good",
    "rt": "gstreamer1.0-plugins-good",
    "udp": "gstreamer1.0-plugins-good",
    "soup": "gstreamer1.0-plugins-good",
    "jpeg": "gstreamer1.0-plugins-good",
    "video": "gstreamer1.0-plugins-base",
    "decodebin": "gstreamer1.0-plugins-base",
    "uridecodebin": "gstreamer1.0-plugins-base",
}
SECRET = re.compile(
    r"""[\w-]*(?:pass|pw|passphrase|secret|token|key|user-id)[\w-]*\s*=\s*("(?:\\.|[^"\\])*"|'[^']*'|\S+)""", re.I
)
LOGIN = re.compile(r"://([^\s\"']*)@")
QUERY = re.compile(r"://[^\s\"'?]*\?([^\s\"']+)")


class Options(DecodedOptions):
    """The pipeline, and what it delivers."""

    pipeline: SecretStr = Field(
        min_length=1,
        max_length=4096,
        description="as for gst-launch-1.0, without a sink: 'v4l2src device=/dev/video0 ! jpegdec'",
    )
    pixels: Literal["bgr", "grey", "yuyv"] = Field("bgr", description="what the lane gets; it is converted to that")
    stamp: Literal["buffer", "arrival"] = Field(
        "buffer", description="of a live source the time stamp of its buffers; arrival: where they are of another clock"
    )
    memory_mb: int = Field(
        2048,
        ge=0,
        le=65536,
        description="address space of the pipeline; 0: no limit, as drivers of graphics processors need",
    )

    @field_validator("pipeline")
    @classmethod
    def _has_no_sink(cls, pipeline: SecretStr) -> SecretStr:
        text = pipeline.get_secret_value()
        if not text.strip("! \n\t"):
            raise ValueError("the pipeline is empty")
        if not re.sub(r"\s", " ", text).isprintable():
            raise ValueError("the pipeline has characters that cannot be printed")
        if SINK in text or re.search(r"!\s*\w*sink(\s+[\w-]+\s*=\s*\S+)*\s*$", text):
            raise ValueError("the pipeline ends before its sink, which reflexd adds: leave the last '! ...sink' out")
        return pipeline


class Driver(Decoded):
    """t_capture is the buffer's time stamp where the source is live; so it is what the source element says it is."""

    options: Options
    program = "drivers.camera._gst_child"
    endless = True
    # A GigE camera that is not released refuses the next program for 3 s; NVIDIA's camera daemon may never recover.
    release_s = 2.0

    @property
    def text(self) -> str:
        """The pipeline in one line, without an arrow to nothing at its end."""
        return re.sub(r"\s*\n\s*", " ", self.options.pipeline.get_secret_value().strip()).removesuffix("!").strip()

    def label(self) -> str:
        return f"GStreamer pipeline '{self.text.split()[0]} ...'"

    def open(self) -> None:
        self.pixels = self.options.pixels
        super().open()

    def request(self) -> dict[str, Any]:
        form, channels = FORMATS[self.options.pixels]
        # one buffer in the sink, so that what it delivers is new; it never waits for a clock
        sink = f"appsink name={SINK} sync=false max-buffers=1 emit-signals=false"
        source = f"{self.text} ! videoconvert ! video/x-raw,format={form} ! {sink}"
        return {"source": source, "channels": channels, "stamp": self.options.stamp}

    def environment(self) -> dict[str, str]:
        # its log may contain addresses with their passwords; errors arrive as messages
        quiet = {"GST_DEBUG": "0"}
        # of systemd, where there is no home: without its list of plugins GStreamer searches them at every start, 1 s
        folder = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
        return {**quiet, "GST_REGISTRY": f"{folder}/gstreamer.bin"} if folder else quiet

    def shape(self) -> tuple[int, ...]:
        channels = FORMATS[self.options.pixels][1]
        return (self.height, self.width, channels) if channels > 1 else (self.height, self.width)

    def message_text(self, text: str) -> str:
        return explained(without_secrets(text, self.text))


def without_secrets(text: str, pipeline: str) -> str:
    """GStreamer quotes properties in its errors."""
    secrets = {match[1].strip("\"'") for pattern in (SECRET, LOGIN, QUERY) for match in pattern.finditer(pipeline)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return text


def explained(text: str) -> str:
    """With what to do, where that is known."""
    if "write_register" in text:  # of Aravis: only one program may write
        return f"{text}: does another program control the camera?"
    element = re.search(r'no element "(\w+)"', text)
    if element is None:
        return text
    package = next((PACKAGES[start] for start in sorted(PACKAGES, reverse=True) if element[1].startswith(start)), "")
    advice = f"install {package}" if package else f"which package has it? apt-file search {element[1]}"
    return f"{text}: {advice}, and see gst-inspect-1.0 {element[1]}"
