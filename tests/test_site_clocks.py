"""Another box's clock: what it stamps is never taken for newer than it is, however the network delays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.site.clocks import PeerClock

MS = 1_000_000
OFFSETS = st.integers(-(1 << 60), 1 << 60)  # seconds apart or thirty years: 1970, 2099
delays = st.lists(st.tuples(st.integers(0, 900 * MS), st.integers(0, 900 * MS)), min_size=1, max_size=80)


@given(OFFSETS, delays, st.integers(0, 50 * MS))
def test_nothing_looks_newer_than_it_is_and_at_most_a_round_trip_older(
    offset: int, ways: list[tuple[int, int]], held: int
) -> None:
    clock, now = PeerClock(), 0
    for there, back in ways:
        sent = now
        now += there + held + back
        clock.add(sent, held, sent + there + held + offset, now)
        now += 100 * MS
    happened = now - 5 * MS
    earliest = clock.earliest(happened + offset, now)
    shortest = min(there + back for there, back in ways[-64:])
    assert earliest is not None and earliest <= happened
    assert happened - earliest <= shortest + 2e-4 * 64 * 2_000 * MS + 1


def test_before_an_exchange_nothing_is_known() -> None:
    clock = PeerClock()
    assert clock.earliest(1, 2) is None and clock.trip is None
    clock.add(sent=100, held=0, t_sent=5, arrival=50)  # answered before it was asked
    clock.add(sent=0, held=0, t_sent=5, arrival=3_000_000_000)  # says nothing any more
    assert clock.earliest(1, 2) is None
    clock.add(sent=0, held=10, t_sent=1_000_005, arrival=30)
    assert clock.trip == 20 and clock.earliest(1_000_005, 30) == 10
    clock.forget()
    assert clock.trip is None


def test_a_clock_that_drifts_widens_the_bound() -> None:
    clock = PeerClock()
    clock.add(sent=0, held=0, t_sent=MS, arrival=2 * MS)
    first = clock.earliest(MS, 2 * MS)
    later = clock.earliest(MS, 2 * MS + 1_000_000_000)
    assert first is not None and later is not None and first - later == 200_000
