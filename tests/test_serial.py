"""sensor.serial over real pseudo terminals, sockets and loop://, and its frame parser against any bytes."""

import os
import socket
import struct
import threading
import time
import tty
from contextlib import suppress

import numpy as np
import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.sensor._checksum import total
from drivers.sensor._frames import FLOAT32_MAX, FrameOptions, FrameParser, cobs_decode
from drivers.sensor.serial import Driver, Options, explain
from tests.waiting import until


def cobs_encode(data):
    out, block = bytearray(), bytearray()
    for byte in data:
        if byte:
            block.append(byte)
        if not byte or len(block) == 254:
            out += bytes([len(block) + 1]) + block
            block.clear()
    return bytes(out + bytes([len(block) + 1]) + block)


def text_frame(values, checksum="none"):
    body = ",".join(f"{value:g}" for value in values).encode()
    if checksum == "none":
        return body + b"\r\n"
    digits = 2 if checksum in ("xor", "nmea") else 4
    start = b"$" if checksum == "nmea" else b""
    return start + body + b"*%0*X\r\n" % (digits, total(body, checksum))


def cobs_frame(layout, values, checksum="none"):
    body = struct.pack(layout, *values)
    if checksum == "xor":
        body += bytes([total(body, "xor")])
    elif checksum != "none":
        body += total(body, checksum).to_bytes(2, "little" if checksum == "crc16_modbus" else "big")
    return cobs_encode(body) + b"\0"


class Line:
    """A pseudo terminal whose near end always has the same name."""

    def __init__(self, folder):
        self.path = str(folder / "sensor")
        self.far = -1

    def plug(self):
        self.far, near = os.openpty()
        tty.setraw(near)
        name = os.ttyname(near)
        os.close(near)
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        os.symlink(name, self.path)

    def unplug(self):
        if self.far >= 0:
            os.close(self.far)
        self.far = -1

    def send(self, data):
        assert os.write(self.far, data) == len(data)


@pytest.fixture
def line(tmp_path):
    line = Line(tmp_path)
    line.plug()
    yield line
    line.unplug()


@pytest.fixture
def opened(open_driver):
    """Makes drivers that are closed at the end."""

    def make(url, **options):
        options = {"rate_hz": 100, "channels": ["a", "b"], "timeout_ms": 60_000} | options
        driver = Driver(Options(url=url, **options), "arm")
        return open_driver(driver)

    return make


def collect(driver, rows):
    """Samples up to this number of readings."""
    samples = []
    while sum(len(sample.payload) for sample in samples) < rows:
        sample = until(lambda: driver.read(0.05), lambda: f"{rows} readings; {samples} were read")
        samples.append(sample._replace(payload=sample.payload.copy()))
    return samples


def values(driver, rows):
    return np.concatenate([sample.payload for sample in collect(driver, rows)]).tolist()


def outcome(driver):
    """The error that reading ends with."""
    with pytest.raises((DeviceFault, DeviceMissing, DeviceTimeout)) as caught:
        until(lambda: driver.read(0.05) and False, "an error")
    return caught.value


@pytest.mark.parametrize("checksum", ["none", "xor", "nmea", "crc16_ccitt", "crc16_modbus"])
def test_text_frames(line, opened, checksum):
    driver = opened(line.path, checksum=checksum, channels=["a", {"name": "b", "scale": 0.5, "offset": -1}])
    line.send(b"cut,1\n" + text_frame([1.5, 20], checksum) + text_frame([-2, 3e4], checksum))
    assert values(driver, 2) == [[1.5, 9], [-2, 14999]]
    assert driver.channels == ("a", "b")
    assert driver.bad_frames == 0


@pytest.mark.parametrize("checksum", ["none", "xor", "crc16_ccitt", "crc16_modbus"])
def test_binary_frames(line, opened, checksum):
    driver = opened(line.path, framing="cobs", layout="<hf", checksum=checksum)
    line.send(b"cut\0" + cobs_frame("<hf", [0, 1.5], checksum) + cobs_frame("<hf", [-300, -0.25], checksum))
    assert values(driver, 2) == [[0, 1.5], [-300, -0.25]]


