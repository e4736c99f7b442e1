"""sensor.wfdb: records written here byte by byte, records of PhysioNet, and invalid files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data import Array
from drivers.base import DeviceError, DeviceFault, DeviceMissing, SensorStream, open_source
from drivers.resample import resample
from drivers.sensor._wfdb import MAX_SIGNALS, checksum, read_header, samples, unpack212
from models.train.data import DataError
from models.train.heart import atr
from tests.shared import DATA, needs_recordings

HEADER = (
    "toy 2 100 4\ntoy.dat 212 200(10)/mV 12 0 -56 43 0 MLII\ntoy.dat 212 1000/uV 12 0 0 -2037 0 V5 lead\n# a comment\n"
)
# -56, 0 | 99, 1 | 0, -2047 | 0, 9: low byte, high halves, low byte, computed by hand
PAIRS = bytes([0xC8, 0x0F, 0x00, 0x63, 0x00, 0x01, 0x00, 0x80, 0x01, 0x00, 0x00, 0x09])


def written(folder: Path, header: str = HEADER, data: bytes = PAIRS, name: str = "toy") -> str:
    (folder / f"{name}.hea").write_text(header)
    (folder / "toy.dat").write_bytes(data)
    return str(folder / name)


def player(path: str, **options: Any) -> SensorStream:
    driver = open_source("sensor.wfdb", {"path": path, "pace": "fast"} | options, "bed")
    assert isinstance(driver, SensorStream)
    driver.open()
    return driver


def rows(driver: SensorStream) -> Array:
    payloads = []
    try:
        while sample := driver.read(0.0):
            payloads.append(sample.payload.copy())
    except EOFError:
        pass
    return np.vstack(payloads)


# -- a record


def test_format_212_as_the_manual_packs_it() -> None:
    assert unpack212(PAIRS).tolist() == [-56, 0, 99, 1, 0, -2047, 0, 9]
    assert unpack212(PAIRS[:5]).tolist() == [-56, 0, 99]  # an odd number of samples ends after two bytes


def test_channels_in_mv_by_gain_baseline_and_unit(tmp_path: Path) -> None:
    driver = player(written(tmp_path))
    assert driver.channels == ("MLII", "V5 lead") and driver.rate_hz == 100
    expected = [[(-56 - 10) / 200, 0], [(99 - 10) / 200, 1e-6], [-10 / 200, -2.047e-3], [-10 / 200, 9e-6]]
    assert np.allclose(rows(driver), expected)


def test_format_16_without_gain_and_name(tmp_path: Path) -> None:
    data = np.array([0, 100, -200, 32_767], "<i2").tobytes()
    driver = player(written(tmp_path, "toy 1 360\ntoy.dat 16\n", data))
    assert driver.channels == ("signal-0",)
    assert np.allclose(rows(driver)[:, 0], [0, 0.5, -1, 32_767 / 200])


def test_a_channel_has_the_name_that_the_model_expects(tmp_path: Path) -> None:
    driver = player(written(tmp_path) + ".hea", signals={"ecg": "V5 lead"})
    assert driver.channels == ("ecg",) and rows(driver).shape == (4, 1)
    with pytest.raises(DeviceFault, match="no signal 'V6'; it has MLII, V5 lead"):
        player(written(tmp_path), signals={"ecg": "V6"})


def test_fast_gives_every_row_with_its_time_and_then_ends(tmp_path: Path) -> None:
    driver = player(written(tmp_path), start_s=0.01)
    played = [driver.read(0.0) for _ in range(3)]
    assert [sample.sequence for sample in played if sample] == [0, 1, 2]
    assert np.diff([sample.t_capture for sample in played if sample]).tolist() == [10_000_000] * 2
    with pytest.raises(EOFError):
        driver.read(0.0)
    driver.close()
    driver.open()
    first = driver.read(0.0)
    assert first and first.sequence == 0


def test_real_pace_waits_and_delivers_every_row_to_a_late_reader(tmp_path: Path) -> None:
    driver = player(written(tmp_path), pace="real", loop=True)
    assert driver.read(0.0) is not None  # the first is due at open
    opened = time.monotonic_ns()
    while time.monotonic_ns() < opened + 25_000_000:
        assert driver.options.pace == "real"
    sample = driver.read(0.0)
    assert sample and len(sample.payload) >= 2 and sample.t_capture <= time.monotonic_ns()


def test_a_loop_continues_one_step_after_the_end(tmp_path: Path) -> None:
    driver = player(written(tmp_path), loop=True)
    played = [sample for _ in range(9) if (sample := driver.read(0.0))]
    assert [sample.sequence for sample in played] == list(range(9))
    assert np.diff([sample.t_capture for sample in played]).tolist() == [10_000_000] * 8


def test_holes_are_refused_or_filled_as_configured(tmp_path: Path) -> None:
    data = np.array([5, -32_768, -32_768, 7], "<i2").tobytes()
    path = written(tmp_path, "toy 1 100 4\ntoy.dat 16 1 16 0 5\n", data)
    with pytest.raises(DeviceFault, match="no sample at 0.010 s: set 'holes: hold'"):
        player(path)
    assert rows(player(path, holes="hold"))[:, 0].tolist() == [5, 5, 5, 7]


# -- another rate


@pytest.mark.parametrize(
    "rate, wanted, beyond_hz", [(360.0, 250.0, 165.0), (250.0, 1000.0, 0.0), (1000.0, 125.0, 80.0)]
)
def test_resampling_keeps_the_common_band_and_nothing_else(rate: float, wanted: float, beyond_hz: float) -> None:
    def wave(t: Array) -> Array:
        return np.asarray(np.sin(2 * np.pi * 17 * t) + 0.5 * np.cos(2 * np.pi * 3 * t))

    t = np.arange(int(8 * rate)) / rate
    resampled = resample((wave(t) + np.sin(2 * np.pi * beyond_hz * t))[:, None].astype(np.float32), rate, wanted)[:, 0]
    assert len(resampled) == int((len(t) - 1) * wanted / rate) + 1
    middle = slice(int(wanted), int(7 * wanted))
    assert np.abs(resampled - wave(np.arange(len(resampled)) / wanted))[middle].max() < 0.02


def test_resampling_keeps_a_constant_and_the_number_of_channels() -> None:
    assert np.allclose(resample(np.full((300, 2), 1.5, np.float32), 360, 250), 1.5)
    assert resample(np.zeros((1, 3), np.float32), 360, 250).shape == (1, 3)


# -- invalid files


@pytest.mark.parametrize(
    "header, complaint",
    [
        ("", ":1: no record line"),
        ("# only a comment\n", "no record line"),
        ("toy/3 1 100\ntoy.dat 16\n", "several segments"),
        ("toy one\n", "not a record line"),
        ("toy 0\n", "0 signals"),
        (f"toy {MAX_SIGNALS + 1} 100\n", "65 signals"),
        ("toy 1 99999\ntoy.dat 16\n", "99999 Hz"),
        ("toy 2 100\ntoy.dat 16\n", "2 signals announced, 1 described"),
        ("toy 1 100\n../../etc/passwd 16\n", ":2: not a signal line"),
        ("toy 1 100\n/etc/passwd 16\n", ":2: not a signal line"),
        ("toy 1 100\n- 80\n", "format '80' is not supported"),
        ("toy 1 100\ntoy.dat 16x4\n", "one sample a frame"),
        ("toy 1 100\ntoy.dat 16:7\n", "no skew"),
        ("toy 1 100\ntoy.dat 16 nan\n", "not a signal line"),
        ("toy 1 100\ntoy.dat 16 1e-40\n", "gain 1e-40 is not plausible"),
        ("toy 1 100\ntoy.dat 16 200 12 x\n", "'x' is not a whole number"),
        ("toy 1 100 999\ntoy.dat 16\n", "cut short: 'signal-0' has 6 of 999 samples"),
        ("toy 1 100 6\ntoy.dat 16 200 16 0 0 1\n", "not 1: the file is damaged"),
        ("toy 1 100\ntoy.dat 16+5000\n", "cut short"),
        ("toy 2 100\ntoy.dat 16\ntoy.dat 212\n", "do not have the same format"),
        ("toy 2 100\ntoy.dat 16 1 16 0 0 0 0 A\ntoy.dat 16 1 16 0 0 0 0 A\n", "several signals 'A'"),
    ],
)
def test_one_message_has_the_error_and_its_place(tmp_path: Path, header: str, complaint: str) -> None:
    with pytest.raises(DeviceFault, match=complaint) as caught:
        player(written(tmp_path, header))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(DeviceMissing, match="nothing.hea: no such file"):
        player(str(tmp_path / "nothing"))
    path = written(tmp_path)
    (tmp_path / "toy.dat").unlink()
    with pytest.raises(DeviceMissing, match="toy.dat: no such file"):
        player(path)
    with pytest.raises(DeviceFault, match="larger than 1 bytes"):
        player(written(tmp_path), max_mb=1e-6)
    with pytest.raises(DeviceFault, match="start_s 9 is after its end at 0.0 s"):
        player(written(tmp_path), start_s=9)


WORDS = st.sampled_from(
    ["toy", "toy.dat", "212", "16", "200(1)/mV", "1", "2", "0", "-5", "100", "1e9", "#", "\n", " ", "x", "é"]
)


@settings(max_examples=300)
@given(st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=200))
def test_any_header_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        record = read_header(text)
    except ValueError as error:
        assert str(error).split(":")[0].isdigit()
        return
    assert 1 <= len(record.signals) <= MAX_SIGNALS and record.rate_hz > 0


@given(st.binary(max_size=300), st.sampled_from([16, 212]), st.integers(1, 5))
def test_any_bytes_are_samples_in_range(data: bytes, kind: int, signals: int) -> None:
    stored = samples(data, kind, signals)
    assert stored.shape[1] == signals and -32_768 <= checksum(stored) <= 32_767
    if kind == 212 and stored.size:
        assert stored.min() >= -2048 and stored.max() <= 2047


@settings(max_examples=50)
@given(st.binary(max_size=400), st.binary(max_size=200))
def test_any_pair_of_files_plays_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, header: bytes, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("record")
    path = written(folder, "", data)
    (folder / "toy.hea").write_bytes(b"toy 1 100\ntoy.dat " + header)
    try:
        driver = player(path)
    except DeviceError:
        return
    assert np.isfinite(rows(driver)).all()


# -- annotations


def word(code: int, value: int) -> bytes:
    return (code << 10 | value).to_bytes(2, "little")


def test_annotations_as_the_manual_writes_them(tmp_path: Path) -> None:
    note = word(63, 3) + b"(N\0\0"  # three bytes of text, padded to four
    far = word(59, 0) + (1).to_bytes(2, "little") + (4).to_bytes(2, "little")  # 65,540 samples on
    data = word(28, 18) + note + word(1, 59) + word(60, 1) + far + word(8, 0) + word(32, 10) + word(33, 7) + b"\0\0"
    (tmp_path / "toy.atr").write_bytes(data)
    annotations = atr.read(tmp_path / "toy.atr")
    assert annotations.beats.tolist() == [77, 77 + 65_540]
    assert annotations.fibrillation.tolist() == [[65_627, 65_634]]


@pytest.mark.parametrize("data", [b"", word(1, 5), word(59, 0), word(32, 5) + b"\0\0", word(63, 900) + b"\0\0"])
def test_damaged_annotations_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "toy.atr").write_bytes(data)
    with pytest.raises(DataError, match="toy.atr"):
        atr.read(tmp_path / "toy.atr")


@given(st.binary(max_size=300))
def test_any_annotations_are_read_or_refused(data: bytes) -> None:
    try:
        marks = atr.parse(data)
    except ValueError:
        return
    assert [at for at, _ in marks] == sorted(at for at, _ in marks)


# -- records of PhysioNet


@needs_recordings
def test_the_records_match_their_headers() -> None:
    hundred = player(str(DATA / "ecg/100"))
    assert (hundred.channels, hundred.rate_hz) == (("MLII", "V5"), 360)
    sample = hundred.read(0.0)
    assert sample and sample.payload.tolist() == [[np.float32((995 - 1024) / 200), np.float32((1011 - 1024) / 200)]]
    cudb = player(str(DATA / "ecg/cu01"), start_s=1.0)
    assert (cudb.channels, cudb.rate_hz) == (("ECG",), 250)
    assert len(rows(cudb)) == 127_232 - 250


@needs_recordings
def test_the_annotations_have_the_numbers_that_physionet_publishes() -> None:
    hundred, cudb = atr.read(DATA / "ecg/100.atr"), atr.read(DATA / "ecg/cu01.atr")
    assert len(hundred.beats) == 2239 + 33 + 1 and not len(hundred.fibrillation)
    assert len(cudb.beats) == 203 and cudb.fibrillation.tolist() == [[53_546, 127_231]]
