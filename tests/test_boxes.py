"""Two redundant boxes at a real actuator host: no safe stop when one dies, and an alarm when they disagree."""

import json
import time

import pytest

from agent.commands import boxes
from agent.field.actuators import answers
from agent.field.board import BoardMonitor
from agent.field.status import as_dict, read_status
from agent.metrics import LedgerCollector
from tests.test_host import Belt, undisturbed
from tests.waiting import until

A, B = {"node": "a/cam", "session": 1}, {"node": "b/cam", "session": 2}
SECTION = {"boxes": ["a", "b"], "strongest": ["stop"], "verbs": ["run", "slow", "stop"], "disagree_ms": 100}


@pytest.fixture
def make(tmp_path):
    belts = []

    def make(**options):
        belts.append(Belt(tmp_path, **{"senders": (), "section": SECTION} | options))
        return belts[-1]

    yield make
    for belt in belts:
        belt.close()


def look(belt):
    """As the host's own thread does ten times a second."""
    (report,) = belt.host.reports
    report.look(time.monotonic_ns())
    return boxes.read(belt.config.run_dir, "belt")


def both(belt, a="run", b="run", number=1):
    """One message of each box; their verdicts."""
    return belt.request(**A, verb=a, decision=number), belt.request(**B, verb=b, decision=number)


def test_two_boxes_command_one_actuator(make):
    undisturbed(make, both_command)


def both_command(belt):
    assert both(belt) == ("applied", "repeated")
    assert both(belt, "stop", "stop", 2) == ("applied", "repeated")
    assert both(belt, "run", "stop", 3) == ("overruled", "repeated")
    assert both(belt, "run", "run", 4) == ("overruled", "applied")
    assert belt.request(node="c/cam", session=3) == "unknown"
    assert belt.verbs == ["stop", "run", "stop", "run"]
    assert belt.server.counts["overruled"] == 2


def test_when_one_box_dies_the_word_of_the_other_comes_in_force_without_a_safe_stop(make, caplog):
    undisturbed(make, lambda belt: one_dies(belt, caplog))


def one_dies(belt, caplog):
    caplog.clear()
    assert both(belt, b="slow") == ("applied", "overruled")
    look(belt)
    assert belt.request(**A, verb="stop", decision=2) == "applied"
    until(lambda: belt.request(**B, verb="slow") == "repeated")  # a is silent now
    assert belt.verbs == ["stop", "run", "stop", "slow"]
    assert not belt.server.counts["silence"]
    shown = look(belt)
    assert [box.alive for box in shown.state.boxes] == [False, True]
    assert shown.troubles == ["redundant box a is gone: a/cam is silent"]
    assert "box a is gone (a/cam is silent): b still commands it" in caplog.text
    assert belt.request(**A, verb="run", decision=3) == "overruled"  # it returns
    look(belt)
    assert "box a is alive, and says run" in caplog.text


def test_when_both_boxes_are_silent_it_goes_safe(make):
    belt = make()
    both(belt)
    until(lambda: belt.server.counts["silence"] == 1 and belt.verbs[-1] == "stop")
    assert len(belt.verbs) == 3


def test_boxes_that_disagree_for_long_are_reported_once_and_until_they_agree(make, caplog):
    undisturbed(make, lambda belt: disagree(belt, caplog))


def disagree(belt, caplog):
    caplog.clear()
    both(belt)
    assert look(belt).troubles == []
    until(lambda: both(belt, b="slow", number=2)[0] == "overruled" and look(belt).disagree_s)
    shown = look(belt)
    assert "a says run, b says slow; in force is slow" in shown.troubles[0]
    path = belt.config.run_dir / "belt.yaml"
    path.write_text(belt.config.model_dump_json(exclude_unset=True))
    status = read_status(path, BoardMonitor())
    (actuator,) = status.actuators
    assert any("its boxes disagree" in trouble for trouble in actuator.troubles)
    assert any("boxes: a run, b slow" in line for line in answers(actuator))
    assert status.health == "degraded" and "its boxes disagree" in status.reasons[-1]
    assert as_dict(status)["actuators"][0]["boxes"]["verb"] == "slow"
    samples = [sample for family in LedgerCollector(belt.config.run_dir).collect() for sample in family.samples]
    assert {s.labels["box"]: s.value for s in samples if s.name == "reflexd_actuator_box_alive"} == {"a": 1, "b": 1}
    assert [s.value > 0 for s in samples if s.name == "reflexd_actuator_boxes_disagree_seconds"] == [True]
    both(belt, "slow", "slow", 3)
    assert look(belt).troubles == []
    assert caplog.text.count("its boxes disagree for more than 0.1 s: a says run, b says slow") == 1
    assert caplog.text.count("its boxes agree again") == 1


def test_a_report_of_a_host_that_has_ended_or_is_damaged_is_not_shown(make):
    belt = make()
    both(belt)
    look(belt)
    file = boxes.path(belt.config.run_dir, "belt")
    content = json.loads(file.read_text())
    for bad in (content | {"pid": 1 << 30}, content | {"boxes": [1]}, content | {"disagree_since": None}, []):
        file.write_text(json.dumps(bad))
        assert boxes.read(belt.config.run_dir, "belt") is None
    belt.host.stop()
    assert not file.exists() and boxes.read_all(belt.config.run_dir) == {}


def test_a_report_that_cannot_be_written_is_logged_once_and_moves_nothing(make, caplog):
    belt = make()
    boxes.path(belt.config.run_dir, "belt").mkdir()
    (boxes.path(belt.config.run_dir, "belt") / "in the way").touch()
    for number in (1, 2, 3):
        both(belt, "slow" if number == 2 else "run", number=number)
        look(belt)
    assert caplog.text.count("'reflexd status' does not show the boxes") == 1
