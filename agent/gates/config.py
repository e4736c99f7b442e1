"""A lane's `gate` section. Apart from the code, so that reading a configuration imports no OpenCV."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from agent.section import Section


class Keyframe(Section):
    """Pictures that differ enough from the last one that was inferred."""

    min_changed: float = Field(0.10, gt=0, le=1, description="share of the pixels that must have changed")
    threshold: float = Field(20.0, gt=0, lt=255, description="grey levels by which a pixel has changed")


class Motion(Section):
    """Pictures that differ somewhere from the background of a fixed camera."""

    min_area: float = Field(0.005, gt=0, le=1, description="share of the picture that the smallest moving part covers")
    threshold: float = Field(20.0, gt=0, lt=255, description="grey levels by which a pixel has changed")
    settle_s: float = Field(
        1.0, gt=0, le=3600, description="what stays for a few times this long becomes part of the background"
    )
    min_change: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="with findings: infer again when the moving part overlaps the one before by less than"
        " 1 - min_change",
    )
    crop: bool = Field(False, description="give the model only the part that moved and the last findings")
    pad: float = Field(0.1, ge=0, le=1, description="margin around that part, share of the picture")


class Outlier(Section):
    """Readings far from their center."""

    center: float | Literal["predicted"] = Field(
        "predicted", description="a value, or what is predicted from the readings before"
    )
    tolerance: float = Field(gt=0, description="farther from the center than this is an outlier")
    hysteresis: float | None = Field(
        None, ge=0, description="normal again below this; default four fifths of `tolerance`"
    )

    @model_validator(mode="after")
    def _hysteresis_within_tolerance(self) -> Outlier:
        if self.hysteresis is not None and self.hysteresis > self.tolerance:
            raise ValueError(f"hysteresis: {self.hysteresis:g} is above tolerance: {self.tolerance:g}")
        return self


class GateConfig(Section):
    """Which samples of a lane are worth an inference: those that any of its parts lets through."""

    keyframe: Keyframe | None = None
    motion: Motion | None = None
    outlier: dict[str, Outlier] = Field({}, max_length=64, description="by channel")
    idle_interval_ms: float = Field(1000.0, gt=0, le=3.6e6, description="longest time without an inference")
    active_interval_ms: float = Field(400.0, gt=0, le=3.6e6, description="the same while the model has findings")
    burst_ms: float = Field(
        300.0, ge=0, le=3.6e6, description="infer on every sample for this long once findings begin or end"
    )

    @model_validator(mode="after")
    def _for_one_kind_of_source(self) -> GateConfig:
        if bool(self.outlier) == bool(self.keyframe or self.motion):
            raise ValueError("a gate has 'keyframe' or 'motion' or both (pictures), or 'outlier' (readings)")
        return self
