"""A device on a CAN bus: a verb is one or more frames, sent in every cycle while it is in force."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from agent.data import Arguments
from drivers.actuator._can_frames import Frame, Rolling, encode
from drivers.actuator._can_sender import Sender, Timing
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing, DriverOptions
from drivers.holder import Claim
from drivers.links.can import EXTENDED, Bus, BusOptions, read_database
from drivers.options import OptionalFilePath

SLACK_MS = 50.0  # of this computer, beyond the time limit

Frames = Annotated[list[Frame], Field(min_length=1, max_length=16)]


class Options(BusOptions, DriverOptions):
    """The interface, the DBC and the frames of each verb."""

    dbc: OptionalFilePath = Field(None, description="the file that describes the messages: DBC, KCD, SYM, ARXML")
    verbs: dict[str, Frames] = Field(min_length=1, description="verb -> frames, each with all its signals")
    safe: str = Field(description="the verb of the safe state; it must send every id that another verb sends")
    cycle_ms: float = Field(20.0, ge=0, le=10_000, description="frames in force are sent this often; 0: only once")
    copies: int = Field(
        1,
        ge=1,
        le=16,
        description="of its frames at once at a change: a receiver that checks counters needs two or more",
    )
    confirm: bool = Field(
        True, description="a command succeeds when a node has acknowledged it; false: when the kernel has its frames"
    )
    timeout_ms: float = Field(100.0, ge=1, le=5000, description="time limit for sending, acknowledgement included")
    alive_ms: float = Field(
        300.0, ge=250, le=10_000, description="the host's loop stands still for this long: safe frames only"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.safe not in self.verbs:
            raise ValueError(f"safe: '{self.safe}' is not among the verbs: {', '.join(self.verbs)}")
        if self.confirm and self.interface == "udp_multicast":
            raise ValueError("confirm: udp_multicast has no acknowledgement: confirm: false")
        if self.dbc is None or self.dbc.is_file():  # a file that is not there is reported on its own
            try:
                images = self.images()
            except DeviceError as error:
                raise ValueError(f"dbc: {error}") from error
            self._refuse_unsafe_ids(images)
        return self

    def _refuse_unsafe_ids(self, images: dict[str, list[Rolling]]) -> None:
        unsafe = {frame.key for frames in images.values() for frame in frames} - {f.key for f in images[self.safe]}
        if unsafe:
            raise ValueError(f"safe: '{self.safe}' does not send id {min(unsafe)[0]:#x}, which another verb sends")

    def images(self) -> dict[str, list[Rolling]]:
        """The bytes of every frame. Raises DeviceMissing, DeviceFault for the DBC, ValueError for a frame."""
        database = read_database(self.dbc) if self.dbc else None
        counters: dict[object, int] = {}
        return {
            verb: [Rolling(encode(frame, database, self.fd), counters) for frame in frames]
            for verb, frames in self.verbs.items()
        }

    def input_files(self) -> list[Path]:
        return [self.dbc] if self.dbc else []

    def exclusive_device(self) -> str:
        return f"/sys/class/net/{self.channel}" if self.interface == "socketcan" else ""

    def exclusive_parts(self) -> frozenset[int]:
        try:
            frames = self.images()[self.safe]
        except (DeviceError, ValueError):
            return frozenset()
        return frozenset(can_id | EXTENDED if extended else can_id for can_id, extended in (f.key for f in frames))

    @property
    def part_name(self) -> str:
        return "CAN id"


class Driver(Actuator):
    """Frames that are lost between two commands end in safe frames, until the host has opened the device again."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.verbs = tuple(options.verbs)
        self.deadline_ms = SLACK_MS + options.timeout_ms
        self.sender: Sender | None = None
        self.claim = Claim([], "")
        self.images: dict[str, list[Rolling]] = {}
        with suppress(DeviceError):  # a file that is not there: `open` says so
            self._encode()

    def _encode(self) -> None:
        """Once: it takes too long for a device that is opened in doubt. The counters go on after it is opened again."""
        try:
            self.images = self.images or self.options.images()
        except ValueError as error:
            raise DeviceFault(f"{self.options.dbc}: {error}") from error

    def open(self) -> None:
        self.close()
        self._encode()
        options: Options = self.options
        ids = sorted({frame.key for frames in self.images.values() for frame in frames})
        timing = Timing(
            cycle_s=options.cycle_ms / 1e3,
            timeout_s=options.timeout_ms / 1e3,
            alive_s=options.alive_ms / 1e3,
            copies=options.copies,
            confirm=options.confirm,
        )
        bus = Bus(options, ids, options.confirm, errors=False)
        try:
            self.claim = Claim(self._claimed(ids), f"{options.where}: busy, an id of this actuator is sent by another")
            self.sender = Sender(self.name, bus, self.images, options.safe, timing)
        except RuntimeError as error:  # no room for its thread
            bus.close()
            self.claim.release()
            raise DeviceFault(f"{options.where}: {error}") from error
        except DeviceError:
            bus.close()
            raise

    def _claimed(self, ids: list[tuple[int, bool]]) -> list[str]:
        """The kernel lets every program send every id; a virtual bus is one of this process."""
        if self.options.interface == "virtual":
            return []
        return [f"{self.options.where} {can_id:x} {extended}" for can_id, extended in ids]

    @property
    def lost(self) -> DeviceError | None:
        return self.sender.failure if self.sender else None

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.verbs:
            raise DeviceFault(f"{self.options.where}: no verb '{verb}', only {', '.join(self.verbs)}")
        if self.sender is None:
            raise DeviceMissing(f"{self.options.where}: not open")
        self.sender.command(verb)

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    def close(self) -> None:
        sender, self.sender = self.sender, None
        if sender is not None:
            sender.close()
        self.claim.release()
