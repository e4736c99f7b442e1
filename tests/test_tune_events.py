"""Which decisions of a recording a changed lane keeps: none lost, none late, none where there was none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.tune.events import Kept, compare, events
from tests.tuning import MS, PERIOD_MS, PRESENT, config, trace

FIRST, SECOND = PRESENT[:30], PRESENT[30:]


def kept(folder: Path, present: Sequence[int], late_ms: float | None = None, **rule: float) -> Kept:
    """With what the changed lane finds, at the same speed."""
    made = config(folder, rule=dict(rule))
    return compare(made, {"floor": trace()}, {"floor": trace(present)}, "floor", late_ms)


def test_the_same_findings_keep_every_event(tmp_path: Path) -> None:
    assert kept(tmp_path, PRESENT) == Kept(2, 2, 0)


def test_an_event_begins_and_ends_with_its_rule(tmp_path: Path) -> None:
    first, second = events(config(tmp_path), {"floor": trace()})
    assert [first.start // MS, first.end // MS] == [30 * PERIOD_MS, 60 * PERIOD_MS]
    assert (second.rule, second.actuator, second.verb) == ("person", "robot", "stop")


def test_a_missed_event_is_lost(tmp_path: Path) -> None:
    assert kept(tmp_path, SECOND) == Kept(2, 1, 0, lost_s=(1.0,))


def test_an_event_one_picture_later_is_lost_unless_that_is_allowed(tmp_path: Path) -> None:
    assert kept(tmp_path, [*FIRST[1:], *SECOND]) == Kept(2, 1, 0, PERIOD_MS, lost_s=(1.0,))
    assert kept(tmp_path, [*FIRST[1:], *SECOND], late_ms=PERIOD_MS).all
    assert kept(tmp_path, [*FIRST[1:], *SECOND], deadline_ms=50).all, "within the rule's deadline it is in time"


def test_an_event_that_begins_earlier_is_kept_and_not_new(tmp_path: Path) -> None:
    assert kept(tmp_path, [*range(25, 60), *SECOND]).all


def test_a_rule_in_force_where_there_was_no_event_is_new(tmp_path: Path) -> None:
    assert kept(tmp_path, [*PRESENT, *range(95, 98), *range(190, 193)]) == Kept(2, 2, 1, extra_s=(6.3,)), (
        "97 is near the second"
    )


def test_a_rule_that_is_always_in_force_keeps_nothing_worth_keeping(tmp_path: Path) -> None:
    result = kept(tmp_path, range(200))
    assert result.extra == 1 and not result.all


def test_a_break_within_an_event_loses_none(tmp_path: Path) -> None:
    assert kept(tmp_path, [*FIRST[:10], *FIRST[14:], *SECOND]).all


def test_a_lane_that_passes_samples_over_loses_what_happens_there(tmp_path: Path) -> None:
    made = config(tmp_path)
    short = [30, 120]  # a person in one picture
    before = {"floor": trace(short, inference_ms=5.0)}
    slow = {"floor": trace(short, inference_ms=4.5 * PERIOD_MS)}
    assert compare(made, before, slow, "floor").kept < 2


def test_a_stall_of_this_machine_loses_no_event(tmp_path: Path) -> None:
    made = config(tmp_path)
    stalled = {"floor": trace(stalls=dict.fromkeys(range(28, 33), 200.0))}
    assert compare(made, {"floor": trace()}, stalled, "floor").all


def test_rules_over_several_lanes_see_the_other_lanes_as_they_were(tmp_path: Path) -> None:
    other = {"source": {"driver": "camera.sim"}, "model": "objects"}
    conditions = [{"lane": lane, "label": "person", "score": 0.5} for lane in ("floor", "gate")]
    made = config(tmp_path, {"gate": other}, {"any": [], "all": conditions})
    before = {"floor": trace(), "gate": trace(FIRST, lane="gate")}
    assert compare(made, before, before, "floor") == Kept(1, 1, 0)
    assert compare(made, before, {**before, "floor": trace(SECOND)}, "floor").kept == 0


@pytest.mark.parametrize("every_sample", [False, True])
def test_a_rule_that_decides_on_every_sample_is_one_event(tmp_path: Path, every_sample: bool) -> None:
    made = config(tmp_path, rule={"every_sample": every_sample})
    assert len(events(made, {"floor": trace()})) == 2