def test_a_field_is_ignored_and_white_space_separates(line, opened):
    driver = opened(line.path, checksum="nmea", separator=",", channels=["_", "lat", "_", "lon", "_", "_", "_"])
    line.send(b"\n$GPGLL,5300.97914,N,00259.98174,E,125926,A*28\r\n")
    assert values(driver, 1) == [[np.float32(5300.97914), np.float32(259.98174)]]
    parser = FrameParser(FrameOptions(channels=["a", "b"], separator=" "))
    assert parser.feed(b"\n  1 \t 2\n") == [[1, 2]]


def test_published_check_values():
    assert total(b"123456789", "crc16_ccitt") == 0x29B1
    assert total(b"123456789", "crc16_modbus") == 0x4B37


def test_one_sample_contains_every_reading_and_is_stamped_when_read(line, opened):
    driver = opened(line.path)
    before = time.monotonic_ns()
    line.send(b"\n" + b"".join(text_frame([i, -i]) for i in range(50)))
    samples = collect(driver, 50)
    assert np.concatenate([sample.payload for sample in samples])[:, 0].tolist() == list(range(50))
    assert samples[-1].sequence == 49
    assert sum(sample.skipped for sample in samples) == 0
    assert before < samples[-1].t_capture <= time.monotonic_ns()
    assert samples[-1].payload.dtype == np.float32


def test_readings_beyond_a_batch_are_counted_as_skipped(line, opened):
    driver = opened(line.path, max_batch=4)
    line.send(b"\n" + b"".join(text_frame([i, 0]) for i in range(10)))
    (sample,) = collect(driver, 4)
    assert sample.payload[:, 0].tolist() == [6, 7, 8, 9]
    assert (sample.sequence, sample.skipped) == (9, 6)


def test_frames_that_the_device_numbered_and_lost_leave_a_gap(line, opened):
    driver = opened(line.path, channels=["n", "a"], sequence={"channel": "n", "modulus": 8})
    assert driver.channels == ("a",)
    line.send(b"\n" + b"".join(text_frame([n, 0.5]) for n in (5, 6, 7, 0, 3)))
    samples = collect(driver, 5)
    assert samples[-1].sequence == 6  # 5 readings and, after number 0, the lost 1 and 2
    assert sum(sample.skipped for sample in samples) == 0


def test_a_device_that_repeats_a_frame_is_faulty(line, opened):
    driver = opened(line.path, channels=["n", "a"], sequence={"channel": "n"}, bad_run=5)
    line.send(b"\n" + text_frame([7, 1]) * 8)
    assert values(driver, 1) == [[1]]
    assert isinstance(outcome(driver), DeviceFault)
    assert driver.bad_frames == 7


def test_noise_between_frames_costs_no_frame(line, opened):
    driver = opened(line.path, checksum="crc16_ccitt", bad_run=1000)
    noise = np.random.default_rng(1)
    line.send(b"\n")
    for i in range(200):
        line.send(noise.bytes(int(noise.integers(1, 40))) + b"\n" + text_frame([i, 2 * i], "crc16_ccitt"))
        assert values(driver, 1) == [[i, 2 * i]]
    assert driver.bad_frames >= 190


@pytest.mark.parametrize("field", [b"nan", b"inf", b"-1e400", b"1e39", b"1_0", b"", b"x", b"0x1", b"1,2"])
def test_a_field_that_is_not_a_finite_number_makes_a_bad_frame(field):
    parser = FrameParser(FrameOptions(channels=["a", "b"]))
    assert parser.feed(b"\n1," + field + b"\n3,4\n") == [[3, 4]]
    assert (parser.bad, parser.bad_run, parser.sequence) == (1, 0, 0)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_binary_number_that_is_not_finite_makes_a_bad_frame(number):
    parser = FrameParser(FrameOptions(channels=["a"], framing="cobs", layout=">d"))
    assert parser.feed(b"\0" + cobs_frame(">d", [number]) + cobs_frame(">d", [2.5])) == [[2.5]]
    assert parser.bad == 1


