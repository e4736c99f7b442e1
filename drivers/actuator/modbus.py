"""Coils and holding registers of a PLC, drive or I/O block, by Modbus TCP or RTU (`pip install 'reflexd[modbus]'`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.data import Arguments
from drivers.actuator._heartbeat import Heartbeat
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.modbus.link import Link
from drivers.links.modbus.registers import LAST_ADDRESS, MAX_WRITE, ModbusOptions, what
from drivers.links.modbus.wire import SerialLink, connect

SLACK_MS = 50.0  # of this computer, beyond the time limits
LAST_COUNT = 65_535  # of a register

Address = Annotated[int, Field(ge=0, le=LAST_ADDRESS)]
Word = Annotated[int, Field(ge=-32_768, le=65_535)]


class Writes(BaseModel):
    """What a verb writes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    coils: dict[Address, bool] = Field({}, description="coil -> on; addresses count from 0")
    registers: dict[Address, Word] = Field({}, description="holding register -> value, -32768 to 65535")
    first: Literal["coils", "registers"] = Field("coils", description="which are written first")

    @property
    def places(self) -> set[tuple[str, int]]:
        return {("coil", address) for address in self.coils} | {("holding", address) for address in self.registers}


class Beat(BaseModel):
    """A counter that the PLC's own watchdog reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    address: Address = Field(description="holding register that is counted up")
    interval_ms: float = Field(100.0, ge=10, le=60_000, description="time between two counts")


class Options(ModbusOptions):
    """The device, what each verb writes, and how it is verified."""

    verbs: dict[str, Writes] = Field(min_length=1, description="verb -> coils and registers; others do not change")
    safe: str = Field(description="the verb of the safe state; it must name every coil and register")
    heartbeat: Beat | None = Field(None, description="counts while the outputs are known to be as commanded")
    read_back: bool = Field(False, description="read what was written, and compare")
    single_writes: bool = Field(
        True,
        description="off: the device lacks functions 5 and 6; they are preferred because"
        " their answers repeat the value",
    )
    timeout_ms: float = Field(100.0, ge=5, le=5000, description="time limit of a command with all its requests")

    @model_validator(mode="after")
    def _safe(self) -> Options:
        if self.safe not in self.verbs:
            raise ValueError(f"safe: '{self.safe}' is not among the verbs: {', '.join(self.verbs)}")
        named = self.verbs[self.safe].places
        places = {place for writes in self.verbs.values() for place in writes.places}
        if not places:
            raise ValueError("verbs: they write nothing")
        if places - named:
            table, address = min(places - named)
            raise ValueError(f"safe: '{self.safe}' does not name {what(table, address, 1)}")
        if self.heartbeat and ("holding", self.heartbeat.address) in places:
            raise ValueError(f"heartbeat: a verb writes holding register {self.heartbeat.address}, too")
        return self


class Write(NamedTuple):
    """One request: consecutive addresses of a table."""

    table: Literal["coil", "holding"]
    address: int
    values: tuple[int, ...]


class Driver(Actuator):
    """known: the outputs are as the newest command says; the heartbeat counts only then."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.plans = {verb: plan(writes) for verb, writes in options.verbs.items()}
        self.verbs = tuple(self.plans)
        self.timeout_s = options.timeout_ms / 1e3
        # on a serial line twice and a wait in between, `_carry_out`; and a heartbeat may be on its way
        self.deadline_ms = SLACK_MS + options.timeout_ms * ((3 if options.url else 1) + bool(options.heartbeat))
        self.lock = threading.Lock()
        self.link: Link | None = None
        self.heart: Heartbeat | None = None
        self.known = False
        self.late_answers = True  # answers of earlier requests may come, also those of another process
        self.beat_error: DeviceError | None = None
        self.count = 0

    def open(self) -> None:
        self.close()
        self.link = connect(self.options, self.timeout_s)
        self.beat_error = None
        if self.options.heartbeat:
            self.heart = Heartbeat(self._beat, self.options.heartbeat.interval_ms / 1e3)
            self.heart.start()

    @property
    def lost(self) -> DeviceError | None:
        return self.beat_error

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.plans:
            raise DeviceFault(f"{self.options.where}: no verb '{verb}', only {', '.join(self.plans)}")
        if self.beat_error:  # the host then makes all outputs safe; this verb may not name all
            raise self.beat_error
        self._move(verb)

    def safe(self) -> None:
        self._move(self.options.safe)

    def close(self) -> None:
        heart, self.heart = self.heart, None
        if heart is not None:
            heart.end()
        with suppress(DeviceError), self._held() as link:
            self.link, self.known = None, False
            link.close()

    @contextmanager
    def _held(self) -> Iterator[Link]:
        """The link, for this thread alone. Raises DeviceMissing, DeviceTimeout."""
        if not self.lock.acquire(timeout=self.timeout_s + SLACK_MS / 2e3):
            raise DeviceTimeout(f"{self.options.where}: the heartbeat does not return")
        try:
            if self.link is None:
                raise DeviceMissing(f"{self.options.where}: not open")
            yield self.link
        finally:
            self.lock.release()

    def _move(self, verb: str) -> None:
        with self._held() as link:
            self.known = False
            self._carry_out(link, self.plans[verb], verb == self.options.safe)
            self.known = True

    def _carry_out(self, link: Link, writes: list[Write], all_of_them: bool) -> None:
        # On a serial line an answer has no number. After a request without one it is written at once, whatever answers;
        # once the line has been read empty for a time limit, it is written again, and that answer counts.
        if isinstance(link, SerialLink) and self.late_answers:
            with suppress(DeviceFault):
                self._write(link, writes, all_of_them)
            link.discard_until(time.monotonic() + self.timeout_s)
        self.late_answers = True
        self._write(link, writes, all_of_them)
        self.late_answers = False

    def _write(self, link: Link, writes: list[Write], all_of_them: bool) -> None:
        """all_of_them: a write that the device refuses does not keep the others from it."""
        until = time.monotonic() + self.timeout_s
        refusals = []
        for write in writes:
            try:
                link.write(write.table, write.address, write.values, until, self.options.single_writes)
            except DeviceFault as error:
                if not all_of_them or not link.connect():
                    raise
                refusals.append(error)
        if refusals:
            raise refusals[0]
        for write in writes if self.options.read_back else ():
            values = link.read(write.table, write.address, len(write.values), until)
            self._compare(write, values)

    def _compare(self, write: Write, values: list[int]) -> None:
        for address, (sent, read) in enumerate(zip(write.values, values), write.address):
            if sent != read:
                text = what(write.table, address, 1)
                raise DeviceFault(f"{self.options.where}: {text} is {read}, not {sent} as written: who else writes it?")

    def _beat(self) -> None:
        with self.lock:
            if not self.known or self.link is None:
                return
            try:
                self._count_up(self.link, self.options.heartbeat.address)
            except DeviceError as error:
                self.known, self.late_answers = False, True
                self.beat_error = DeviceMissing(f"heartbeat not accepted: {error}")

    def _count_up(self, link: Link, address: int) -> None:
        self.count = self.count % LAST_COUNT + 1  # never 0, which a PLC's memory may have after a restart
        until = time.monotonic() + self.timeout_s
        link.write("holding", address, (self.count,), until, self.options.single_writes)


def plan(writes: Writes) -> list[Write]:
    """The requests of a verb, as few as possible."""
    coils = [Write("coil", address, values) for address, values in runs(writes.coils, MAX_WRITE["coil"])]
    words = {address: value & 0xFFFF for address, value in writes.registers.items()}
    registers = [Write("holding", address, values) for address, values in runs(words, MAX_WRITE["holding"])]
    return coils + registers if writes.first == "coils" else registers + coils


def runs(values: Mapping[int, int], limit: int) -> list[tuple[int, tuple[int, ...]]]:
    """Consecutive addresses, at most so many: (first address, values)."""
    made: list[tuple[int, tuple[int, ...]]] = []
    for address in sorted(values):
        first, run = made[-1] if made else (-2, ())
        if address == first + len(run) and len(run) < limit:
            made[-1] = (first, (*run, int(values[address])))
        else:
            made.append((address, (int(values[address]),)))
    return made
