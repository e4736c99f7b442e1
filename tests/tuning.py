"""Lanes for tests of `reflexd tune` whose times and findings are given: nothing is measured on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from agent.cli import cli
from agent.config.load import validate_config
from agent.config.models import Config
from agent.data import Box, Evidence
from agent.errors import ConfigError, DataError
from agent.tune.measure import Changes, Measured
from agent.tune.trace import Step, Trace
from agent.yamlfile import Document
from tests.processes import Cell, camera

MS = 1_000_000
PERIOD_MS = 33
PRESENT = [*range(30, 60), *range(120, 150)]  # pictures with a person in them, of 200
FRAME, NETWORK = (1080, 1920), (416, 416)


def config(folder: Path, lanes: dict[str, Any] | None = None, rule: dict[str, Any] | None = None) -> Config:
    """A robot cell with a camera whose rule needs one picture with a person."""
    floor = {"source": {"driver": "camera.sim"}, "model": "objects"}
    condition = {"lane": "floor", "label": "person", "score": 0.5}
    rules = {"person": {"any": [condition], "actuator": "robot", "verb": "stop", **(rule or {})}}
    robot = {"device": {"driver": "actuator.sim"}, "rest": "run"}
    data = {"run_dir": str(folder / "run"), "state_dir": str(folder / "state"), "actuators": {"robot": robot}}
    return validate_config(
        Document(folder / "cell.yaml", {**data, "lanes": {"floor": floor, **(lanes or {})}, "rules": rules}, {})
    )


def person(lane: str = "floor") -> tuple[Evidence, ...]:
    return (Evidence(lane, "person", 0.9, 0, Box(0.1, 0.1, 0.2, 0.9)),)


def trace(
    present: Sequence[int] = PRESENT,
    *,
    inference_ms: float = 14.0,
    preprocess_ms: float = 1.0,
    pictures: int = 200,
    period_ms: float = PERIOD_MS,
    stalls: Mapping[int, float] | None = None,
    int8: bool = False,
    lane: str = "floor",
) -> Trace:
    """stalls: additional ms of the inference on these pictures."""
    steps = [
        Step(
            t_capture=int(number * period_ms * MS),
            transport=0,
            preprocess=int(preprocess_ms * MS),
            inference=int((inference_ms + (stalls or {}).get(number, 0.0)) * MS),
            decision=20_000,
            evidence=person(lane) if number in present else (),
        )
        for number in range(pictures)
    ]
    return Trace(lane, steps, FRAME, NETWORK, int8)


class Given:
    """In place of a measurement: the given result of each change, the lane's own trace for no change."""

    def __init__(self, own: Trace, results: Mapping[str, Measured]) -> None:
        """results: by the text of the change."""
        self.own = own
        self.results = results
        self.runs: list[list[str]] = []

    def __call__(self, lane: str, settings: Mapping[str, Changes]) -> dict[str, Measured]:
        self.runs.append(list(settings))
        return {name: self.results.get(name, "not given") if name else self.own for name in settings}


def tune(path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["tune", "-c", str(path), *options], standalone_mode=False)


def refused(path: Path, *options: str) -> str:
    """The one message."""
    result = tune(path, *options)
    assert isinstance(result.exception, (ConfigError, DataError)), result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return str(result.exception)


def cell_config(folder: Path, lanes: dict[str, Any] | None = None) -> Path:
    return Cell(folder, lanes if lanes is not None else {"floor": camera()}).write(state_dir=str(folder / "state"))
