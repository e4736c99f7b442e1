"""Sections of what runs beside the lanes: metrics, live view, recorder, updates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from agent.section import Section


class Metrics(Section):
    """The HTTP server for Prometheus."""

    port: int = Field(default=0, ge=0, le=65535, description="serve /metrics, /healthz and /readyz here; 0: not at all")
    host: str = "127.0.0.1"


class Web(Section):
    """The live view in a browser. On an address that others reach it needs `keys`, and shows no pictures by itself."""

    port: int = Field(default=0, ge=0, le=65535, description="serve the live view here; 0: not at all")
    foxglove: int = Field(
        default=0, ge=0, le=65535, description="serve Foxglove here (extra foxglove), on this box alone; 0: not at all"
    )
    host: str = Field(default="127.0.0.1", description="from elsewhere without keys: ssh -L 8087:localhost:8087 BOX")
    keys: Path | None = Field(
        default=None, description="folder from `reflexd keys --web`: TLS certificate and token; needed beyond this box"
    )
    names: list[str] = Field(default=[], max_length=32, description="other names under which browsers reach this box")
    pictures: bool | Literal["edges"] | None = Field(
        default=None, description="show pictures; edges: only outlines; default: yes on this box alone, no beyond it"
    )
    edit: bool = Field(default=False, description="zones drawn in the browser may be written into this file")


class Events(Section):
    """Clips around decisions, in state_dir/events."""

    rules: list[str] = Field(default=[], description="rules whose decisions start a clip")
    before_s: float = Field(default=5.0, ge=0, le=60)
    after_s: float = Field(default=5.0, gt=0, le=60)
    files: int = Field(default=100, ge=1, le=100_000, description="older ones are deleted")
    seal: Path | None = Field(
        default=None, description="public key file: only the holder of its secret can read the clips"
    )


class Recorder(Section):
    """The flight recorder's files, in state_dir/recordings."""

    enabled: bool = Field(
        default=True, description="keep the newest samples, evidence and decisions for `reflexd replay`"
    )
    file_mb: float = Field(default=10.0, ge=0.1, le=1000, description="size at which a new file starts")
    files: int = Field(default=20, ge=1, le=10_000, description="older ones are deleted")
    events: Events = Field(default_factory=lambda: Events())
    pictures: bool | Literal["clips"] = Field(
        default=False,
        description="keep the inputs of picture models, too, not only their outputs; clips: in event clips only",
    )


class Update(Section):
    """Newer versions of models, from a signed repository: agent/update/README.md."""

    url: str = Field(description="of the repository: https://, http:// or file:///")
    root: Path = Field(description="its root.json, copied here by a way that you trust; beside this file")
    models: list[str] = Field(default=[], max_length=64, description="which to update; default: all that lanes name")
    every_s: float = Field(default=3600.0, ge=1, le=604_800, description="time between two checks")
    jitter: float = Field(default=0.2, ge=0, le=1, description="share of every_s by which it varies")
    window: str = Field(default="", description="HH:MM-HH:MM, local time, also across midnight; empty: at any time")
    kbit_s: float = Field(default=0.0, ge=0, description="most that a download takes; 0: no limit")
    shadow_samples: int = Field(default=500, ge=1, le=1_000_000, description="a new model runs beside the old one")
    probation_samples: int = Field(default=2000, ge=1, le=10_000_000, description="then alone, before it is accepted")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not re.fullmatch(r"(https?://[^/]|file:///).*", url):
            raise ValueError("expected https://HOST/PATH, http://HOST/PATH or file:///PATH")
        return url

    @field_validator("window")
    @classmethod
    def _two_times(cls, window: str) -> str:
        time_of_day = r"([01]\d|2[0-3]):[0-5]\d"
        if window and (not re.fullmatch(f"{time_of_day}-{time_of_day}", window) or window[:5] == window[6:]):
            raise ValueError("expected two times of day as 22:00-05:30")
        return window