@pytest.mark.parametrize("number", ["-1", "8", "1.5", "nan", "1e300"])
def test_an_impossible_frame_number_makes_a_bad_frame(number):
    parser = FrameParser(FrameOptions(channels=["n", "a"], sequence={"channel": "n", "modulus": 8}))
    assert parser.feed(f"\n{number},1\n3,2\n".encode()) == [[2]]
    assert (parser.bad, parser.sequence) == (1, 0)


def test_the_fault_for_a_run_of_bad_frames_shows_the_bytes(line, opened):
    driver = opened(line.path, bad_run=10)
    line.send(b"\n" + b"\xa5\x5a\n" * 11)
    error = outcome(driver)
    assert isinstance(error, DeviceFault)
    assert "11 bad frames" in str(error) and "a5 5a" in str(error)


def test_a_wrong_baud_rate_without_any_delimiter_is_a_fault_too(line, opened):
    driver = opened(line.path, max_frame=16, bad_run=3)
    for _ in range(10):
        line.send(b"\xff" * 50)
        with suppress(DeviceFault):
            driver.read(0)
    assert isinstance(outcome(driver), DeviceFault)
    assert len(driver.parser.pending) <= 16


def test_the_end_of_a_frame_that_was_too_long_is_not_a_frame():
    parser = FrameParser(FrameOptions(channels=["a", "b"], max_frame=16))
    assert parser.feed(b"\n" + b"9" * 17) == []
    assert parser.feed(b"1,2\n3,4\n") == [[3, 4]]
    assert parser.bad == 1


def test_no_frame_is_a_timeout(line, opened):
    driver = opened(line.path, timeout_ms=30)
    start = time.monotonic()
    assert isinstance(outcome(driver), DeviceTimeout)
    assert time.monotonic() - start >= 0.03


def test_a_board_that_restarts_at_open_is_given_time(line, opened):
    driver = opened(line.path, timeout_ms=1, start_ms=60_000)
    assert driver.read(0.02) is None
    line.send(b"\n1,2\n")
    assert values(driver, 1) == [[1, 2]]
    assert isinstance(outcome(driver), DeviceTimeout)


def test_waiting_costs_no_processor_time(line, opened):
    driver = opened(line.path)
    start, used = time.monotonic(), time.thread_time()
    assert driver.read(0.3) is None
    assert time.monotonic() - start >= 0.29
    assert time.thread_time() - used < 0.1


def test_unplug_and_replug_under_the_same_name(line, opened):
    driver = opened(line.path)
    line.send(b"\n1,2\n")
    assert values(driver, 1) == [[1, 2]]
    line.unplug()
    assert isinstance(outcome(driver), DeviceMissing)
    with pytest.raises(DeviceMissing, match="not there"):
        driver.open()
    line.plug()
    driver.open()
    line.send(b"3,4\n5,6\n")  # the first may be cut
    (sample,) = collect(driver, 1)
    assert (sample.sequence, sample.payload.tolist()) == (0, [[5, 6]])


def test_loop(opened):
    driver = opened("loop://")
    driver.port.write(b"\n1,2\n3,4\n")
    assert values(driver, 2) == [[1, 2], [3, 4]]
    assert driver.read(0.01) is None


