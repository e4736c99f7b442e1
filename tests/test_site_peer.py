"""What a box knows of another one, and that it says each thing once."""

from __future__ import annotations

import logging

import msgpack
import pytest

from agent.site.messages import pack_evidence, pack_state
from agent.site.peer import Limit, Peer
from tests.test_site_messages import EVIDENCE, STATE

OLD = msgpack.packb((0, 1, "what an older program says"))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def peer(clock: Clock, caplog: pytest.LogCaptureFixture) -> Peer:
    caplog.set_level(logging.INFO, "reflexd.site")
    return Peer("b", clock=clock)


def said(caplog: pytest.LogCaptureFixture, part: str) -> int:
    return sum(part in message for message in caplog.messages)


def test_it_comes_and_goes_with_one_message_each(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    for alive in (True, True, False, False, True):
        peer.set_alive(alive)
    assert caplog.messages == ["box b is there", "box b is gone: no sign of life within the lease", "box b is there"]


def test_one_that_was_never_there_is_named_once(peer: Peer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        clock.now += 1
        peer.check()
    assert said(caplog, "no link to it yet") == 1 == len(caplog.messages)
    peer.set_alive(True)
    assert peer.report()["troubles"] == []


def test_another_version_is_named_once_and_ends(peer: Peer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        clock.now += 0.1
        assert peer.read(OLD) is None
        peer.check()
    assert said(caplog, "update the older one") == 1 and peer.report()["troubles"]
    assert peer.read(pack_state(STATE)) == STATE
    clock.now += 6
    peer.check()
    assert said(caplog, "no longer") == 1 and not [each for each in peer.report()["troubles"] if "version" in each]


def test_two_boxes_of_one_name_are_named_once_and_not_used(
    peer: Peer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = pack_evidence(EVIDENCE), pack_evidence(EVIDENCE._replace(session=8))
    assert peer.read(one) and peer.read(two), "a link that was started again"
    for _ in range(50):
        clock.now += 0.1
        assert peer.read(one) is None and peer.read(two) is None
    assert said(caplog, "two boxes have this name") == 1
    clock.now += 6
    assert peer.read(two) is not None, "the other has left"
    peer.check()
    assert said(caplog, "no longer: two boxes") == 1


def test_a_box_with_this_one_s_name_is_named_as_long_as_it_speaks(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    own = Peer("a", own=True, clock=clock)
    for _ in range(200):
        clock.now += 0.1
        assert own.read(pack_state(STATE)) is None
        own.check()
    assert said(caplog, "another box has the name of this one") == 1


def test_what_floods_is_read_at_a_limit(peer: Peer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    limit = Limit(peer, most=10, clock=clock)
    pauses = [limit.pause_s() for _ in range(12)]
    assert pauses == [0.0] * 10 + [1.0, 1.0] and said(caplog, "more than 10 messages a second") == 1
    clock.now += 1
    assert limit.pause_s() == 0.0


def test_damaged_messages_are_named_once(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    for raw in (b"", b"\xc1", b"\x93\x01\x01"):
        assert peer.read(raw) is None
    assert said(caplog, "messages are damaged") == 1


def test_the_round_trip_comes_from_both_states(peer: Peer) -> None:
    peer.set_alive(True)
    peer.set_state(STATE._replace(echoes={"a": (1_000_000, 500_000)}, t_sent=77), "a", 2_000_000)
    assert peer.trip_ms == 0.5 and peer.echo(2_500_000) == (77, 500_000)
    assert peer.captured(EVIDENCE._replace(clock=1, t_capture=77), 2_000_000) == 1_500_000
    peer.set_alive(False)
    assert peer.trip_ms is None and peer.echo(3_000_000) is None
