"""Boxes of a site over real sessions with mutual TLS: who is there, what arrives, and who may speak for whom."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.site import make_keys, messages
from agent.site.messages import BoxState, Found, LaneEvidence
from drivers.sensor import _site_datagram as datagram
from drivers.sensor._site_datagram import Inference
from tests.site_fixtures import CLOCK, HAND, SITE, SiteBox, SiteMaker, newest_of, session_of, site_of, zenoh
from tests.waiting import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteMaker]:
    with site_of(tmp_path) as maker:
        yield maker


class Lane:
    """Where a lane over remote evidence gets it."""

    def __init__(self, box: SiteBox, name: str = "region") -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(datagram.path(box.run_dir, name)))
        self.arrived: list[Inference] = []

    def read(self) -> list[Inference]:
        try:
            while True:
                inference = datagram.unpack(self.socket.recv(datagram.MAX_BYTES))
                assert inference
                self.arrived.append(inference)
        except BlockingIOError:
            return self.arrived

    def wait_for(self, label: str) -> Inference:
        def arrived() -> Inference | None:
            return next((each for each in self.read() if each.found and each.found[0][0] == label), None)

        inference = until(arrived, lambda: f"'{label}' in {self.arrived}")
        assert inference
        return inference


def evidence_of(label: str, session: int = 5) -> bytes:
    now = time.monotonic_ns()
    return messages.pack_evidence(LaneEvidence(session, CLOCK, 1, now, now, (Found(label, 1.0),)))


def test_two_boxes_see_each_other_with_round_trip_load_and_models(site: SiteMaker) -> None:
    a, b = site.pair()
    until(lambda: a.other("b")["trip_ms"] is not None and b.other("a")["trip_ms"] is not None, lambda: a.text + b.text)
    other = a.other("b")
    assert 0 <= other["busy"] <= 1 and other["models"] == {"person-coarse": "ab" * 32} and other["version"] == "0.2.0"
    until(lambda: "b" in b.report()["boxes"]["a"]["links"], "b reads the round trips of a")
    assert a.report()["troubles"] == b.report()["troubles"] == other["troubles"] == []
    assert len(a.lines("box b is there")) == 1


def test_a_box_that_is_killed_is_gone_and_comes_back_by_itself(site: SiteMaker) -> None:
    a, b = site.pair()
    for times in (1, 2):
        b.stop(signal.SIGKILL)
        a.sees("b", "gone")
        b.start()
        a.sees("b")
        assert len(a.lines("box b is gone")) == times
    assert a.lines("two boxes have this name") == []


def test_one_that_stands_still_is_gone_until_it_goes_on(site: SiteMaker) -> None:
    a, b = site.pair()
    assert b.process
    b.process.send_signal(signal.SIGSTOP)
    a.sees("b", "gone")
    b.process.send_signal(signal.SIGCONT)
    a.sees("b")
    b.sees("a")


def test_evidence_arrives_once_with_its_capture_time_and_again_for_one_that_joins_later(site: SiteMaker) -> None:
    a, b = site.pair(regions={"region": ["b/cam"]})
    lane = Lane(a)
    captured = b.show(HAND)
    arrived = lane.wait_for("hand")
    assert arrived == Inference("b/cam", captured, [["hand", 0.9, [0.1, 0.2, 0.3, 0.4], "near"]])
    b.show(HAND._replace(label="arm"))
    lane.wait_for("arm")
    assert len(lane.arrived) == 2, "what is sent again every 33 ms is the same inference"
    a.stop()
    lane.arrived.clear()
    a.start()
    lane.wait_for("arm")


def test_a_box_cannot_speak_for_another_one(site: SiteMaker) -> None:
    a = site.box("a", ["b", "c"], regions={"region": ["b/cam", "c/cam"]})
    c = site.box("c", ["a", "b"], peers=[a.address])
    a.start()
    lane = Lane(a)
    with session_of(c, listen=[]) as forger:
        token = forger.liveliness().declare_token(f"reflexd/{SITE}/b/alive")

        def heard() -> bool:
            forger.put(f"reflexd/{SITE}/b/evidence/cam", evidence_of("forged"))
            forger.put(f"reflexd/{SITE}/c/evidence/cam", evidence_of("own"))
            return any(each.source == "c/cam" for each in lane.read())

        until(heard, "what c says for itself arrives")
        for _ in range(20):
            heard()
        until(lambda: len(lane.read()) > 5, "more of c has arrived")
        assert {each.source for each in lane.arrived} == {"c/cam"}
        assert a.other("b")["state"] != "there", "its sign of life was forged"
        token.undeclare()


def test_a_box_that_is_not_listed_is_not_heard(site: SiteMaker) -> None:
    a, b = site.pair(regions={"region": ["b/cam"]})
    stranger = site.box("stranger", ["a", "b"], peers=[a.address])
    with session_of(stranger, listen=[]) as session:
        heard = newest_of(session, f"reflexd/{SITE}/**")
        lane = Lane(a)
        for _ in range(20):
            session.put(f"reflexd/{SITE}/b/evidence/cam", evidence_of("forged"))
            b.show(HAND)
        lane.wait_for("hand")
        assert {each.found[0][0] for each in lane.read()} == {"hand"}
        assert heard() == [], "nor does it hear anything"


def test_a_certificate_of_another_site_is_refused(site: SiteMaker, tmp_path: Path) -> None:
    a, b = site.pair()
    (tmp_path / "elsewhere").mkdir()
    wrong = make_keys.Authority(tmp_path / "elsewhere").make_box("b")
    b.stop()
    a.sees("b", "gone")
    b.settings = b.settings._replace(keys=str(wrong))
    b.start()
    b.wait_for("box a: no link to it yet")
    assert a.other("b")["state"] == "gone" and b.other("a")["state"] == "absent"
    b.change(keys=str(tmp_path / "keys/b"))
    a.sees("b")
    b.sees("a")


def test_a_box_of_the_same_name_is_named_once_on_each_side(site: SiteMaker, tmp_path: Path) -> None:
    a, b = site.pair(regions={"region": ["b/cam"]})
    (tmp_path / "twin").mkdir()
    twin = SiteBox(tmp_path / "twin", "b", ["a"], tmp_path / "keys/b", peers=[a.address, b.address])
    site.boxes.append(twin)
    twin.start()
    a.wait_for("two boxes have this name")
    b.wait_for("another box has the name of this one")
    twin.stop()
    a.wait_for("no longer: two boxes")
    lane = Lane(a)
    until(lambda: b.show(HAND) and lane.read(), "evidence of the one that is left")
    assert len(a.lines("two boxes have this name")) == 2, "its begin and its end"


def test_an_older_program_is_named_once_and_harms_nobody(site: SiteMaker) -> None:
    a, b = site.pair(boxes=["b", "c"], regions={"region": ["b/cam", "c/cam"]})
    c = site.box("c", ["a"], peers=[a.address])
    lane = Lane(a)
    with session_of(c, listen=[]) as session:
        old = b"\x93\x00\x01\x02"

        def named() -> list[str]:
            session.put(f"reflexd/{SITE}/c/state", old)
            session.put(f"reflexd/{SITE}/c/evidence/cam", old)
            return a.lines("version 0 of the site's messages")

        until(named, "the older version is named")
        for _ in range(20):
            named()
        b.show(HAND)
        lane.wait_for("hand")
    assert len(a.lines("version 0 of the site's messages")) == 1


def test_a_box_that_floods_delays_no_other_one(site: SiteMaker) -> None:
    a, b = site.pair(boxes=["b", "c"], regions={"region": ["b/cam", "c/cam"]})
    c = site.box("c", ["a"], peers=[a.address])
    lane = Lane(a)
    with session_of(c, listen=[]) as session:
        publisher = session.declare_publisher(
            f"reflexd/{SITE}/c/state", congestion_control=zenoh.CongestionControl.DROP
        )

        def flooded() -> list[str]:
            for _ in range(3000):
                publisher.put(b"\x00" * 100)
            return a.lines("more than 2000 messages a second")

        until(flooded, "the flood is named")
        for number in range(10):
            flooded()
            b.show(HAND._replace(label=f"hand-{number}"))
            lane.wait_for(f"hand-{number}")
        publisher.undeclare()
    assert len(a.lines("more than 2000 messages a second")) == 1
    assert a.other("b")["state"] == "there" and a.other("b")["troubles"] == []


def test_keys_that_come_later_and_an_address_that_is_taken_heal_by_themselves(site: SiteMaker, tmp_path: Path) -> None:
    a = site.box("a", ["b"])
    b = site.box("b", ["a"], peers=[a.address])
    b.start()
    host, _, port = a.address.partition("/")[2].rpartition(":")
    os.rename(tmp_path / "keys/a", tmp_path / "keys/later")
    a.start()
    a.wait_for("this box is alone: ")
    with socket.create_server((host, int(port))):
        os.rename(tmp_path / "keys/later", tmp_path / "keys/a")
        until(lambda: "cannot listen" in str(a.report().get("troubles")), lambda: f"{a.report()} {a.text}")
        assert not a.report()["linked"]
    a.sees("b")
    assert a.report()["linked"] and len(a.lines("this box is alone")) == 1


@pytest.mark.parametrize("started", ["a second ago", "thirty years ago"])
def test_times_of_a_box_with_another_clock_are_never_newer_than_they_are(site: SiteMaker, started: str) -> None:
    a = site.box("a", ["c"], regions={"region": ["c/cam"]})
    c = site.box("c", ["a"], peers=[a.address])
    a.start()
    lane = Lane(a)
    captured: list[int] = []
    second = 1_000_000_000
    ahead = second - time.monotonic_ns() if started == "a second ago" else 30 * 365 * 86_400 * second

    def clock() -> int:
        return time.monotonic_ns() + ahead

    with session_of(c, listen=[]) as session:
        states = newest_of(session, f"reflexd/{SITE}/a/state")

        def says() -> bool:
            heard = messages.unpack(states()[-1]) if states() else None
            echoes = {"a": (heard.t_sent, 0)} if isinstance(heard, BoxState) else {}
            state = BoxState(5, CLOCK + 1, 1, clock(), "0.2.0", 0.0, {}, {}, echoes, {})
            session.put(f"reflexd/{SITE}/c/state", messages.pack_state(state))
            captured.append(time.monotonic_ns())
            found = (Found(f"{len(captured) - 1}", 1.0),)
            evidence = LaneEvidence(5, CLOCK + 1, 1, captured[-1] + ahead, clock(), found)
            session.put(f"reflexd/{SITE}/c/evidence/cam", messages.pack_evidence(evidence))
            return len(lane.read()) > 5

        until(says, "evidence arrives once both clocks are known")
    for inference in lane.arrived:
        assert 0 <= captured[int(inference.found[0][0])] - inference.t_capture < 2 * second


def test_a_box_alone_runs_and_ends_in_order(site: SiteMaker) -> None:
    a = site.box("a", ["b"], peers=["tls/127.0.0.1:9"])
    a.start()
    a.wait_for("box b: no link to it yet")
    a.show(HAND)
    assert a.other("b")["state"] == "absent" and a.report()["linked"]
    assert a.stop() == 0 and a.report() == {}
    assert len(a.lines("WARNING")) == 1


def test_a_reload_keeps_the_session_unless_it_is_about_the_boxes(site: SiteMaker) -> None:
    a, b = site.pair(regions={"region": ["b/cam"]})
    lane = Lane(a)
    b.change()
    b.change(models={"another": "cd" * 32}, lanes=["other", "cam"])
    until(lambda: "another" in a.other("b")["models"], lambda: a.text + b.text)
    b.show(HAND)
    lane.wait_for("hand")
    assert len(a.lines("box b")) == len(b.lines("site hall: this box is b")) == 1
    b.change(boxes=["a", "z"])
    b.sees("z", "absent")
    a.sees("b")
    assert len(b.lines("site hall: this box is b")) == 2
