"""Plays a recorded CSV file of board readings; the same driver as sensor.replay."""

from __future__ import annotations

from drivers.sensor.replay import Driver, Options

__all__ = ["Driver", "Options"]
