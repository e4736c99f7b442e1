"""The section `drift` of reflexd.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from agent.section import Section


class Collect(Section):
    """Cases to learn from, in state_dir/collected/LANE, which `models.train --from-folder` reads."""

    keep: Literal["features", "region", "pictures"] = Field(
        default="features",
        description="of a camera: only the figures of its pictures; what is inside the box; all. Readings always",
    )
    uncertain: tuple[float, float] = Field(
        default=(0.4, 0.6), description="[lowest, highest] best score of an inference that is kept as uncertain"
    )
    files: int = Field(default=500, ge=1, le=100_000, description="of each lane; older ones are deleted")
    mb: float = Field(default=100.0, ge=0.1, le=100_000, description="of each lane; older ones are deleted")
    seal: Path | None = Field(
        default=None, description="public key file: only the holder of its secret can read what is collected"
    )

    @field_validator("uncertain")
    @classmethod
    def _lowest_first(cls, uncertain: tuple[float, float]) -> tuple[float, float]:
        lowest, highest = uncertain
        if not 0 <= lowest < highest <= 1:
            raise ValueError("expected [lowest, highest] between 0 and 1")
        return uncertain


class Drift(Section):
    """Is what sources deliver and models say still as it was? `{}` watches every lane."""

    skip: list[str] = Field(default=[], max_length=64, description="lanes that are not watched")
    learn: int = Field(
        default=600,
        ge=40,
        le=1_000_000,
        description="values, one a second or an appearance, that say what is normal; 86400 where daylight comes in",
    )
    recover: int = Field(default=60, ge=10, le=100_000, description="values, together normal again, that end a drift")
    golden_h: float = Field(
        default=24.0, ge=0, le=10_000, description="hours between two runs of the models' golden outputs; 0: none"
    )
    collect: Collect | None = Field(default=None, description="keep uncertain and drifting cases; default: none")
