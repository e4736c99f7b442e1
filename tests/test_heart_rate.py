"""sensor.heart_rate: packets from the specification by hand, frames over a real pseudo terminal, any bytes."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.base import DeviceFault, DeviceTimeout, SensorStream, open_source
from drivers.sensor._checksum import total
from drivers.sensor._measurement import OFF, ON, UNKNOWN, parse_measurement
from drivers.sensor.heart_rate import CHANNELS, PacketParser
from tests.waiting import until


@pytest.mark.parametrize(
    "packet, rate, contact, rr_ms",
    [
        ("00 48", 72, UNKNOWN, ()),  # flags 0: one byte of rate and nothing else
        ("02 48", 72, UNKNOWN, ()),  # 0b01: contact not supported either
        ("04 48", 72, OFF, ()),  # 0b10: supported, no contact
        ("06 48", 72, ON, ()),  # 0b11
        ("16 3C 00 04", 60, ON, (1000.0,)),  # 0x0400 = 1024 of 1/1024 s
        ("10 4B 20 03 33 03", 75, UNKNOWN, (781.25, 799.8046875)),  # 800 and 819 of 1/1024 s
        ("01 2C 01", 300, UNKNOWN, ()),  # 0x012C, low byte first
        ("08 50 10 27", 80, UNKNOWN, ()),  # 10,000 J, skipped
        ("1F 50 00 10 27 00 03", 80, ON, (750.0,)),  # all of it: wide rate, contact, energy, one interval
        ("E6 48", 72, ON, ()),  # reserved bits are ignored
        ("10 48", 72, UNKNOWN, ()),  # may have intervals, and has none
        ("14 00", 0, OFF, ()),  # taken off
    ],
)
def test_a_packet_is_parsed_as_specified(packet: str, rate: float, contact: float, rr_ms: tuple[float, ...]) -> None:
    assert parse_measurement(bytes.fromhex(packet)) == (rate, contact, rr_ms)


BAD_LENGTH = ["", "00", "01 48", "08 48", "08 48 01", "10 48 00", "10 48 00 04 00", "00 48 00 04", "06 48 01"]


@pytest.mark.parametrize("packet", BAD_LENGTH)
def test_a_packet_whose_length_does_not_match_its_flags_is_refused(packet: str) -> None:
    with pytest.raises(ValueError, match="packet"):
        parse_measurement(bytes.fromhex(packet))


@given(st.binary(max_size=600))
def test_any_bytes_are_a_packet_or_refused(packet: bytes) -> None:
    try:
        rate, contact, rr_ms = parse_measurement(packet)
    except ValueError:
        return
    assert 0 <= rate <= 65_535 and contact in (UNKNOWN, OFF, ON)
    assert all(0 <= interval < 64_000 for interval in rr_ms) and len(rr_ms) <= len(packet) // 2


def hex_line(packet: str, checksum: str = "none") -> bytes:
    body = packet.replace(" ", "").encode()
    digits = {"none": 0, "xor": 2, "nmea": 2}.get(checksum, 4)
    start = b"$" if checksum == "nmea" else b""
    return start + body + (b"*%0*X" % (digits, total(body, checksum)) if digits else b"") + b"\r\n"


def cobs(packet: str, checksum: str = "none") -> bytes:
    body = bytes.fromhex(packet)
    if checksum == "xor":
        body += bytes([total(body, "xor")])
    elif checksum != "none":
        body += total(body, checksum).to_bytes(2, "little" if checksum == "crc16_modbus" else "big")
    return b"".join(bytes([len(block) + 1]) + block for block in body.split(b"\0")) + b"\0"


FORMS = [("newline", checksum) for checksum in ("none", "xor", "nmea", "crc16_ccitt", "crc16_modbus")]
FORMS += [("cobs", checksum) for checksum in ("none", "xor", "crc16_ccitt", "crc16_modbus")]


@pytest.mark.parametrize("framing, checksum", FORMS)
def test_packets_are_read_from_every_framing(framing: Any, checksum: str) -> None:
    frame = hex_line if framing == "newline" else cobs
    parser = PacketParser(framing, checksum)
    stream = frame("06 01", checksum) + frame("16 3C 00 04", checksum) + frame("04 00", checksum)
    # the first may be the end of a longer one
    assert parser.feed(stream) == [[60, ON, 1000.0], [0, OFF, 0.0]]
    assert (parser.bad, parser.sequence) == (0, 1)


def test_the_newest_interval_of_a_packet_is_used() -> None:
    parser = PacketParser("newline", "none")
    assert parser.feed(b"\n10 4B 20 03 33 03\n") == [[75, UNKNOWN, 799.8046875]]


@pytest.mark.parametrize(
    "line", [b"163C0004*00", b"163C00", b"16 3C 00 0", b"60", b"hello", b"\xff\xfe", b"16,3C", b"16" * 200]
)
def test_a_damaged_line_is_a_bad_frame(line: bytes) -> None:
    parser = PacketParser("newline", "xor" if b"*" in line else "none")
    assert parser.feed(b"\n" + line + b"\n") == []
    assert parser.bad == 1


NOISE = st.binary(max_size=200) | st.text("0123456789ABCDEF* \r\n\0\1\2", max_size=200).map(str.encode)


@given(st.sampled_from(FORMS), st.lists(NOISE, max_size=20))
def test_any_stream_is_accepted_and_a_good_frame_after_it_read(form: tuple[Any, str], chunks: list[bytes]) -> None:
    parser = PacketParser(*form)
    for chunk in chunks:
        for row in parser.feed(chunk):
            assert len(row) == len(CHANNELS) and np.isfinite(row).all()
        assert len(parser.pending) <= parser.form.max_frame
    frame = hex_line if form[0] == "newline" else cobs
    parser.feed(b"\n\0\n\0")
    assert parser.feed(b"\n" * (form[0] == "newline") + frame("16 3C 00 04", form[1]))[-1] == [60, ON, 1000.0]


def strap(url: str, **options: Any) -> SensorStream:
    driver = open_source("sensor.heart_rate", {"url": url} | options, "strap")
    assert isinstance(driver, SensorStream)
    driver.open()
    return driver


def test_a_strap_is_read_and_reports_lost_contact(line: tuple[int, str]) -> None:
    far, url = line
    driver = strap(url, checksum="crc16_modbus")
    assert driver.channels == ("heart_rate_bpm", "contact", "rr_ms") and driver.rate_hz == 1.0
    packets = ("06 00", "16 3C 00 04", "16 3D EC 03", "14 3D")  # the first may be cut
    before = time.monotonic_ns()
    os.write(far, b"".join(hex_line(packet, "crc16_modbus") for packet in packets))
    sample = until(lambda: driver.read(0.05))
    assert sample.payload.dtype == np.float32
    assert sample.payload.tolist() == [[60, 1, 1000], [61, 1, np.float32(1004 / 1.024)], [61, 0, 0]]
    assert (sample.sequence, sample.skipped) == (2, 0)
    assert before <= sample.t_capture <= time.monotonic_ns()
    driver.close()
    driver.close()


def test_a_timeout_and_bad_frames_are_different_faults(line: tuple[int, str]) -> None:
    far, url = line
    driver = strap(url, timeout_ms=50, bad_run=3)
    with pytest.raises(DeviceTimeout, match="no good frame"):
        until(lambda: driver.read(0.02))
    os.write(far, b"\n" + b"zz\n" * 5)
    with pytest.raises(DeviceFault, match="bad frames in a row"):
        until(lambda: driver.read(0.02))
    driver.close()


@pytest.mark.parametrize(
    "section, message",
    [
        ({"framing": "cobs", "checksum": "nmea"}, "nmea belongs to"),
        ({"url": "http://strap"}, "not a serial port"),
        ({"channels": ["a"]}, "Extra inputs"),
    ],
)
def test_impossible_options_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        open_source("sensor.heart_rate", {"url": "/dev/ttyACM0"} | section, "strap")
