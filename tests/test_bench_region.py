"""The region bench: real links in network namespaces, a daemon over their evidence, figures with their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.benches.site import region
from agent.benches.site.network import network
from agent.errors import DataError

pytest.importorskip("zenoh", reason="eclipse-zenoh is not installed: scripts/setup site")


@pytest.mark.slow
def test_a_short_run_measures_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region, "EVENTS", (300, 3))
    try:
        with network():
            pass
    except DataError as error:
        pytest.skip(str(error))
    result = region.measure(short=True)
    ms = result["region_ms"]
    assert ms["boxes"] == 3 and ms["events"] == 3 and 0 < ms["p50"] <= ms["p99"] <= ms["max"]
    assert set(result) == set(region.KEYS) and f"{ms['p50']} ms after the last evidence" in region.text(result)


def test_what_a_lane_spends_is_measured(tmp_path: Path) -> None:
    writes = region.write_us(tmp_path)
    assert set(writes) == {"same", "changed"} and min(writes.values()) > 0
