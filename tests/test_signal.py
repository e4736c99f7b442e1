"""The traffic signal: no order of commands, times and troubles makes its lamps show a forbidden combination."""

import json
import os
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.actuator import signal
from drivers.actuator._signal_plan import LAMPS, PHASES, Plan, Times
from drivers.base import DeviceFault, DeviceMissing
from tests.waiting import until

RELAYS = {lamp: number for number, lamp in enumerate(LAMPS, 1)}
TIMES = Times(green_min=7.0, green_max=30.0, yellow=3.0, all_red=1.0, people_clear=5.0)
YELLOW, ALL_RED = {"vehicle_yellow", "people_red"}, {"vehicle_red", "people_red"}
SAFETY = ("all_red", "flash")


def check(history, times):
    """The rules, independent of the plan.

    history: (since, lit lamps, request at that time) in order, of a crossing whose lamps were not known before.
    """
    lit = [set(lamps) for _, lamps, _ in history]
    lasted = [after[0] - before[0] for before, after in zip(history, history[1:])]
    for n, lamps in enumerate(lit):
        assert not {"vehicle_green", "people_green"} <= lamps
        assert "people_green" not in lamps or lamps == {"people_green", "vehicle_red"}
        assert len(lamps & {"vehicle_red", "vehicle_yellow", "vehicle_green"}) <= 1
        if n == 0:
            continue
        gone, new = lit[n - 1] - lamps, lamps - lit[n - 1]
        if "vehicle_green" in gone:
            assert lamps == YELLOW
        if gone & {"vehicle_green", "people_green"}:
            assert lasted[n - 1] >= times.green_min or history[n][2] in SAFETY
        if lit[n - 1] == YELLOW:
            assert lamps == ALL_RED and lasted[n - 1] >= times.yellow
        if new & {"vehicle_green", "people_green"}:
            assert lit[n - 1] == ALL_RED and lasted[n - 1] >= times.all_red
        if "people_green" in new:
            drove = max((m for m in range(n) if uncontrolled(lit[m]) or "vehicle_green" in lit[m]), default=-1)
            assert lit[drove + 1] == YELLOW
        if "vehicle_green" in new:
            stepped = max((m for m in range(n) if uncontrolled(lit[m]) or "people_green" in lit[m]), default=-1)
            assert history[n][0] - history[stepped + 1][0] >= times.people_clear


def uncontrolled(lamps):
    """It flashes: cars and people go at their own discretion."""
    return lamps <= {"vehicle_yellow"}


class Crossing:
    """A plan with a clock that the test sets."""

    def __init__(self, times=TIMES):
        self.now, self.times = 100.0, times
        self.plan = Plan(times, self.now)
        self.history = [(self.now, PHASES[self.plan.phase], "all_red")]

    def advance(self, seconds, request=None):
        self.now += seconds
        self.plan.request = request or self.plan.request
        if self.plan.step(self.now):
            self.history.append((self.now, PHASES[self.plan.phase], self.plan.request))
        return self.plan.phase

    def run(self, seconds, request=None):
        """The phases that start within `seconds`, and after how long each."""
        start, known = self.now, len(self.history)
        for _ in range(round(seconds * 8)):
            self.advance(0.125, request)
        names = {lamps: phase for phase, lamps in PHASES.items()}
        return [(since - start, names[lamps]) for since, lamps, _ in self.history[known:]]


def test_it_starts_with_yellow_and_a_whole_clearance():
    assert Crossing().run(20, "vehicles") == [(3.0, "clear"), (8.0, "vehicles")]


def test_people_wait_for_minimum_green_yellow_and_all_red():
    crossing = Crossing()
    crossing.run(10, "vehicles")
    assert crossing.run(20, "people") == [(5.0, "yellow"), (8.0, "clear"), (9.0, "people")]
    assert crossing.run(20, "vehicles") == [(0.125, "clear"), (5.125, "vehicles")]


