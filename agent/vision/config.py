"""A lane's sections `refine` and `heads`. Apart from the code, so that reading a configuration imports no OpenCV."""

from __future__ import annotations

from pydantic import Field, model_validator

from agent.section import Section


class RefineConfig(Section):
    """Of a lane: which model infers again, where, and when."""

    model: str = Field(description="a package that takes pictures")
    label: str = Field(description="of the first model: what to infer again")
    band: tuple[float, float] = Field((0.3, 1.0), description="scores of the first model that are in doubt")
    # A coarse box often ends at neck and knees: with a quarter around it a pose network squeezes the body into it.
    pad: float = Field(0.75, ge=0, le=2, description="margin around the box, share of its longer side")
    follow_s: float = Field(
        2.0, ge=0, le=60, description="continue there for this long after the first model last detected it"
    )

    cache: bool = Field(
        False, description="keep answers for 300 s, for the same pixels again: of still pictures, not of a real camera"
    )

    @model_validator(mode="after")
    def _lowest_first(self) -> RefineConfig:
        if not 0 <= self.band[0] <= self.band[1] <= 1:
            raise ValueError(f"band: expected two scores from 0 to 1, the lower one first, found {list(self.band)}")
        return self


class HeadConfig(Section):
    """Of a lane: a model that reads the lane's backbone; with `when` it is in memory only while it is needed."""

    when: str = Field("", description="label of another head: load this one once that is found; default: at the start")
    score: float = Field(0.5, gt=0, le=1, description="of that label, at least")
    idle_s: float = Field(60.0, ge=0, le=86_400, description="unload it this long after that was last found")
    prefetch_s: float = Field(
        0.0, ge=0, le=3600, description="load it ahead where the label has mostly (> 80 %) come within this; 0: never"
    )
