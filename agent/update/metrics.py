"""Updates for Prometheus, from what the updater and the stores leave on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from agent.update import progress
from agent.update.progress import Progress
from agent.update.state import CONFIGURED, State
from agent.update.store import Store, StoreError

Family = CounterMetricFamily | GaugeMetricFamily
BAD = ("rejected", "rolled back")  # events of a history


def families(run_dir: Path) -> Iterator[Family]:
    """None where no updater ever ran here."""
    noted = progress.read(run_dir)
    if noted.state_dir:
        yield from _of_updater(noted)
        yield from _of_models({name: state for name in noted.models if (state := _state(noted, name))})


def _state(noted: Progress, name: str) -> State | None:
    try:
        return Store(Path(noted.state_dir), name).state()
    except StoreError:
        return None


def _of_updater(noted: Progress) -> Iterator[Family]:
    yield CounterMetricFamily("reflexd_update_checks", "Checks for newer models.", value=noted.checks)
    yield CounterMetricFamily("reflexd_update_installed", "Versions that came onto this box.", value=noted.installed)
    yield CounterMetricFamily("reflexd_update_received_bytes", "From the repository.", value=noted.bytes)
    refused = CounterMetricFamily("reflexd_update_refused", "Updates refused, by reason.", labels=["reason"])
    for reason, count in noted.refused.items():
        refused.add_metric([reason], count)
    failing = GaugeMetricFamily("reflexd_update_failing", "1 while no update is possible.", labels=["reason"])
    if noted.reason:
        failing.add_metric([noted.reason], 1.0)
    yield from (refused, failing)
    text = "The last check without a refusal, by the box's clock; 0: none."
    yield GaugeMetricFamily("reflexd_update_succeeded_timestamp_seconds", text, value=noted.succeeded)


def _of_models(states: dict[str, State]) -> Iterator[Family]:
    version = GaugeMetricFamily("reflexd_model_version", "1 for the version in use.", labels=["model", "version"])
    trial = GaugeMetricFamily("reflexd_model_trial", "1 for a version on trial.", labels=["model", "version", "stage"])
    rejected = GaugeMetricFamily("reflexd_model_rejected", "Versions never tried again.", labels=["model"])
    text = "When a version was rejected or rolled back last; 0: never."
    when = GaugeMetricFamily("reflexd_model_rejected_timestamp_seconds", text, labels=["model"])
    for model, state in states.items():
        version.add_metric([model, state.current or CONFIGURED], 1.0)
        if state.trial:
            trial.add_metric([model, state.trial.version, state.trial.stage], 1.0)
        rejected.add_metric([model], len(state.rejected))
        when.add_metric([model], max((event.time for event in state.history if event.event in BAD), default=0.0))
    yield from (version, trial, rejected, when)
