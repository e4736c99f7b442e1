"""One chip on an SPI bus through /dev/spidevB.C: the part of linux/spi/spidev.h that transfers need."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from ctypes import Structure, addressof, c_uint8, c_uint16, c_uint32, c_uint64, create_string_buffer, sizeof
from fcntl import LOCK_EX, LOCK_NB, flock, ioctl

from drivers.base import DeviceError, DeviceFault, DeviceMissing
from drivers.holder import claim_device, holder

MODE = 0  # clock idle low, sampled on the rising edge


class Transfer(Structure):
    """struct spi_ioc_transfer: the same layout in 32 and 64 bit programs."""

    _fields_ = [
        ("tx_buf", c_uint64),
        ("rx_buf", c_uint64),
        ("len", c_uint32),
        ("speed_hz", c_uint32),
        ("delay_usecs", c_uint16),
        ("bits_per_word", c_uint8),
        ("cs_change", c_uint8),
        ("tx_nbits", c_uint8),
        ("rx_nbits", c_uint8),
        ("word_delay_usecs", c_uint8),
        ("pad", c_uint8),
    ]


def _write_request(number: int, size: int) -> int:
    return 1 << 30 | size << 16 | ord("k") << 8 | number


MESSAGE = _write_request(0, sizeof(Transfer))  # SPI_IOC_MESSAGE(1)
WR_MODE = _write_request(1, 1)
WR_BITS_PER_WORD = _write_request(3, 1)
WR_MAX_SPEED_HZ = _write_request(4, 4)


class SpiDevice:
    """Open until `close`. Locked: several programs may open a spidev at once, and would disturb each other."""

    def __init__(self, path: str, speed_hz: int) -> None:
        """Raises DeviceMissing, DeviceFault."""
        self.path = path
        self.speed_hz = speed_hz
        self.claim = claim_device(path)
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            self.claim.release()
            raise explain(path, error) from error
        try:
            flock(self.fd, LOCK_EX | LOCK_NB)
            ioctl(self.fd, WR_MODE, bytes((MODE,)))
            ioctl(self.fd, WR_BITS_PER_WORD, bytes((8,)))
            ioctl(self.fd, WR_MAX_SPEED_HZ, c_uint32(speed_hz))
        except OSError as error:
            self.close()
            raise explain(path, error) from error

    def transfer(self, sent: bytes, count: int = 0) -> bytes:
        """Sends, then clocks in `count` bytes, all within one chip select. Raises DeviceMissing, DeviceFault."""
        size = len(sent) + count
        out, received = create_string_buffer(sent, size), create_string_buffer(size)
        message = Transfer(addressof(out), addressof(received), size, self.speed_hz, 0, 8)
        try:
            ioctl(self.fd, MESSAGE, message)
        except OSError as error:
            raise explain(self.path, error) from error
        return received.raw[len(sent) :]

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.fd)
        self.claim.release()


def explain(path: str, error: OSError) -> DeviceError:
    """What an error of the kernel means, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return DeviceMissing(f"{path}: no permission; add the service's user to the group spi")
    if error.errno in (errno.EBUSY, errno.EWOULDBLOCK):
        return DeviceMissing(f"{path}: busy, {holder(path)} or another lane has it open")
    # spidev answers ESHUTDOWN once its device is unbound
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ESHUTDOWN):
        return DeviceMissing(f"{path}: is not there: is SPI enabled, with spidev bound to this chip select?")
    if error.errno == errno.ENOTTY:
        return DeviceFault(f"{path}: not a spidev device")
    if error.errno == errno.EMSGSIZE:
        return DeviceFault(f"{path}: the transfer is larger than spidev's bufsiz (4096 by default)")
    return DeviceFault(f"{path}: SPI error: {error.strerror or error}")
