"""A traffic signal for vehicles and people who cross, over a relay board: commands are wishes, the plan keeps the times."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Literal

from pydantic import Field, model_validator

from agent.data import Arguments
from drivers.actuator import log as lines
from drivers.actuator import serial_relay
from drivers.actuator._signal_plan import FLASHING, LAMPS, PHASES, SIDES, Lamp, Plan, Times
from drivers.actuator.serial_relay import Relay
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing, DriverOptions
from drivers.sensor.serial import checked_url

logger = logging.getLogger(__name__)

LOG = "log"
TICK_S = 0.05  # how late a phase may end
AGAIN_S = 1.0  # the lamps are told again so often: a board that was without power has forgotten them
RETRY_S = 0.2


class Options(DriverOptions):
    """Least times after MUTCD 2009 (4D.26: yellow 3 to 6 s; 4E.06: walk 7 s, or 4, and 1.07 m/s to clear the road)."""

    url: str = Field(min_length=1, description="of a board as in actuator.serial_relay; log: JSON lines and no board")
    path: str = Field("", description="with `url: log`: file to append to; empty: the daemon's log")
    relays: dict[Lamp, Relay] = Field({}, description="the relay of each lamp")
    baud: int = Field(9600, ge=50, le=12_000_000)
    echo: Literal["none", "same"] = Field("none", description="same: the board answers with the bytes that it got")
    timeout_ms: float = Field(100.0, gt=0, le=400, description="for the bytes to leave, and again for the echo")
    green_min_s: float = Field(7.0, ge=4, le=120, description="a green lasts at least so long, but for safety")
    green_max_s: float = Field(
        60.0, ge=0, le=3600, description="then the waiting side gets its turn; 0: it may wait for ever"
    )
    yellow_s: float = Field(3.0, ge=3, le=6)
    all_red_s: float = Field(1.0, ge=0.5, le=10, description="at least, between any two greens")
    people_clear_s: float = Field(ge=3, le=60, description="for people to leave the road: its width / 1.07 m/s")
    safe: Literal["all_red", "flash"] = Field("all_red", description="flash: yellow for vehicles, nothing for people")

    @model_validator(mode="after")
    def _complete(self) -> Options:
        if 0 < self.green_max_s < self.green_min_s:
            raise ValueError(f"green_max_s: {self.green_max_s:g} is less than green_min_s: {self.green_min_s:g}")
        if self.url == LOG:
            return self
        checked_url(self.url)
        missing = [lamp for lamp in LAMPS if lamp not in self.relays]
        if missing:
            raise ValueError(f"relays: {missing[0]} has none")
        if len(set(self.relays.values())) < len(LAMPS):
            raise ValueError("relays: two lamps hang on one relay")
        return self

    @property
    def times(self) -> Times:
        return Times(self.green_min_s, self.green_max_s, self.yellow_s, self.all_red_s, self.people_clear_s)


class Driver(Actuator):
    """Verbs say who shall have green: vehicles, people, or nobody (all_red). `apply` returns when the wish is noted and what
    is due at once is shown; a thread of the driver's own shows the rest in time.

    `safe` ends a green in the call itself, vehicles' by yellow; the plan goes on from there. After trouble with the board the
    plan begins anew with yellow and a whole clearance, for nobody knows what the lamps showed. `close` leaves all red, at
    once: without this process nobody would end a yellow.
    """

    verbs = (*SIDES, "all_red")
    clock = staticmethod(time.monotonic)

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.heads = _heads(options, name)
        self.forgetful = options.url != LOG
        self.plan = Plan(options.times, 0.0)
        self.lock = threading.Lock()  # of all below, and of the heads
        self.thread: threading.Thread | None = None
        self.leaving = threading.Event()
        self.trouble: DeviceError | None = None
        self.told = 0.0  # when the lamps were told last

    def open(self) -> None:
        self.close()
        with self.lock:
            try:
                self._begin("all_red")
            except DeviceError:
                self.heads.close()
                raise
        self.leaving.clear()
        self.thread = threading.Thread(target=self._run, name=f"{self.name} plan", daemon=True)
        self.thread.start()

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.verbs:
            raise DeviceFault(f"{self.options.url}: no verb '{verb}', only {', '.join(self.verbs)}")
        self._wish(verb)

    def safe(self) -> None:
        self._wish(self.options.safe)

    def close(self) -> None:
        thread, self.thread = self.thread, None
        if thread is not None:
            self.leaving.set()
            thread.join()
            with suppress(DeviceError):
                self._show("clear")
        self.heads.close()

    def _wish(self, wish: str) -> None:
        with self.lock:
            if self.thread is None:
                raise DeviceMissing(f"{self.options.url}: not open")
            self.plan.wish = wish
            if self.trouble:
                raise self.trouble
            self._tick()

    def _run(self) -> None:
        while not self.leaving.wait(RETRY_S if self.trouble else TICK_S):
            self._turn()

    def _turn(self) -> None:
        """What is due by time. Trouble is kept for who calls next."""
        with self.lock:
            before = self.trouble
            with suppress(DeviceError):
                if before:
                    self._again()
                else:
                    self._tick()
            if self.trouble and not before:
                logger.error("%s: %s; trying again until it is back", self.name, self.trouble)

    def _tick(self) -> None:
        now = self.clock()
        if self.plan.step(now) or (self.forgetful and now - self.told >= AGAIN_S):
            self._show(self.plan.phase)

    def _show(self, phase: str) -> None:
        lit = PHASES[phase]
        fresh = self.plan.since > self.told  # a phase lasts from when its lamps are lit
        try:
            self.heads.apply(phase, {lamp: lamp in lit for lamp in LAMPS})
        except DeviceError as error:
            self.trouble = error
            raise
        self.told = self.clock()
        if fresh:
            self.plan.since = self.told

    def _begin(self, wish: str) -> None:
        """What the lamps show is not known. Raises DeviceError."""
        self.plan = Plan(self.options.times, self.clock())
        self.plan.wish = wish
        self.trouble = None
        self.heads.open()
        self._show(self.plan.phase)

    def _again(self) -> None:
        self.heads.close()
        trouble = self.trouble
        try:
            self._begin(self.plan.wish)
        except DeviceError as error:
            self.trouble = error
            raise
        logger.warning("%s: the signal is back after: %s", self.name, trouble)


class Lines(lines.Driver):
    """Flashing is one line, not two a second."""

    last = ""

    def apply(self, verb: str, arguments: Arguments) -> None:
        before, self.last = self.last, verb
        if not (before in FLASHING and verb in FLASHING):
            super().apply(verb, arguments)


def _heads(options: Options, name: str) -> Actuator:
    """What the lamps hang on; its verbs are the phases."""
    if options.url == LOG:
        return Lines(lines.Options(path=options.path, safe="clear"), name)
    # A board switches relay after relay: first off, then on, so that no green meets the one before it on the way.
    patterns = {
        phase: {options.relays[lamp]: lamp in lit for lamp in sorted(LAMPS, key=lambda one: one in lit)}
        for phase, lit in PHASES.items()
    }
    return serial_relay.Driver(
        serial_relay.Options(
            url=options.url,
            baud=options.baud,
            echo=options.echo,
            timeout_ms=options.timeout_ms,
            channels=patterns,
            safe="clear",
        ),
        name,
    )
