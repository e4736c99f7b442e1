"""What stands before a lane's preparation, fitted to it when the source opens."""

from __future__ import annotations

from agent.gates.base import Gate, GateConfig
from agent.gates.pictures import PictureGate
from agent.gates.readings import ReadingGate
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings


def fit(config: GateConfig, prepare: Preparation) -> Gate:
    """The gate before this preparation. Raises ValueError where they do not fit each other."""
    if isinstance(prepare, Pixels) and not config.outlier:
        return PictureGate(config, prepare)
    if isinstance(prepare, Readings) and config.outlier:
        return ReadingGate(config, prepare)
    raise ValueError("gate: 'keyframe' and 'motion' are for pictures, 'outlier' for readings")
