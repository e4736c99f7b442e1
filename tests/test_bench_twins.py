"""`reflexd bench twins`: how events and movements are counted, the clock of a box, and what its sensor delivers."""

import subprocess
import time

from agent.benches.twins import bench, site
from agent.benches.twins.bench import Event, count
from agent.benches.twins.cables import Cables
from agent.benches.twins.events import Events
from agent.benches.twins.sensor import LEVEL, Driver, Options
from agent.commands import wire
from agent.config.load import load_config
from agent.isolated import python
from tests.waiting import until

MS = 1_000_000
EVENTS = [Event(1000 * MS, 1300 * MS), Event(2000 * MS, 2300 * MS)]


def counted(*movements):
    return count(EVENTS, [(at * MS, verb) for at, verb in movements], "stop", 500 * MS, 3000 * MS)


def test_each_event_moves_the_device_once():
    good = counted(
        (0, "safe"), (600, "run"), (1003, "stop"), (1302, "run"), (2004, "stop"), (2302, "run"), (3001, "safe")
    )
    assert good[:3] == (0, 0, 0) and good.ms == [3.0, 4.0]


def test_an_event_without_a_movement_while_it_lasts_is_lost():
    assert counted((1003, "stop"), (1302, "run")).lost == 1
    late = counted((1003, "stop"), (1302, "run"), (2301, "stop"))
    assert late.lost == 1 and late.ms == [3.0]


def test_a_second_movement_for_an_event_is_doubled_also_after_its_end():
    assert counted((1003, "stop"), (1100, "run"), (1101, "stop"), (2003, "stop")).doubled == 1
    assert counted((1003, "stop"), (1302, "run"), (1310, "stop"), (2003, "stop")).doubled == 1


def test_safe_stops_count_between_start_and_end():
    assert counted((100, "safe"), (1003, "stop"), (1050, "safe"), (2003, "stop"), (3500, "safe")).safe_stops == 1


def test_a_result_fails_by_what_was_lost_doubled_or_safe_and_not_by_its_milliseconds():
    good = {"lost": 0, "doubled": 0, "safe_stops": 0, "p99_ms": 500.0, "longest_pause_ms": 20.0}
    assert not bench.failed(good)
    assert all(bench.failed(good | {key: 1}) for key in ("lost", "doubled", "safe_stops"))


def test_a_machine_that_paused_as_long_as_silence_is_no_fault_of_the_guard_but_a_lost_event_is():
    paused = {"lost": 0, "doubled": 1, "safe_stops": 1, "longest_pause_ms": bench.SILENCE_MS}
    assert not bench.failed(paused)
    assert bench.failed(paused | {"lost": 1})


def test_the_text_has_every_figure():
    figures = bench.figures([2.0, 3.0])
    result = {
        "machine": "m",
        "fifo": True,
        "network": "n",
        "clocks": {"b": "7 s ahead"},
        "events": 9,
        "kills": 4,
        "kills_by_kind": {"killed": 4},
        "lost": 1,
        "doubled": 2,
        "safe_stops": 3,
        "longest_pause_ms": 4.0,
        "actuators": {"robot": figures},
        **figures,
    }
    text = bench.text(result)
    assert "9 events" in text and "4 killed" in text and "lost 1, doubled 2, safe stops 3" in text
    assert "robot: p50 2.5" in text


def test_a_box_has_a_clock_of_its_own():
    """And the machine's events are at the machine's time."""
    program = (
        "import sys, time; from agent.benches.twins import box; real = time.monotonic_ns(); box.set_clock(7, 100_000);"
        " from agent.commands import wire; time.sleep(0.2); passed = time.monotonic_ns() - real;"
        " truly = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - real; print(passed, truly, wire.clock_id())"
    )
    output = subprocess.run([*python("agent.isolated")[:1], "-c", program], capture_output=True, text=True, check=True)
    passed, truly, clock = map(int, output.stdout.split())
    assert 7.0e9 + 1.09 * truly < passed < 7.0e9 + 1.11 * truly
    assert clock != wire.clock_id()


def test_the_sensor_of_both_boxes_sees_an_event_while_it_lasts(tmp_path):
    events = Events(tmp_path / "events", create=True)
    eye = Driver(Options(path=tmp_path / "events"), "eye")
    eye.open()

    def newest():
        sample = eye.read(0.1)
        return sample.payload[-1, 0] if sample else None

    assert until(newest) == -LEVEL
    now = time.monotonic_ns()
    events.announce(now, now + 10**12)
    until(lambda: newest() == LEVEL)
    events.announce(now + 10**12, now + 2 * 10**12)
    until(lambda: newest() == -LEVEL)
    eye.close()


def test_the_configurations_of_all_three_boxes_have_no_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr(Cables, "_make", lambda cables: None)
    made = site.Site(tmp_path)
    configs = {name: load_config(tmp_path / f"{name}.yaml") for name in ("host", "a", "b")}
    assert configs["host"].senders(site.ROBOT) == ["a/eye", "b/eye"]
    assert set(configs["a"].actuators) == set(configs["b"].actuators) == set(site.DEVICES)
    made.close()
