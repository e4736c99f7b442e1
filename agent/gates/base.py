"""What does not matter is dropped before it costs an inference; what lasts is looked at again and again until it ends.

A gate stands between a lane's source and its preparation. It is pure: it knows the samples, their times and what was found
in those that it let through. Silence is bounded: by `silence_ms` while nothing is found, by `beat_ms` while something is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from agent.data import Array, Sample
from agent.decoders.base import Finding
from agent.yamlfile import Section

MS = 1_000_000


class Keyframe(Section):
    """Pictures that differ enough from the last one that was looked at."""

    changed: float = Field(0.10, gt=0, le=1, description="share of the pixels that must have changed")
    step: float = Field(20.0, gt=0, lt=255, description="grey levels by which a pixel has changed")


class Motion(Section):
    """Pictures in which something differs from what a fixed camera has seen there before."""

    least: float = Field(0.005, gt=0, le=1, description="share of the picture that the smallest moving part covers")
    step: float = Field(20.0, gt=0, lt=255, description="grey levels by which a pixel has changed")
    settle_s: float = Field(1.0, gt=0, le=3600, description="what stays for some times as long belongs to the background")
    again: float = Field(
        0.5, ge=0, lt=1, description="while something is found: look again when what moves overlaps less than 1 - this with then"
    )
    crop: bool = Field(False, description="show the model only the part that moved and what was found last")
    pad: float = Field(0.1, ge=0, le=1, description="margin around that part, share of the picture")


class Outlier(Section):
    """Readings off their reference."""

    around: float | Literal["predicted"] = Field("predicted", description="a value, or what the readings before foretell")
    by: float = Field(gt=0, description="outside from here on")
    back: float | None = Field(None, ge=0, description="inside again below this; default four fifths of `by`")

    @model_validator(mode="after")
    def hysteresis(self) -> Outlier:
        if self.back is not None and self.back > self.by:
            raise ValueError(f"back: {self.back:g} is further out than by: {self.by:g}")
        return self


class GateConfig(Section):
    """Which samples of a lane are worth an inference: those that any of its parts lets through."""

    keyframe: Keyframe | None = None
    motion: Motion | None = None
    outlier: dict[str, Outlier] = Field({}, max_length=64, description="by channel")
    silence_ms: float = Field(1000.0, gt=0, le=3.6e6, description="look at least so often")
    beat_ms: float = Field(400.0, gt=0, le=3.6e6, description="while the model finds something, look at least so often")
    sure_ms: float = Field(300.0, ge=0, le=3.6e6, description="look at every sample for so long once something begins or ends")

    @model_validator(mode="after")
    def something(self) -> GateConfig:
        if bool(self.outlier) == bool(self.keyframe or self.motion):
            raise ValueError("a gate has 'keyframe' or 'motion' or both (pictures), or 'outlier' (readings)")
        return self


class Gate(ABC):
    def __init__(self, config: GateConfig) -> None:
        self.silence_ns, self.beat_ns = int(config.silence_ms * MS), int(config.beat_ms * MS)
        self.sure_ns = int(config.sure_ms * MS)
        self.t_looked = self.t_turn = -(1 << 62)
        self.found: Sequence[Finding] = ()
        self.held = False  # the newest sample was held back by this gate, and by nothing else

    @abstractmethod
    def __call__(self, sample: Sample, view: Array) -> bool:
        """As the preparation behind it: True when the tensor is filled and an inference is due. Raises DeviceFault."""

    def saw(self, found: Sequence[Finding]) -> None:
        """What the model made of what came through."""
        if bool(found) != bool(self.found):
            self.t_turn = self.t_looked
        self.found = found

    def due(self, now: int) -> bool:
        """Time to look, whatever the sample shows. A clock that went back is a new beginning."""
        if 0 <= now - self.t_turn < self.sure_ns:  # rules count hits: they shall not wait for beats to be sure
            return True
        return not 0 <= now - self.t_looked < (self.beat_ns if self.found else self.silence_ns)
