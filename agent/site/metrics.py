"""What the site's link knows, as Prometheus families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily

from agent.site.published import THERE

TRIP_HELP = "To another box and back, with what both wait until they send."


def families(site: Mapping[str, Any]) -> Iterator[GaugeMetricFamily]:
    """site: as `published.read` returns it; empty: no families."""
    if not site:
        return
    there = GaugeMetricFamily("reflexd_site_box_up", "1 while another box of the site is there.", labels=["box"])
    trip = GaugeMetricFamily("reflexd_site_round_trip_seconds", TRIP_HELP, labels=["box"])
    busy = GaugeMetricFamily("reflexd_site_busy", "Share of a box's cores in use.", labels=["box"])
    troubles = GaugeMetricFamily("reflexd_site_troubles", "What is wrong with a box of the site.", labels=["box"])
    linked = GaugeMetricFamily("reflexd_site_linked", "0 while this box cannot open its link at all.")
    linked.add_metric([], float(bool(site["linked"])))
    busy.add_metric([site["node"]], site.get("busy", 0.0))
    troubles.add_metric([site["node"]], len(site["troubles"]))
    for name, box in site["boxes"].items():
        there.add_metric([name], float(box["state"] == THERE))
        troubles.add_metric([name], len(box["troubles"]))
        if box["trip_ms"] is not None:
            trip.add_metric([name], box["trip_ms"] / 1e3)
        if box["busy"] is not None:
            busy.add_metric([name], box["busy"])
    yield from (linked, there, trip, busy, troubles)
