"""`reflexd tune`: measures the lanes, searches for changes, writes what was found."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agent import yamlfile
from agent.box import realtime
from agent.box.machine import machine
from agent.config.load import load_config
from agent.config.models import Config
from agent.control import client as control
from agent.errors import ConfigError, DataError
from agent.tune.candidates import candidates, crop
from agent.tune.footage import Footage
from agent.tune.measure import Measurement
from agent.tune.propose import AS_IS, Outcome, Search, together
from agent.tune.recordings import Recordings
from agent.tune.trace import Trace, latency


class Options(NamedTuple):
    """budget_ms: None: each lane's own. late_ms: how much later than before a decision may come; None: none."""

    budget_ms: float | None = None
    recording: Path | None = None
    seconds: float = 20.0
    lane: str | None = None
    late_ms: float | None = None


class Report(NamedTuple):
    """priority: with which it was measured, in words."""

    path: Path
    outcomes: list[Outcome]
    footage: dict[str, Footage]
    traces: dict[str, Trace]
    models: dict[str, str]
    priority: str
    machine: str
    wall_s: float

    @property
    def met(self) -> bool:
        """Every lane meets its budget, or would with its proposal."""
        return all(outcome.met or outcome.proposal for outcome in self.outcomes)


def tune(path: Path, options: Options, progress: Callable[[str], None]) -> Report:
    """Raises ConfigError, PackageError, DataError."""
    logging.disable(logging.WARNING)  # of simulated devices, which are played many times
    try:
        return _tuned(path, options, progress)
    finally:
        logging.disable(logging.NOTSET)


def _tuned(path: Path, options: Options, progress: Callable[[str], None]) -> Report:
    begun = time.monotonic()
    _check_numbers(options)
    config = load_config(path)
    chosen = _chosen_lanes(config, path, options.lane)
    beside = control.ask(config.run_dir, {"do": "status"}) is not None
    realtime.opencv_threads()
    measurement = Measurement(config, path.resolve().parent, as_lane=not beside)
    related = [lane for lane in config.lanes if lane in chosen or _shares_rule(config, lane, chosen)]
    _find_footage(config, measurement, options, related)
    traces = {lane: _as_it_is(measurement, lane, progress) for lane in related}
    outcomes = [_outcome(config, measurement, traces, lane, options, progress) for lane in chosen]
    return Report(
        path=path,
        outcomes=together(config, traces, outcomes, options.late_ms),
        footage=measurement.footage,
        traces=traces,
        models={lane: config.lanes[lane].model for lane in related},
        priority=_priority(config, beside),
        machine=machine(),
        wall_s=time.monotonic() - begun,
    )


def _priority(config: Config, beside: bool) -> str:
    if beside:
        return "at normal priority, as the daemon runs beside it"
    refused = config.realtime and not realtime.fifo_setting().on
    return "at normal priority, as SCHED_FIFO is not allowed here" if refused else "with a lane's priority"


def _outcome(
    config: Config,
    measurement: Measurement,
    traces: dict[str, Trace],
    lane: str,
    options: Options,
    progress: Callable[[str], None],
) -> Outcome:
    budget_ms = options.budget_ms or _own_budget(config, measurement, lane)
    own = latency(traces[lane])
    assert own
    search = Search(config, lane, traces, measurement, options.late_ms)
    if own.p99 <= budget_ms:
        return search.run(budget_ms, [])
    offered = candidates(config, lane, measurement.base_folder, traces[lane], own)
    progress(f"lane {lane}: over {budget_ms:g} ms: trying changes")
    return search.run(budget_ms, offered, crop(config, lane, measurement.base_folder))


def _check_numbers(options: Options) -> None:
    given = (("--budget-ms", options.budget_ms), ("--seconds", options.seconds), ("--late-ms", options.late_ms))
    for name, value in given:
        if value is not None and not (math.isfinite(value) and (value > 0 or (value == 0 and name == "--late-ms"))):
            raise DataError(f"{name} {value:g}: expected a number above 0, such as 10")


def _chosen_lanes(config: Config, path: Path, lane: str | None) -> list[str]:
    if not config.lanes:
        raise ConfigError([f"{path}: no lanes: there is nothing to measure"])
    if lane is None:
        return list(config.lanes)
    document = yamlfile.Document(path, {}, {})
    mistakes = list(yamlfile.unknown(document, (), lane, "lane", config.lanes))
    if mistakes:
        raise ConfigError(mistakes)
    return [lane]


def _shares_rule(config: Config, lane: str, chosen: list[str]) -> bool:
    """It decides on an actuator of a chosen lane, too."""
    feeding = [config.feeding(actuator) for actuator in config.actuators]
    return any(lane in lanes and set(lanes) & set(chosen) for lanes in feeding)


def _find_footage(config: Config, measurement: Measurement, options: Options, lanes: list[str]) -> None:
    recordings = Recordings(config, options.recording, options.seconds)
    only = options.lane is not None or len(lanes) == 1
    for lane in lanes:
        size = measurement.open_models(lane, {}).package.picture_size
        measurement.footage[lane] = recordings.find(lane, size, only and lane == (options.lane or lane))
    recordings.check_used(measurement.footage)


def _own_budget(config: Config, measurement: Measurement, lane: str) -> float:
    return config.lanes[lane].budget_ms or measurement.open_models(lane, {}).package.manifest.budget_ms


def _as_it_is(measurement: Measurement, lane: str, progress: Callable[[str], None]) -> Trace:
    footage = measurement.footage[lane]
    progress(f"lane {lane}: measuring on the {footage.kind} {footage.name}")
    trace = measurement(lane, {AS_IS: {}})[AS_IS]
    if isinstance(trace, str):
        raise DataError(f"lane {lane}: {trace}")
    if latency(trace) is None:
        samples = f"{len(trace.steps)} samples" if trace.steps else "no sample"
        raise DataError(
            f"lane {lane}: the {footage.kind} {footage.name} has {samples} in {footage.seconds:g} s and no inference:"
            " give a longer recording with --recording, or more --seconds"
        )
    return trace