def test_socket_and_its_end(opened):
    with socket.create_server(("127.0.0.1", 0)) as server:
        driver = opened(f"socket://127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        peer.sendall(b"\n1,2\n")
        assert values(driver, 1) == [[1, 2]]
        peer.sendall(b"3,4\n")
        peer.close()
    assert values(driver, 1) == [[3, 4]]
    assert isinstance(outcome(driver), DeviceMissing)


def test_a_steady_stream_loses_no_frame(line, opened):
    driver = opened(line.path, channels=["n", "a"], sequence={"channel": "n", "modulus": 65536}, max_batch=4096)
    stop, count = threading.Event(), 3000

    def send():
        line.send(b"\n")
        for n in range(count):
            if stop.is_set():
                return
            line.send(b"%d,1\n" % n)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        samples = collect(driver, count)
    finally:
        stop.set()
        sender.join()
    assert samples[-1].sequence == count - 1
    before = -1
    for sample in samples:
        assert sample.sequence - before == len(sample.payload) + sample.skipped
        before = sample.sequence


def test_the_error_of_open_has_its_reason(line, opened, tmp_path):
    opened(line.path)
    with pytest.raises(DeviceMissing, match="busy"):
        opened(line.path)
    with pytest.raises(DeviceMissing, match="plugged in"):
        opened(str(tmp_path / "nothing"))
    with pytest.raises(DeviceFault, match="not a serial port"):
        opened("/dev/null")
    with pytest.raises(DeviceMissing, match="refused"):
        opened("socket://127.0.0.1:1")
    assert "dialout" in str(explain("/dev/ttyACM0", serial.SerialException(13, "could not open")))


def test_close_is_harmless(line, opened):
    Driver(Options(url=line.path, rate_hz=1, channels=["a"])).close()
    driver = opened(line.path)
    driver.close()
    driver.close()
    driver.open()
    line.unplug()
    driver.close()


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"framing": "cobs", "layout": "<2s"}, "layout is"),
        ({"framing": "cobs", "layout": "hh"}, "layout is"),
        ({"framing": "cobs"}, "layout is"),
        ({"framing": "cobs", "layout": "<hhh"}, "3 numbers for 2"),
        ({"framing": "cobs", "layout": "<99d99d"}, "max_frame"),
        ({"framing": "cobs", "layout": "<hh", "checksum": "nmea"}, "newline"),
        ({"layout": "<hh"}, "cobs"),
        ({"channels": ["a", "a"]}, "same name"),
        ({"channels": ["_", "_"]}, "no channel with a reading"),
        ({"sequence": {"channel": "n"}}, "not among"),
        ({"channels": ["n"], "sequence": {"channel": "n"}}, "no channel with a reading"),
        ({"url": "http://x"}, "not a serial port"),
        ({"separator": "*"}, "Input should be"),
    ],
)
def test_invalid_options_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Options.model_validate({"url": "/dev/ttyACM0", "rate_hz": 1, "channels": ["a", "b"]} | options)


CHECKSUMS = ("none", "xor", "crc16_ccitt", "crc16_modbus")
FORMS = [FrameOptions(channels=["a", "_", "b"], checksum=checksum, max_frame=64) for checksum in (*CHECKSUMS, "nmea")]
FORMS += [
    FrameOptions(channels=["a", "_", "b"], checksum=checksum, framing="cobs", layout="<hBf", max_frame=64)
    for checksum in CHECKSUMS
]
GOOD = [1234.0, 5.0, -0.5]
# the bytes that occur in frames, so that the noise resembles them
NOISE = st.binary(max_size=200) | st.text("0123456789.,*-eE_$naif\r\n\0\x01\x04", max_size=200).map(str.encode)
form = st.sampled_from(FORMS)


def good(form):
    return cobs_frame(form.layout, [1234, 5, -0.5], form.checksum) if form.layout else text_frame(GOOD, form.checksum)


def delimiter(form):
    return b"\0" if form.layout else b"\n"


@given(form, st.lists(NOISE, max_size=20))
def test_any_bytes_are_survived(form, chunks):
    parser = FrameParser(form)
    for chunk in chunks:
        for reading in parser.feed(chunk):
            assert len(reading) == 2
            assert all(abs(value) <= FLOAT32_MAX for value in reading)
        assert len(parser.pending) <= form.max_frame


@given(form, NOISE)
def test_a_good_frame_is_found_after_any_garbage(form, garbage):
    parser = FrameParser(form)
    parser.feed(garbage)
    assert parser.feed(delimiter(form) + good(form))[-1] == [1234, -0.5]


@given(form, st.lists(NOISE | st.just(None), max_size=8), st.integers(1, 70))
def test_readings_do_not_depend_on_the_size_of_reads(form, parts, size):
    stream = b"".join(good(form) if part is None else part for part in parts)
    whole, cut = FrameParser(form), FrameParser(form)
    readings = []
    for at in range(0, len(stream), size):
        readings += cut.feed(stream[at : at + size])
    assert whole.feed(stream) == readings
    assert whole.sequence == cut.sequence == len(readings) - 1


