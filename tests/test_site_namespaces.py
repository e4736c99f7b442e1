"""Boxes in network namespaces: a cable that is cut, a half-open link, a site that is split and joined again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.benches.site.network import PORT, Network, network
from agent.errors import DataError
from tests.site_fixtures import HAND, SiteBox, SiteMaker, site_of
from tests.waiting import until

pytestmark = pytest.mark.slow
NAMES = ("a", "b", "c", "d")


class Hall:
    """Four boxes at one switch."""

    def __init__(self, maker: SiteMaker, net: Network) -> None:
        self.net = net
        self.boxes = {name: self._box(maker, name) for name in NAMES}
        for box in self.boxes.values():
            others = [other.address for other in self.boxes.values() if other is not box]
            box.settings = box.settings._replace(peers=others)
            box.start()

    def _box(self, maker: SiteMaker, name: str) -> SiteBox:
        address = f"tls/{self.net.box(name)}:{PORT}"
        box = maker.box(name, [other for other in NAMES if other != name], listen=[address])
        box.address, box.prefix = address, self.net.prefix(name)
        return box

    def all_see_each_other(self) -> None:
        for name, box in self.boxes.items():
            for other in self.boxes.keys() - {name}:
                box.sees(other)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with ExitStack() as stack:
        try:
            net = stack.enter_context(network())
        except DataError as error:
            pytest.skip(str(error))
        hall = Hall(stack.enter_context(site_of(tmp_path)), net)
        hall.all_see_each_other()
        yield hall


def test_a_cable_that_is_cut_is_noticed_on_both_sides_and_heals(hall: Hall) -> None:
    a, b = hall.boxes["a"], hall.boxes["b"]
    for times in (1, 2):
        hall.net.cable("a", False)
        for other in "bcd":
            a.sees(other, "gone")
            hall.boxes[other].sees("a", "gone")
        assert b.other("c")["state"] == "there", "the others go on"
        hall.net.cable("a", True)
        hall.all_see_each_other()
        assert len(a.lines("box b is gone")) == len(b.lines("box a is gone")) == times


def test_a_link_that_is_half_open_counts_as_gone_on_both_sides_and_heals(hall: Hall) -> None:
    a, b = hall.boxes["a"], hall.boxes["b"]
    hall.net.deaf("a", True)
    a.sees("b", "gone")
    b.sees("a", "gone")
    hall.net.deaf("a", False)
    hall.all_see_each_other()


def test_a_site_that_was_split_joins_again(hall: Hall) -> None:
    hall.net.bridge("br1")
    for name in "cd":
        hall.net.plug(name, "br1")
    for name, other in (("a", "c"), ("b", "d"), ("c", "a"), ("d", "b")):
        hall.boxes[name].sees(other, "gone")
    assert hall.boxes["a"].other("b")["state"] == hall.boxes["c"].other("d")["state"] == "there", "each half goes on"
    for _ in range(1000):
        hall.boxes["a"].show(HAND)
        hall.boxes["a"].show()
    for name in "cd":
        hall.net.plug(name, "br0")
    hall.all_see_each_other()
    until(lambda: all(not box.report()["troubles"] for box in hall.boxes.values()), "nobody complains")
