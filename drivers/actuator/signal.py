"""A traffic signal for vehicles and pedestrians on a relay board: commands are requests, the plan keeps the times."""

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
from drivers.options import OptionalFilePath
from drivers.sensor.serial import checked_url

logger = logging.getLogger(__name__)

LOG = "log"
TICK_S = 0.05  # how late a phase may end
RESEND_S = 1.0  # interval of sending the lamps again: a board that lost power has lost its state
RETRY_S = 0.2


class Options(DriverOptions):
    """Minima after MUTCD 2009 (4D.26: yellow 3 to 6 s; 4E.06: walk 7 s, or 4, and 1.07 m/s to clear the road)."""

    url: str = Field(
        min_length=1, description="of a board as in actuator.serial_relay; log: JSON lines instead of a board"
    )
    path: OptionalFilePath = Field(None, description="with `url: log`: file to append to; empty: the daemon's log")
    relays: dict[Lamp, Relay] = Field({}, description="the relay of each lamp")
    baud: int = Field(9600, ge=50, le=12_000_000)
    echo: Literal["none", "same"] = Field("none", description="same: the board answers with the received bytes")
    timeout_ms: float = Field(100.0, gt=0, le=400, description="time limit for sending, and again for the echo")
    green_min_s: float = Field(7.0, ge=4, le=120, description="minimum green, except for the safe state")
    green_max_s: float = Field(
        60.0, ge=0, le=3600, description="then the waiting side gets green; 0: it may wait without limit"
    )
    yellow_s: float = Field(3.0, ge=3, le=6)
    all_red_s: float = Field(1.0, ge=0.5, le=10, description="minimum, between any two greens")
    people_clear_s: float = Field(ge=3, le=60, description="for people to leave the road: its width / 1.07 m/s")
    safe: Literal["all_red", "flash"] = Field("all_red", description="flash: yellow for vehicles, no lamp for people")

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
            raise ValueError("relays: two lamps have the same relay")
        return self

    @property
    def times(self) -> Times:
        """The times of the plan."""
        return Times(self.green_min_s, self.green_max_s, self.yellow_s, self.all_red_s, self.people_clear_s)

    def exclusive_device(self) -> str:
        return "" if self.url == LOG else self.url

    def exclusive_parts(self) -> frozenset[int]:
        return frozenset(self.relays.values())


class Driver(Actuator):
    """The verb is the side that should have green: vehicles, people, or none (all_red).

    `apply` returns when the request is stored and a phase that is due at once is shown; a thread shows the later ones.
    `safe` ends a green in the call itself, that of vehicles by yellow; the plan continues from there. After an error of
    the board the plan restarts with yellow and a whole clearance, because the state of the lamps is unknown. `close`
    leaves all red, at once: without this process a yellow would never end.
    """

    verbs = (*SIDES, "all_red")
    clock = staticmethod(time.monotonic)

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.heads = _heads(options, name)
        self.deadline_ms = 2 * self.heads.deadline_ms  # the plan's thread may be sending
        self.resends = options.url != LOG  # a board may lose its state
        self.plan = Plan(options.times, 0.0)
        self.lock = threading.Lock()  # for all below, and for the heads
        self.thread: threading.Thread | None = None
        self.stopping = threading.Event()
        self.error: DeviceError | None = None
        self.t_sent = 0.0  # when the lamps were last sent

    def open(self) -> None:
        self.close()
        with self.lock:
            try:
                self._restart("all_red")
            except DeviceError:
                self.heads.close()
                raise
        self.stopping.clear()
        self.thread = threading.Thread(target=self._run, name=f"{self.name} plan", daemon=True)
        self.thread.start()

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.verbs:
            raise DeviceFault(f"{self.options.url}: no verb '{verb}', only {', '.join(self.verbs)}")
        self._request(verb)

    def safe(self) -> None:
        self._request(self.options.safe)

    def close(self) -> None:
        thread, self.thread = self.thread, None
        if thread is not None:
            self.stopping.set()
            thread.join()
            with suppress(DeviceError):
                self._show("clear")
        self.heads.close()

    def _request(self, request: str) -> None:
        with self.lock:
            if self.thread is None:
                raise DeviceMissing(f"{self.options.url}: not open")
            self.plan.request = request
            if self.error:
                raise self.error
            self._tick()

    def _run(self) -> None:
        while not self.stopping.wait(RETRY_S if self.error else TICK_S):
            self._advance()

    def _advance(self) -> None:
        """Shows the phases that are due. An error is kept for the next call of `apply` or `safe`."""
        with self.lock:
            before = self.error
            with suppress(DeviceError):
                if before:
                    self._reopen()
                else:
                    self._tick()
            if self.error and not before:
                logger.error("%s: %s; trying again until it is back", self.name, self.error)

    def _tick(self) -> None:
        now = self.clock()
        if self.plan.step(now) or (self.resends and now - self.t_sent >= RESEND_S):
            self._show(self.plan.phase)

    def _show(self, phase: str) -> None:
        lit = PHASES[phase]
        new = self.plan.since > self.t_sent  # a phase lasts from when its lamps are lit
        try:
            self.heads.apply(phase, {lamp: lamp in lit for lamp in LAMPS})
        except DeviceError as error:
            self.error = error
            raise
        self.t_sent = self.clock()
        if new:
            self.plan.since = self.t_sent

    def _restart(self, request: str) -> None:
        """Restarts the plan, as the state of the lamps is not known. Raises DeviceError."""
        self.plan = Plan(self.options.times, self.clock())
        self.plan.request = request
        self.error = None
        self.heads.open()
        self._show(self.plan.phase)

    def _reopen(self) -> None:
        self.heads.close()
        before = self.error
        try:
            self._restart(self.plan.request)
        except DeviceError as error:
            self.error = error
            raise
        logger.warning("%s: the signal is back after: %s", self.name, before)


class Lines(lines.Driver):
    """Writes phases as JSON lines; flashing is one line, not two a second."""

    last = ""

    def apply(self, verb: str, arguments: Arguments) -> None:
        before, self.last = self.last, verb
        if not (before in FLASHING and verb in FLASHING):
            super().apply(verb, arguments)


def _heads(options: Options, name: str) -> Actuator:
    """The actuator that switches the lamps; its verbs are the phases."""
    if options.url == LOG:
        return Lines(lines.Options(path=options.path, safe="clear"), name)
    # A board switches relay after relay: first off, then on, so that two greens are never lit in between.
    patterns = {
        phase: {options.relays[lamp]: lamp in lit for lamp in sorted(LAMPS, key=lambda lamp: lamp in lit)}
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
