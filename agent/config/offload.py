"""Sections about work that other boxes do for this one, and this one for others."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from agent.section import Section


class LaneOffload(Section):
    """Of a lane: when peers compute for it. `{}`: with these values."""

    start: float = Field(0.8, gt=0, le=1, description="busy share of this box above which work is handed over")
    stop: float = Field(0.6, ge=0, lt=1, description="busy share below which it comes back")
    models: list[str] = Field(
        [], max_length=3, description="of this lane; default: `refine`'s, and `model` where the lane is not critical"
    )

    @model_validator(mode="after")
    def _stop_below_start(self) -> LaneOffload:
        if self.stop >= self.start:
            raise ValueError(f"stop: expected less than start, {self.start:g}, or work goes to and fro")
        return self


class Serve(Section):
    """What this box computes for others, by the Open Inference Protocol. Its own lanes come first."""

    port: int = Field(ge=1, le=65535)
    host: str = Field("127.0.0.1", description="0.0.0.0: every address of this box, which needs `keys`")
    keys: Path | None = Field(
        None, description="folder from `reflexd keys --web`: TLS certificate and token; needed beyond this box"
    )
    models: list[str] = Field(min_length=1, max_length=64, description="packages, as lanes name them")
    busy: float = Field(0.7, gt=0, le=1, description="share of its cores used by others, above which it refuses")
    queue: int = Field(8, ge=1, le=256, description="inferences that wait at most")


class Peer(Section):
    """A box whose `offload.serve` is on."""

    url: str = Field(description="https://HOST:PORT; http:// only on this box")
    keys: Path | None = Field(
        None, description="folder beside this file with copies of its web.crt and web.token; needed beyond this box"
    )


class Offload(Section):
    """Boxes that compute for one another."""

    serve: Serve | None = None
    peers: dict[str, Peer] = Field({}, max_length=64, description="by the name that lanes release their inputs to")
