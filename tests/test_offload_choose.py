"""When a box hands work over, and to whom: rules without a clock or a network."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agent.benches.programs import free_port
from agent.field.checks.base import GOOD, WARN
from agent.field.checks.offload import checks
from agent.offload import peers
from agent.offload.choose import GAIN, STALE_NS, Backoff, Limits, PeerState, Switch, choose, needed_ms
from agent.offload.peers import NONE, Peers, View
from agent.offload.settings import PeerSettings
from agent.offload.watch import PeerWatch, parsed
from tests.field_fixtures import box, complete, configuration
from tests.serving import listening
from tests.waiting import until

NOW = 10**12
MODEL, OTHER = "a" * 64, "b" * 64


def peer(name: str = "p", busy: float = 0.2, rtt_ms: float = 1.0, ms: float = 5.0, age_ns: int = 0) -> PeerState:
    return PeerState(name, busy, rtt_ms, {MODEL: ms}, NOW - age_ns)


def chosen(*given: PeerState, model: str = MODEL, left_ms: float = 50.0, busy: float = 0.9) -> str:
    made = choose(given, model, left_ms, busy, NOW)
    return made.name if made else ""


def test_the_least_busy_one_is_asked() -> None:
    assert chosen(peer("a", 0.5), peer("b", 0.2), peer("c", 0.3)) == "b"
    assert chosen(peer("a", 0.2, rtt_ms=3), peer("b", 0.2, rtt_ms=1)) == "b"


def test_only_one_with_the_same_model() -> None:
    assert chosen(peer("a")) == "a" and chosen(peer("a"), model=OTHER) == ""


def test_only_one_that_answers_within_what_is_left() -> None:
    """Round trip 1 ms, inference 5 ms, a margin of 1 ms."""
    assert chosen(peer("a"), left_ms=7.0) == "a" and chosen(peer("a"), left_ms=6.9) == ""
    assert chosen(peer("a", 0.1, rtt_ms=30), peer("b", 0.4, rtt_ms=1), left_ms=20) == "b"


def test_what_calls_took_lately_counts_where_it_is_more_than_the_round_trip() -> None:
    """A large input takes longer than the question how busy a peer is."""
    assert needed_ms(peer("a"), MODEL, 9.0) == 15.0
    assert choose([peer("a")], MODEL, 14.0, 0.9, NOW, {"a": 9.0}) is None
    assert choose([peer("a")], MODEL, 14.0, 0.9, NOW, {"b": 9.0})


def test_not_one_that_is_about_as_busy_nor_one_that_was_not_heard_lately() -> None:
    assert chosen(peer("a", 0.85)) == "" and chosen(peer("a", 0.79)) == "a"
    assert chosen(peer("a", age_ns=STALE_NS)) == "" and chosen(peer("a", age_ns=STALE_NS - 1)) == "a"


states = st.builds(
    PeerState,
    st.sampled_from("abcdef"),
    st.floats(0, 1),
    st.floats(0, 100),
    st.dictionaries(st.sampled_from([MODEL, OTHER]), st.floats(0, 100)),
    st.integers(NOW - 2 * STALE_NS, NOW),
)


@given(st.lists(states, max_size=6), st.floats(0, 100), st.floats(0, 1))
def test_whatever_is_known_nobody_is_asked_in_vain(known: list[PeerState], left_ms: float, busy: float) -> None:
    made = choose(known, MODEL, left_ms, busy, NOW)
    if made:
        assert needed_ms(made, MODEL) <= left_ms and made.busy + GAIN < busy and NOW - made.t_heard < STALE_NS
        assert all(made.busy <= other.busy for other in known if choose([other], MODEL, left_ms, busy, NOW))


def played(switch: Switch, *steps: tuple[float, float]) -> list[bool]:
    """steps: busy, seconds since the step before."""
    now, states = 100.0, []
    for busy, seconds in steps:
        now += seconds
        states.append(switch.observe(busy, 0.0, 0.0, now))
    return states


def test_it_begins_above_start_and_ends_below_stop() -> None:
    steps = [(0.8, 1), (0.81, 1), (0.7, 5), (0.61, 5), (0.59, 5), (0.79, 5)]
    assert played(Switch(Limits(0.8, 0.6)), *steps) == [False, True, True, True, False, False]


def test_it_begins_at_once_and_does_not_end_at_once() -> None:
    assert played(Switch(Limits(0.8, 0.6)), (0.9, 0.1), (0.1, 0.1), (0.1, 1.8), (0.1, 0.2)) == [True, True, True, False]


def test_a_lane_that_is_slow_hands_over_however_busy_the_box_is() -> None:
    switch = Switch(Limits(0.8, 0.6))
    assert not switch.observe(0.3, 50.0, 0.0, 1.0)
    assert switch.observe(0.3, 50.1, 0.0, 2.0)
    assert switch.observe(0.3, 60.0, 0.0, 20.0) and not switch.observe(0.3, 20.0, 0.0, 21.0)


def test_what_was_moved_comes_back_only_where_there_is_room_for_it() -> None:
    """Below stop alone it would be handed over again at once, and so on."""
    switch = Switch(Limits(0.8, 0.6))
    switch.observe(0.9, 0.0, 0.0, 1.0)
    assert switch.observe(0.5, 0.0, 0.4, 10.0) and not switch.observe(0.5, 0.0, 0.2, 11.0)


@given(st.lists(st.floats(0, 1), min_size=50, max_size=200))
def test_however_the_load_jumps_it_changes_seldom(loads: list[float]) -> None:
    """Ten readings a second: at most one change of mind in a second."""
    switch, changes = Switch(Limits(0.8, 0.6)), 0
    for step, busy in enumerate(loads):
        before = switch.on
        changes += switch.observe(busy, 0.0, 0.0, 100 + step / 10) != before
    assert changes <= 2 + len(loads) / 10


def test_a_peer_that_failed_is_left_alone_for_longer_each_time() -> None:
    backoff, now = Backoff(), 100.0
    assert backoff.allows("a", now)
    pauses = []
    for _ in range(6):
        backoff.failed("a", now)
        pauses.append(next(step / 10 for step in range(200) if backoff.allows("a", now + step / 10)))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0] and backoff.allows("b", now)
    backoff.answered("a")
    backoff.failed("a", now)
    assert backoff.allows("a", now + 0.5)


def test_a_lane_reads_what_the_watch_wrote_and_nothing_old(tmp_path: Path) -> None:
    view, now = View(tmp_path), time.monotonic_ns()
    assert view(now) is NONE
    known = Peers(0.75, (peer("a"), peer("b")), now)
    peers.write(tmp_path, known)
    assert os.stat(tmp_path / peers.NAME).st_mode & 0o777 == 0o600
    assert view(now + 60_000_000) == known
    assert view(now + STALE_NS) is NONE
    os.unlink(tmp_path / peers.NAME)
    assert view(now + 2 * STALE_NS) is NONE


@given(st.binary(max_size=100) | st.text('{}[]:,1a"', max_size=50).map(str.encode))
def test_a_file_that_is_damaged_is_none(raw: bytes) -> None:
    assert peers.parsed(raw) == NONE


def test_a_file_with_impossible_numbers_or_of_another_version_is_none() -> None:
    line = {"name": "a", "busy": 0.1, "rtt_ms": 1, "models": {MODEL: 1}, "t_heard": 1}
    good = {"version": peers.VERSION, "busy": 0.5, "t_ns": 1, "peers": [line]}
    assert peers.parsed(json.dumps(good).encode()).peers[0].name == "a"
    for change in (
        {"version": 2},
        {"busy": -1},
        {"busy": "nan"},
        {"peers": [{**line, "rtt_ms": float("inf")}]},
        {"peers": [{**line, "models": []}]},
        {"peers": 7},
        {"t_ns": "soon"},
    ):
        assert peers.parsed(json.dumps({**good, **change}).encode()) == NONE, change
    assert peers.parsed(json.dumps({**good, "peers": [line] * 5000}).encode()) == NONE


def test_the_doctor_says_which_peer_is_not_heard(tmp_path: Path) -> None:
    offload = {"peers": {name: {"url": "http://127.0.0.1:1"} for name in "abc"}}
    examined = box(configuration(tmp_path, run_dir=str(tmp_path), offload=offload))
    assert [check.cause for check in checks(examined)] == ["the daemon does not run"]
    examined = examined._replace(view=examined.view._replace(pid=1))
    now = time.monotonic_ns()
    states = [PeerState(name, 0.25, 1.5, {MODEL: 5.0}, now - age) for name, age in (("a", 0), ("b", 60 * 10**9))]
    peers.write(tmp_path, Peers(0.5, tuple(states), now))
    good, old, never = checks(examined)
    assert good.cause == "25% busy, serves 1 model, round trip 1.5 ms (p99)" and good.state == GOOD
    assert (old.cause, never.cause) == ("was last heard 60 s ago", "was not heard yet")
    assert complete(old).state == complete(never).state == WARN
    assert list(checks(box(configuration(tmp_path, run_dir=str(tmp_path))))) == []


def test_a_peer_that_goes_and_returns_is_said_once_each(caplog: pytest.LogCaptureFixture) -> None:
    watch = PeerWatch(PeerSettings("p", f"http://127.0.0.1:{free_port()}", ""))
    for _ in range(10):
        assert not watch.ask() and watch.state is None
    app = web.Application()
    app.router.add_get("/v2/reflexd", state)
    with listening(lambda: app, port=watch.server.port):
        for _ in range(3):
            until(watch.ask, "an answer")
        assert watch.state and (watch.state.busy, watch.state.models) == (0.25, {MODEL: 2.0})
    assert not watch.ask()
    away, back = (record.message for record in caplog.records if record.name == "reflexd.offload")
    assert "cannot be reached: Connection refused; trying again" in away and "answers again" in back


async def state(_: web.Request) -> web.Response:
    return web.json_response({"busy": 0.25, "models": {MODEL: 2.0}})


@given(
    st.binary(max_size=60)
    | st.sampled_from([b"{}", b"[]", b'{"busy": 1, "models": []}', b'{"busy": -1, "models": {}}'])
)
def test_what_is_no_state_of_a_box_is_none(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parsed("p", raw, 1.0, 1)
