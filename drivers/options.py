"""The base classes of drivers' options, and what an option declares to `reflexd check` about its device and files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

FROZEN_MS = 2000.0  # of a camera whose options do not say: the noise of an image sensor changes every picture


def _named(value: Any) -> Any:
    if value == "":
        raise ValueError("name a file")
    return value


# Relative ones start from the configuration file's folder: agent/config/paths.py makes every option that is a Path
# absolute.
FilePath = Annotated[Path, BeforeValidator(_named)]
OptionalFilePath = Annotated[Path | None, BeforeValidator(lambda value: None if value == "" else value)]


class DriverOptions(BaseModel):
    """Base of every driver's `Options`: unknown keys are errors, units live in names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    def exclusive_device(self) -> str:
        """What only one driver may open at a time: a path, or a name of its kind. Empty: it may be shared."""
        return ""

    def exclusive_parts(self) -> frozenset[int]:
        """Parts of that device, where drivers of one process that use others may share it; empty: it has none."""
        return frozenset()

    def input_files(self) -> list[Path]:
        """Files that must exist before it is opened."""
        return []

    def input_folders(self) -> list[Path]:
        """Folders that must exist before it is opened."""
        return []


class SourceOptions(DriverOptions):
    """Base of the options of cameras, microphones and streaming sensors."""

    timeout_ms: float = Field(500.0, gt=0, le=600_000, description="silence after which the source counts as stale")


class CameraOptions(SourceOptions):
    """Base of the options of cameras."""

    frozen_ms: float = Field(
        FROZEN_MS,
        ge=0,
        le=600_000,
        description="bit-identical pictures for this long: frozen, no sign of life; 0: normal",
    )


class SensorOptions(SourceOptions):
    """Base of the options of a sensor that is polled."""

    rate_hz: float = Field(10.0, gt=0, le=10_000, description="how often the sensor is read")
