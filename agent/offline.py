"""A lane without a daemon: a recording or a simulated device, as fast as it goes. For proofs and measurements."""

from __future__ import annotations

from typing import Any

from agent.lane import Lane, Limits
from agent.ledger import Ledger
from agent.perception import Perception
from drivers.base import open_source


def offline_lane(name: str, driver: str, options: dict[str, Any], perception: Perception) -> Lane:
    """A lane to be played with `Lane.play`. driver, options: as in a configuration."""
    source = open_source(driver, {"pace": "fast"} | options, name)
    return Lane(name, source, perception, Limits(10**10, 10.0), Ledger(None, name, 10.0))
