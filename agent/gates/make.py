"""The gate for a lane's preparation, made when the source opens."""

from __future__ import annotations

from agent.gates.base import Gate
from agent.gates.config import GateConfig
from agent.gates.pictures import PictureGate
from agent.gates.readings import ReadingGate
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings


def make_gate(config: GateConfig, preparation: Preparation) -> Gate:
    """The gate before this preparation. Raises ValueError where they do not fit each other."""
    if isinstance(preparation, Pixels) and not config.outlier:
        return PictureGate(config, preparation)
    if isinstance(preparation, Readings) and config.outlier:
        return ReadingGate(config, preparation)
    raise ValueError("gate: 'keyframe' and 'motion' are for pictures, 'outlier' for readings")