@given(st.binary(max_size=1000))
def test_cobs_encoded_and_decoded(data):
    encoded = cobs_encode(data)
    assert b"\0" not in encoded
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("last", [b"", b"\1"])
def test_a_cobs_block_of_254_is_not_followed_by_a_zero(last):
    block = bytes(range(1, 255))
    assert cobs_decode(b"\xff" + block + last) == block
    assert cobs_decode(b"\xff" + block + b"\2\7") == block + b"\7"
    with pytest.raises(ValueError):
        cobs_decode(b"\xff" + block[1:])


@given(st.sampled_from([form for form in FORMS if form.checksum.startswith("crc16")]), st.data())
def test_one_wrong_bit_never_makes_a_wrong_reading(form, data):
    frame = bytearray(good(form))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    parser = FrameParser(form)
    for reading in parser.feed(delimiter(form) + bytes(frame) + delimiter(form)):
        assert reading == [1234, -0.5]


GERMAN = {"separator": ";", "decimal": ","}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\r"])
@pytest.mark.parametrize("cut", [1, 3, 100])
def test_kind_lines_that_end_in_cr_and_numbers_with_a_decimal_comma(end, cut):
    """18: whatever a line ends with, and however the bytes arrive."""
    parser = FrameParser(FrameOptions(channels=["a", "b"], **GERMAN))
    stream = end.join([b"9;9", b"1,5;-0,25", b"2;1e3", b""])
    rows = [row for at in range(0, len(stream), cut) for row in parser.feed(stream[at : at + cut])]
    assert rows == [[1.5, -0.25], [2.0, 1000.0]]
    assert parser.bad == 0


def test_cr_only_lines_arrive_over_a_terminal(line, opened):
    driver = opened(line.path, **GERMAN)
    line.send(b"0;0\r0,5;2\r")
    assert values(driver, 1) == [[0.5, 2.0]]


def test_thousands_are_damage_where_the_decimal_mark_is_a_comma():
    parser = FrameParser(FrameOptions(channels=["a"], **GERMAN))
    assert parser.feed(b"\n1.000,5\n1,5,5\n1.5\n") == []
    assert parser.bad == 3
    with pytest.raises(ValidationError, match="set separator"):
        FrameOptions(channels=["a"], decimal=",")


@pytest.mark.parametrize("hole", [b"", b"nan", b" NaN "])
def test_kind_one_channel_may_have_a_hole(hole):
    """18: for so many frames its last value is repeated and counted; a longer hole is a bad frame."""
    parser = FrameParser(FrameOptions(channels=[{"name": "spo2", "hold_frames": 2, "scale": 2}, "pulse"]))
    broken = hole + b",61\n"
    assert parser.feed(b"\n" + broken) == []  # nothing to repeat yet
    assert parser.feed(b"48,60\n" + broken * 2) == [[96.0, 60.0], [96.0, 61.0], [96.0, 61.0]]
    assert (parser.held, parser.bad) == (2, 1)
    assert parser.feed(broken * 3) == []
    assert parser.feed(b"49,62\n" + broken) == [[98.0, 62.0], [98.0, 61.0]]
    assert parser.feed(b"49," + hole + b"\n") == parser.feed(b"inf,60\n") == []  # not allowed; no hole
    parser.reset()
    assert parser.feed(b"\n" + broken) == []  # never a value from before the device was opened


def test_a_hole_in_a_binary_frame():
    form = FrameOptions(framing="cobs", layout="<ff", channels=[{"name": "a", "hold_frames": 1}, "b"])
    parser = FrameParser(form)
    hole = cobs_frame("<ff", (float("nan"), 2))
    assert parser.feed(b"\0" + cobs_frame("<ff", (1, 1)) + hole * 2) == [[1.0, 1.0], [1.0, 2.0]]


def test_a_channel_that_stays_a_hole_ends_in_a_timeout(line, opened):
    """So its actuators go safe."""
    driver = opened(line.path, channels=[{"name": "a", "hold_frames": 2}, "b"], timeout_ms=100, bad_run=5)
    line.send(b"\n1,1\n" + b"nan,1\n" * 20)
    assert values(driver, 3) == [[1.0, 1.0]] * 3
    assert isinstance(outcome(driver), (DeviceFault, DeviceTimeout))