def test_the_waiting_side_gets_green_after_green_max():
    crossing = Crossing()
    crossing.run(9, "people")
    assert crossing.run(60, "people") == [
        (29.0, "clear"),
        (34.0, "vehicles"),
        (41.0, "yellow"),
        (44.0, "clear"),
        (45.0, "people"),
    ]


def test_without_maximum_green_it_waits_without_limit():
    crossing = Crossing(TIMES._replace(green_max=0))
    crossing.run(9, "people")
    assert crossing.run(600, "people") == []


@pytest.mark.parametrize("side, after", [("vehicles", "yellow"), ("people", "clear")])
def test_a_green_ends_at_once_for_safety(side, after):
    crossing = Crossing()
    crossing.run(8, side)
    crossing.run(1, side)
    assert crossing.plan.phase == side
    assert crossing.advance(0.125, "all_red") == after
    crossing.run(100, "all_red")
    assert crossing.plan.phase == "clear"


def test_flashing_starts_after_a_clearance_and_ends_with_one():
    crossing = Crossing()
    crossing.run(9, "people")
    assert crossing.run(6.7, "flash") == [
        (0.125, "clear"),
        (5.125, "flash"),
        (5.625, "dark"),
        (6.125, "flash"),
        (6.625, "dark"),
    ]
    assert crossing.run(9, "vehicles") == [(0.125, "yellow"), (3.125, "clear"), (8.125, "vehicles")]


ANYTIME = st.one_of(st.just(0.0), st.floats(0.001, 1.0), st.floats(1.0, 40.0))
TURNS = st.lists(st.tuples(ANYTIME, st.sampled_from(["vehicles", "people", *SAFETY])), max_size=80)
EVERY_TIMES = st.builds(
    Times,
    st.floats(4, 20),
    st.one_of(st.just(0.0), st.floats(20, 60)),
    st.floats(3, 6),
    st.floats(0.5, 10),
    st.floats(3, 30),
)


@given(EVERY_TIMES, TURNS)
def test_no_order_of_requests_and_times_breaks_a_rule(times, turns):
    crossing = Crossing(times)
    for seconds, request in turns:
        crossing.advance(seconds, request)
        for _ in range(3):
            crossing.advance(0.7)
    check(crossing.history, times)


@given(st.lists(st.sampled_from(["vehicles", "people"]), min_size=1, max_size=60))
def test_no_side_starves_however_the_requests_alternate(requests):
    crossing = Crossing()
    crossing.run(20, requests[0])
    for request in requests:
        crossing.run(3, request)
    crossing.run(60, requests[-1])
    for green in ("vehicle_green", "people_green"):
        dark_since = crossing.history[0][0] + TIMES.yellow + TIMES.people_clear  # the first clearance
        ends = [since for since, _, _ in crossing.history[1:]] + [crossing.now]
        for (_, lamps, _), after in zip(crossing.history, ends):
            if green in lamps:
                dark_since = after
            assert after - dark_since <= TIMES.green_max + TIMES.yellow + TIMES.people_clear + TIMES.all_red + 4 * 0.125


class FakeHeads:
    """Lamps that keep a history, and fail while `broken`."""

    def __init__(self, clock):
        self.clock, self.history, self.request = clock, [], "all_red"
        self.broken = self.opened = False

    def open(self):
        self.opened = True
        self._fail_if_broken()

    def _fail_if_broken(self):
        if self.broken:
            raise DeviceMissing("board: gone")

    def apply(self, phase, arguments):
        self._fail_if_broken()
        assert self.opened and tuple(lamp for lamp in LAMPS if arguments[lamp]) == tuple(
            sorted(PHASES[phase], key=LAMPS.index)
        )
        if not self.history or self.history[-1][1] != PHASES[phase]:
            self.history.append((self.clock(), PHASES[phase], self.request))

    def close(self):
        self.opened = False


