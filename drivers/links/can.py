"""A CAN interface for drivers: options, opening, sending and receiving with time limits, and what an error means."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import can
import cantools
from can.interfaces.socketcan import SocketcanBus
from cantools.database.can import Database
from pydantic import BaseModel, Field, model_validator

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout

STANDARD_IDS, EXTENDED_IDS = 1 << 11, 1 << 29
EXTENDED = 1 << 31  # in the id of linux/can.h
HEAD, FRAME, FD_FRAME = struct.Struct("=IB3x"), struct.Struct("=IBB2x8s"), struct.Struct("=IBB2x64s")
FD = 0x04  # CANFD_FDF
Key = tuple[int, bool, bytes]
FOREIGN: Key = (-1, False, b"")
SEND_STEP_S = 0.0005
FULL = "Transmit buffer full"  # the text, without a number, of can.interfaces.socketcan


class BusOptions(BaseModel):
    """The interface. Bit rate and termination belong to the system: `ip link set can0 up type can bitrate 500000`."""

    interface: Literal["socketcan", "virtual", "udp_multicast"] = Field(
        "socketcan", description="socketcan: the kernel's; virtual, udp_multicast: without hardware, for trials"
    )
    channel: str = Field(
        "can0", min_length=1, max_length=64, description="the network interface; udp_multicast: a group such as ff15::1"
    )
    fd: bool = Field(False, description="CAN FD frames; the interface must be set up for them: fd on dbitrate 2000000")

    @model_validator(mode="after")
    def _name(self) -> BusOptions:
        # IFNAMSIZ is 16 with the final zero; and the name becomes a path under /sys
        if self.interface == "socketcan" and (len(self.channel) > 15 or "/" in self.channel):
            raise ValueError(f"channel: '{self.channel}' is not a network interface: at most 15 characters, no '/'")
        return self

    @property
    def where(self) -> str:
        return self.channel if self.interface == "socketcan" else f"{self.interface} {self.channel}"


class Bus:
    """An open interface. Every call has a time limit of its own on the monotonic clock.

    python-can's recv (can/bus.py) computes what is left of its time limit from the wall clock: where that is set back
    by an hour meanwhile, it returns an hour late. So a socket is polled here, and recv only called once it has a frame.
    """

    def __init__(self, options: BusOptions, ids: list[tuple[int, bool]], own: bool, errors: bool) -> None:
        """ids: (id, extended), all that is received. own: also this socket's frames, once they have been sent.

        errors: also error frames. Raises DeviceMissing, DeviceFault.
        """
        self.where = options.where
        arguments: dict[str, Any] = {"fd": options.fd} if options.interface == "socketcan" else {}
        if options.interface != "udp_multicast":
            arguments["receive_own_messages"] = own
        if options.interface == "socketcan":  # the others would filter error frames out, too
            arguments["can_filters"] = [_filter(*frame_id) for frame_id in ids]
            arguments["ignore_rx_error_frames"] = not errors
        try:
            self.bus = can.Bus(interface=options.interface, channel=options.channel, ignore_config=True, **arguments)
        except (OSError, ValueError, ImportError, can.CanError) as error:
            raise explain(self.where, error) from error
        # python-can's calls cost several times as much as the kernel's
        self.socket: socket.socket | None = self.bus.socket if isinstance(self.bus, SocketcanBus) else None
        self.ready = select.poll()
        self.polled = options.interface != "virtual"  # a queue of this process, without a descriptor
        if self.polled:
            self.ready.register(self.bus.fileno(), select.POLLIN)

    def send(self, image: Image, until: float) -> None:
        """Give it to the kernel, until this monotonic time. Raises DeviceMissing, DeviceTimeout, DeviceFault."""
        while True:
            try:
                if self.socket is None:
                    self.bus.send(image.message, timeout=0)
                else:
                    self.socket.send(image.packed, socket.MSG_DONTWAIT)
                return
            except (OSError, ValueError, can.CanError) as error:
                if not _is_full(error) or time.monotonic() >= until:
                    raise explain(self.where, error) from error
            time.sleep(SEND_STEP_S)

    def receive(self, wait_s: float) -> can.Message | None:
        """The next frame; None where there is none in time. Raises DeviceMissing, DeviceFault."""
        if self.polled and not self.ready.poll(max(0.0, wait_s) * 1e3):
            return None
        try:
            return self.bus.recv(0.0 if self.polled else max(0.0, wait_s))
        except (OSError, ValueError, can.CanError) as error:
            raise explain(self.where, error) from error

    def echo(self, wait_s: float) -> Key | None:
        """The next frame of this socket's own that is on the wire; FOREIGN for one of others; None: none in time.

        The kernel marks them MSG_CONFIRM (Documentation/networking/can.rst, RAW socket returned message flags): a frame
        of another program of this box, or of another node with the same id, has no such mark.
        """
        if self.socket is None:
            message = self.receive(wait_s)
            return None if message is None else FOREIGN if message.is_rx else key(message)
        if not self.ready.poll(max(0.0, wait_s) * 1e3):
            return None
        try:
            frame, _, flags, _ = self.socket.recvmsg(FD_FRAME.size, 0, socket.MSG_DONTWAIT)
        except OSError as error:
            raise explain(self.where, error) from error
        return unpack(frame) if flags & socket.MSG_CONFIRM else FOREIGN

    def close(self) -> None:
        """Raises nothing that a closed interface could cause."""
        try:
            self.bus.shutdown()
        except (OSError, can.CanError):
            pass


def key(message: can.Message) -> Key:
    """What a frame is recognised by when it comes back."""
    return message.arbitration_id, message.is_extended_id, bytes(message.data)


def pack(message: can.Message) -> bytes:
    """A struct can_frame, or canfd_frame, of linux/can.h."""
    can_id = message.arbitration_id | (EXTENDED if message.is_extended_id else 0)
    data = bytes(message.data)
    return FD_FRAME.pack(can_id, len(data), FD, data) if message.is_fd else FRAME.pack(can_id, len(data), 0, data)


def unpack(frame: bytes) -> Key:
    """The reverse, of data frames."""
    can_id, length = HEAD.unpack_from(frame)
    return can_id & (EXTENDED_IDS - 1), bool(can_id & EXTENDED), frame[HEAD.size : HEAD.size + length]


class Image:
    """A frame to be sent many times: for python-can, for the kernel, and what it is recognised by."""

    def __init__(self, message: can.Message) -> None:
        self.message = message
        self.packed = pack(message)
        self.key = key(message)


def _filter(can_id: int, extended: bool) -> can.typechecking.CanFilter:
    return {"can_id": can_id, "can_mask": EXTENDED_IDS - 1 if extended else STANDARD_IDS - 1, "extended": extended}


def _code(error: BaseException | None) -> int:
    """The errno of an error or of its cause; 0 where it has none."""
    while error is not None:
        code = getattr(error, "error_code", None) or getattr(error, "errno", None)
        if isinstance(code, int):
            return code
        error = error.__cause__
    return 0


def _is_full(error: Exception) -> bool:
    return FULL in str(error) or _code(error) in (errno.ENOBUFS, errno.EAGAIN)


def explain(where: str, error: Exception) -> DeviceError:
    """What an error of python-can or of the kernel means, and what to do."""
    code = _code(error)
    if code in (errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL):
        return DeviceMissing(f"{where}: no such CAN interface (plugged in?): 'ip -br link' lists those there are")
    if code == errno.ENETDOWN:
        return DeviceMissing(f"{where}: is down: sudo ip link set {where} up type can bitrate 500000 (yours)")
    if code in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        return DeviceMissing(f"{where}: this kernel has no SocketCAN: sudo modprobe can_raw")
    if code in (errno.EACCES, errno.EPERM):
        return DeviceMissing(f"{where}: no permission: {error}")
    if _is_full(error):
        return DeviceTimeout(
            f"{where}: sends nothing, its queue is full: no other node acknowledges (cable, bit rate?)"
        )
    if code == errno.EINVAL or isinstance(error, ValueError):
        return DeviceFault(f"{where}: refused: {error}: is the interface set up for CAN FD, where fd is set?")
    return DeviceMissing(f"{where}: {error}")


def read_database(path: Path) -> Database:
    """A DBC, KCD, SYM or ARXML file. Raises DeviceMissing, DeviceFault."""
    try:
        entry = path.stat()
        return _parsed(path, entry.st_mtime_ns, entry.st_size)
    except OSError as error:
        raise DeviceMissing(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # cantools passes on what its four parsers raise
        raise DeviceFault(f"{path}: not a CAN database: {' '.join(str(error).split())[:200]}") from error


@lru_cache(8)
def _parsed(path: Path, changed: int, size: int) -> Database:
    """Once for each version of a file: a car's takes seconds, and a failed device is opened five times a second."""
    database = cantools.database.load_file(path)
    if not isinstance(database, Database):
        raise ValueError("it describes diagnostics, not frames")
    return database