class SteppedDriver(signal.Driver):
    """Its thread ends at once: the test makes the steps."""

    def _run(self):
        pass


class Signal:
    def __init__(self, **more):
        self.now = 50.0
        self.driver = SteppedDriver(options(**more), "crossing")
        self.driver.clock = lambda: self.now
        self.heads = self.driver.heads = FakeHeads(lambda: self.now)
        self.driver.resends = True
        self.driver.open()

    def do(self, verb):
        self.heads.request = self.driver.options.safe if verb == "safe" else verb
        if verb == "safe":
            self.driver.safe()
        else:
            self.driver.apply(verb, {})

    def run(self, seconds):
        for _ in range(round(seconds * 8)):
            self.now += 0.125
            self.driver._advance()

    @property
    def lit(self):
        return set(self.heads.history[-1][1])


def options(**more):
    return signal.Options.model_validate({"url": "log", "people_clear_s": 5, "green_max_s": 30} | more)


@pytest.mark.parametrize("safe", SAFETY)
def test_safe_ends_a_green_in_the_call(safe):
    crossing = Signal(safe=safe)
    crossing.do("vehicles")
    crossing.run(9)
    assert "vehicle_green" in crossing.lit
    crossing.do("safe")
    assert crossing.lit == YELLOW
    crossing.do("safe")
    crossing.run(5)
    assert crossing.lit == (ALL_RED if safe == "all_red" else crossing.lit & {"vehicle_yellow"})
    crossing.do("vehicles")
    crossing.run(9)
    assert "vehicle_green" in crossing.lit
    check(crossing.heads.history, crossing.driver.options.times)


def test_a_lost_board_is_reported_to_the_caller_and_the_plan_restarts_when_it_is_back(caplog):
    crossing = Signal()
    crossing.do("people")
    crossing.run(9)
    assert "people_green" in crossing.lit
    crossing.heads.broken = True
    crossing.run(2)  # sent again each second, so that the loss is detected
    with pytest.raises(DeviceMissing, match="gone"):
        crossing.do("vehicles")
    crossing.heads.broken, crossing.heads.history = False, []
    crossing.run(0.125)
    assert crossing.lit == YELLOW
    crossing.run(30)
    assert "vehicle_green" in crossing.lit  # the last request is in force
    check(crossing.heads.history, crossing.driver.options.times)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "crossing: board: gone; trying again until it is back",
        "crossing: the signal is back after: board: gone",
    ]


ACTION = st.sampled_from(["vehicles", "people", "all_red", "safe", "break", "mend"])
ACTIONS = st.lists(st.tuples(st.integers(0, 40), ACTION), max_size=50)


@given(ACTIONS, st.sampled_from(SAFETY))
def test_no_order_of_commands_and_troubles_breaks_a_rule(actions, safe):
    crossing = Signal(safe=safe)
    histories = []
    for eighths, action in actions:
        crossing.run(eighths / 8)
        if action in ("break", "mend"):
            if action == "break" and not crossing.heads.broken:
                histories.append(crossing.heads.history)
                crossing.heads.history = []  # from here on the lamps are unknown
            crossing.heads.broken = action == "break"
            if action == "break":
                crossing.run(2)
            continue
        if crossing.driver.error:
            with pytest.raises(DeviceMissing):
                crossing.do(action)
        else:
            crossing.do(action)
    for history in [*histories, crossing.heads.history]:
        if history:
            check(history, crossing.driver.options.times)


def test_an_unknown_verb_and_a_closed_driver_are_refused():
    crossing = Signal()
    with pytest.raises(DeviceFault, match="no verb 'green', only vehicles, people, all_red"):
        crossing.do("green")
    crossing.driver.close()
    crossing.driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        crossing.do("people")
    with pytest.raises(DeviceMissing, match="not open"):
        crossing.driver.safe()
    assert crossing.lit == ALL_RED


def test_a_missing_board_leaves_nothing_open():
    crossing = Signal()
    crossing.driver.close()
    crossing.heads.broken = True
    with pytest.raises(DeviceMissing):
        crossing.driver.open()
    assert not crossing.heads.opened and crossing.driver.thread is None


class Board:
    """A relay board of the LCUS type, with the history of its relays, frame by frame."""

    def __init__(self):
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        os.set_blocking(self.far, False)
        self.bytes, self.on, self.history = b"", set(), [frozenset()]

    def read(self):
        try:
            self.bytes += os.read(self.far, 4096)
        except BlockingIOError:
            return self.on
        while len(self.bytes) >= 4:
            (start, relay, on, total), self.bytes = self.bytes[:4], self.bytes[4:]
            assert start == 0xA0 and total == (start + relay + on) & 0xFF
            lamp = LAMPS[relay - 1]
            self.on = self.on | {lamp} if on else self.on - {lamp}
            self.history.append(frozenset(self.on))
        return self.on

    def close(self):
        os.close(self.far)
        os.close(self.near)


def test_relays_follow_the_plan_without_two_greens_at_once():
    board = Board()
    driver = signal.Driver(options(url=os.ttyname(board.near), relays=RELAYS), "crossing")
    real = driver.clock
    driver.clock = lambda: real() * 100.0
    driver.open()
    try:
        for verb, lamps in [
            ("vehicles", {"vehicle_green", "people_red"}),
            ("people", {"people_green", "vehicle_red"}),
        ] * 2:
            driver.apply(verb, {})
            until(lambda lamps=lamps: board.read() == lamps)
        driver.safe()
        until(lambda: board.read() == ALL_RED)
    finally:
        driver.close()
    until(lambda: board.read() == ALL_RED)
    assert len(board.history) > 50
    for lamps in board.history:
        assert not {"vehicle_green", "people_green"} <= lamps and not {"vehicle_yellow", "people_green"} <= lamps
    board.close()


def test_a_board_unplugged_while_the_plan_runs_is_detected():
    board = Board()
    driver = signal.Driver(options(url=os.ttyname(board.near), relays=RELAYS), "crossing")
    driver.open()
    board.close()
    until(lambda: driver.error)
    with pytest.raises(DeviceMissing):
        driver.safe()
    driver.close()


def test_in_json_lines_flashing_is_one_line(tmp_path):
    path = tmp_path / "lamps"
    driver = signal.Driver(options(path=str(path), safe="flash"), "crossing")
    real = driver.clock
    driver.clock = lambda: real() * 100.0
    driver.open()
    driver.safe()
    until(lambda: path.read_text().count("flash"))
    until(lambda: driver.plan.phase == "dark")
    until(lambda: driver.plan.phase == "flash")
    driver.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["verb"] for line in lines] == ["yellow", "clear", "flash", "clear"]
    assert lines[1]["arguments"] == {lamp: lamp in ALL_RED for lamp in LAMPS}


@pytest.mark.parametrize(
    "section, message",
    [
        ({"people_clear_s": None}, "valid number"),
        ({"yellow_s": 2.9}, "greater than or equal to 3"),
        ({"all_red_s": 0}, "greater than or equal to 0.5"),
        ({"green_max_s": 5}, "green_max_s: 5 is less than green_min_s: 7"),
        ({"url": "/dev/ttyUSB0"}, "vehicle_red has none"),
        ({"url": "/dev/ttyUSB0", "relays": RELAYS | {"people_green": 1}}, "two lamps have the same relay"),
        ({"url": "/dev/ttyUSB0", "relays": RELAYS | {"people_yellow": 9}}, "people_yellow"),
        ({"url": "http://x", "relays": RELAYS}, "not a serial port"),
        ({"safe": "dark"}, "all_red"),
    ],
)
def test_impossible_options_are_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        options(**section)


def test_its_driver_is_loaded_by_name():
    from drivers.base import load

    assert load("actuator.signal").Driver is signal.Driver
