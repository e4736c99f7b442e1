"""Microphones: their contract, audio files, dead microphones, time stamps, the simulated microphone."""

from __future__ import annotations

import io
import os
import struct
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.data import Array, Sample
from drivers import base
from drivers.audio import file, sim
from drivers.audio._sounds import KINDS, make, room
from drivers.audio._values import Arrivals, DeadCheck
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, Microphone, open_source
from drivers.resample import resample
from tests.arecord import install
from tests.waiting import until

HZ = 16_000
MS = 1_000_000


def write_wav(path: Path, values: Array, rate: int = HZ, width: int = 2) -> Path:
    """values: [n] or [n, channels], -1..1."""
    full = 1 << (8 * width - 1)
    whole = np.clip(np.rint(values * full), -full, full - 1).astype(np.int64)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1 if values.ndim == 1 else values.shape[1])
        out.setsampwidth(width)
        out.setframerate(rate)
        raw = (whole + 128).astype(np.uint8).tobytes() if width == 1 else b""
        out.writeframes(raw or b"".join(int(value).to_bytes(width, "little", signed=True) for value in whole.ravel()))
    return path


def tone(hz: float, seconds: float, rate: int = HZ) -> Array:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the program, first in PATH."""
    return install(tmp_path, monkeypatch)


def opened(driver: Microphone) -> Microphone:
    driver.open()
    return driver


def simulated(**options: Any) -> sim.Driver:
    return sim.Driver(sim.Options(**{"pace": "fast", **options}), "hall")


def samples(driver: Microphone, count: int) -> list[Sample]:
    """With copies of their payloads, whose memory the driver reuses."""
    received = []
    for _ in range(count):
        sample = until(lambda: driver.read(0.1))
        received.append(sample._replace(payload=sample.payload.copy()))
    return received


# -- the contract

MICROPHONES = ["audio.alsa", "audio.file real", "audio.file fast", "audio.sim real", "audio.sim fast"]


def rig(name: str, folder: Path) -> tuple[str, dict[str, Any]]:
    driver, _, pace = name.partition(" ")
    if driver == "audio.alsa":
        return driver, {"timeout_ms": 5000, "start_ms": 20_000}
    if driver == "audio.sim":
        return driver, {"pace": pace, "sounds": [{"kind": "glass", "at_s": 0.05, "for_s": 0.1}]}
    return driver, {"path": str(write_wav(folder / "a.wav", tone(440, 0.5))), "pace": pace, "loop": True}


def test_every_microphone_is_tested_here() -> None:
    assert {name.partition(" ")[0] for name in MICROPHONES} == {
        name for name in base.names() if name.startswith("audio.")
    }


@pytest.mark.parametrize("name", MICROPHONES)
def test_contract_of_a_microphone(name: str, tmp_path: Path, arecord: Path) -> None:
    driver = open_source(*rig(name, tmp_path), "hall")
    assert isinstance(driver, Microphone)
    driver.close()
    try:
        for _ in range(2):
            driver.open()
            assert driver.rate_hz == HZ
            follow(driver, HZ // 2)
            driver.close()
            driver.close()
    finally:
        driver.close()


def follow(driver: Microphone, values: int) -> None:
    """Every value from open on is in a payload; nothing here is lost."""
    before, stamp = -1, 0
    while before < values:
        sample = until(lambda: driver.read(0.05))
        assert sample.source == "hall" and sample.skipped == 0
        assert sample.payload.dtype == np.float32 and sample.payload.ndim == 1 and len(sample.payload) >= 1
        assert np.abs(sample.payload).max() <= 1
        assert sample.sequence - before == len(sample.payload)
        assert sample.t_capture > stamp
        before, stamp = sample.sequence, sample.t_capture


@pytest.mark.parametrize("name", ["audio.file real", "audio.sim real"])
def test_read_waits_no_longer_than_wait_s(name: str, tmp_path: Path) -> None:
    driver_name, options = rig(name, tmp_path)
    driver = open_source(driver_name, {**options, "block_ms": 1000}, "hall")
    driver.open()
    driver.blocks.start += 3600 * 1000 * MS  # the first block is due long after the timeout of this test
    start = time.monotonic()
    assert driver.read(0.02) is None
    assert time.monotonic() - start >= 0.02
    driver.close()


# -- files


def player(path: Path, **options: Any) -> file.Driver:
    return file.Driver(file.Options(path=path, **{"pace": "fast", **options}), "hall")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_widths_and_channels_of_a_file(tmp_path: Path, width: int, channels: int) -> None:
    loud = np.array([0.75, -1.0, 0.25, 0.0, 0.5])[:channels]
    values = np.outer(np.sin(np.arange(400) / 7), loud)
    path = write_wav(tmp_path / "a.wav", values[:, 0] if channels == 1 else values, width=width)
    loaded = file.load(path, HZ, 10)
    assert loaded.dtype == np.float32 and not loaded.flags.writeable
    assert np.abs(loaded - values.mean(axis=1)).max() <= max(
        1.01 / (1 << (8 * width - 1)), 1e-7
    )  # float32 holds 24 bit


def test_a_file_ends_or_restarts(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.arange(400) / 400)
    once = opened(player(path))
    played = samples(once, 3)  # 160, 160, 80 values
    assert np.abs(np.concatenate([sample.payload for sample in played]) - np.arange(400) / 400).max() < 1e-4
    assert [sample.t_capture - played[0].t_capture for sample in played] == [0, 10 * MS, 15 * MS]
    with pytest.raises(EOFError, match="a.wav"):
        once.read(0.1)
    looped = opened(player(path, loop=True))
    assert [sample.sequence for sample in samples(looped, 4)] == [159, 319, 399, 559]


def test_real_pace_delivers_every_value_to_a_late_reader(tmp_path: Path) -> None:
    driver = player(write_wav(tmp_path / "a.wav", tone(440, 2.0)), pace="real")
    driver.open()
    driver.blocks.start -= 500 * MS  # as if half a second had passed
    sample = until(lambda: driver.read(0.1))
    assert len(sample.payload) >= HZ // 2 and sample.sequence == len(sample.payload) - 1
    assert sample.t_capture <= time.monotonic_ns()


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_at_another_rate_is_the_same_tone(tmp_path: Path, rate: int) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1000, 1.0, rate), rate, 4)
    loaded = file.load(path, HZ, 10)
    expected = tone(1000, 1.0)
    assert len(loaded) == len(expected)
    assert np.abs(loaded - expected)[500:-500].max() < 2e-4  # -68 dB of the tone; it is cut off at both ends


@pytest.mark.parametrize("hz", [8_400, 10_000, 15_000, 21_000])
def test_a_tone_above_half_the_rate_does_not_alias(hz: float) -> None:
    resampled = resample(tone(hz, 0.5, 44_100).astype(np.float32), 44_100, HZ, silence=True)
    assert np.abs(resampled[500:-500]).max() < 0.5 * 10 ** (-70 / 20)


@given(st.integers(1_000, 192_000), st.sampled_from([8_000, 16_000, 44_100, 48_000]), st.integers(1, 600))
@settings(max_examples=20)
@pytest.mark.slow
def test_resampling_keeps_time_and_level(before: int, after: int, count: int) -> None:
    resampled = resample(np.full(count, 0.5, np.float32), before, after, silence=True)
    assert len(resampled) == -(-count * after // before) and np.isfinite(resampled).all()
    # Between two equal values and silence around them the band-limited curve reaches 2 sinc(1/2) = 4 / pi of them.
    assert np.abs(resampled).max() < (0.5 * 4 / np.pi if count == 2 else 0.6)


def test_invalid_files_are_refused(tmp_path: Path) -> None:
    def refused(path: Path, message: str, kind: type[DeviceError] = DeviceFault, **options: Any) -> None:
        with pytest.raises(kind, match=message) as caught:
            player(path, **options).open()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    refused(tmp_path / "none.wav", "no such file", DeviceMissing)
    refused(tmp_path, "no such file", DeviceMissing)
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "no such file", DeviceMissing)
    (tmp_path / "text.wav").write_text("hello " * 100)
    refused(tmp_path / "text.wav", "not a WAV file.*ffmpeg")
    (tmp_path / "empty.wav").write_bytes(b"")
    refused(tmp_path / "empty.wav", "it ends too early")
    good = write_wav(tmp_path / "good.wav", tone(440, 2.0)).read_bytes()
    (tmp_path / "float.wav").write_bytes(good[:20] + b"\x03\x00" + good[22:])
    refused(tmp_path / "float.wav", "unknown format")
    (tmp_path / "slow.wav").write_bytes(good[:24] + struct.pack("<I", 7) + good[28:])
    refused(tmp_path / "slow.wav", "at 7 Hz cannot be played")
    (tmp_path / "silent.wav").write_bytes(write_wav(tmp_path / "x.wav", np.zeros(0)).read_bytes())
    refused(tmp_path / "silent.wav", "no sound in it")
    refused(tmp_path / "good.wav", "2 s is longer than max_s 1", max_s=1)
    (tmp_path / "cut.wav").write_bytes(good[:1001])
    assert len(file.load(tmp_path / "cut.wav", HZ, 10)) == (1001 - 44) // 2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("wav")
    values = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    return folder / "b.wav", write_wav(folder / "a.wav", values, 22_050, 3).read_bytes()


@given(data=st.data())
@settings(max_examples=300)
@pytest.mark.slow
def test_a_damaged_file_is_played_or_refused_with_one_message(small: tuple[Path, bytes], data: st.DataObject) -> None:
    path, good = small
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(raw) - 1, 60)) | st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4) | st.just(b"\xff\xff\xff\xff"))
        raw = raw or bytearray(b"R")
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)) | st.just(len(raw)))])
    check_load(path)


@given(st.binary(max_size=300))
def test_any_bytes_are_played_or_refused_with_one_message(raw: bytes) -> None:
    path = Path(os.environ["STATE_DIRECTORY"]) / "any.wav"
    path.write_bytes(b"RIFF\x00\x01\x00\x00WAVE" + raw)
    check_load(path)


def check_load(path: Path) -> None:
    try:
        values = file.load(path, HZ, 300)
    except DeviceError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    assert values.dtype == np.float32 and np.isfinite(values).all() and 0 < len(values) <= 300 * HZ + 1


# -- a dead microphone


def test_digital_silence_is_dead_and_a_quiet_room_is_not() -> None:
    dead_check = DeadCheck("hall", 1000, 50)
    quiet = np.zeros(1000, np.float32)
    quiet[::40] = 1 / 32768  # one step of the converter now and then
    dead_check.check(quiet)
    dead_check.check(np.zeros(40, np.float32))
    dead_check.check(np.array([0.1], np.float32))
    stuck = np.full(25, -0.5, np.float32)
    dead_check.check(stuck)
    with pytest.raises(DeviceFault, match="hall: nothing but the value -0.5 for 50 ms: muted"):
        dead_check.check(stuck)
    with pytest.raises(DeviceFault):  # it counts as dead until its value changes, also over a reopen
        dead_check.check(stuck[:1])
    dead_check.check(np.array([0.1, -0.5], np.float32))
    dead_check.check(stuck)


def test_dead_ms_0_allows_any_silence() -> None:
    DeadCheck("hall", 1000, 0).check(np.zeros(1_000_000, np.float32))


# -- time stamps


@given(
    st.floats(-200e-6, 200e-6), st.lists(st.tuples(st.integers(1, 800), st.floats(0, 0.4)), min_size=50, max_size=300)
)
def test_stamps_increase_are_not_in_the_future_and_ignore_delays(drift: float, blocks: list[tuple[int, float]]) -> None:
    """drift: of the card's clock. blocks: number of values, and delay of their arrival in s."""
    arrivals, count, last, now = None, 0, 0, 0
    least = 1.0
    for size, late in blocks:
        count += size
        true = 10**12 + int(count / HZ / (1 + drift) * 1e9)
        now = max(now + 1000, true + int(late * 1e9))
        if arrivals is None:
            arrivals = Arrivals(HZ, now, count)
        stamp = arrivals.stamp(now, count)
        assert last < stamp <= now
        least = min(least, (now - true) / 1e9)
        assert stamp <= true + (least + 0.001) * 1e9 + 7e-4 * (true - 10**12)
        last = stamp


def test_stamps_follow_a_slow_card() -> None:
    arrivals = Arrivals(HZ, 0, 0)
    for second in range(1, 7200):  # 200 ppm slow, for two hours: uncorrected that would be 1.4 s
        now = int(second * 1e9 * 1.0002)
        assert abs(arrivals.stamp(now, second * HZ) - now) < MS
        assert abs(arrivals.due(now) - second * HZ) < 16


# -- simulated


def test_the_same_seed_gives_the_same_sound_in_any_block_size() -> None:
    sounds = [{"kind": kind, "at_s": 0.1 + 0.3 * number, "for_s": 0.3} for number, kind in enumerate(KINDS)]
    short_blocks, long_blocks = (opened(simulated(sounds=sounds, every_s=1.5, block_ms=ms)) for ms in (10, 500))
    sound = np.concatenate([sample.payload for sample in samples(short_blocks, 500)])
    same = np.concatenate([sample.payload for sample in samples(long_blocks, 10)])
    assert np.array_equal(sound, same)
    noise, later_noise = room_of(short_blocks, 0, 4800), room_of(short_blocks, 24_000, 4800)
    assert np.allclose(sound[:4800] - sound[24_000:28_800], noise - later_noise, atol=1e-6)
    other = opened(simulated(sounds=sounds, every_s=1.5, seed=1, block_ms=500))
    assert not np.array_equal(same[:8000], samples(other, 1)[0].payload)


def room_of(driver: sim.Driver, first: int, count: int) -> Array:
    return driver.room[np.arange(first, first + count) % len(driver.room)]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("rate", [4_000, 16_000, 48_000])
def test_a_sound_has_the_configured_length_and_level_one(kind: str, rate: int) -> None:
    wave_ = make(kind, rate, 0.5, 3)
    assert wave_.dtype == np.float32 and len(wave_) == rate // 2
    assert np.isfinite(wave_).all() and np.abs(wave_).max() == pytest.approx(1)


def test_a_room_has_its_noise_and_no_seam() -> None:
    noise = room(HZ, 8.0, 0)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert abs(noise[0] - noise[-1]) < 6 * np.abs(np.diff(noise)).std()


@pytest.mark.parametrize(
    "kind, kinds", [("unplug", DeviceMissing), ("freeze", DeviceTimeout), ("silence", DeviceFault)]
)
def test_faults_that_end_a_read(kind: str, kinds: type[DeviceError]) -> None:
    driver = opened(simulated(faults=[{"kind": kind, "at_s": 0.1, "for_s": 5}], timeout_ms=100, dead_ms=100))
    with pytest.raises(kinds, match="hall"):
        samples(driver, 100)


def test_a_freeze_loses_the_values_of_its_time() -> None:
    driver = opened(simulated(faults=[{"kind": "freeze", "at_s": 0.1, "for_s": 0.2}], timeout_ms=1000))
    received = samples(driver, 20)
    gaps = [after.sequence - before.sequence - len(after.payload) for before, after in zip(received, received[1:])]
    assert sum(gaps) == pytest.approx(0.2 * HZ, abs=160) and sum(gap > 0 for gap in gaps) == 1


def test_faults_that_change_a_sample() -> None:
    def received(kind: str, amount: float = 0.0) -> list[Sample]:
        return samples(opened(simulated(faults=[{"kind": kind, "at_s": 0.1, "for_s": 0.1, "amount": amount}])), 20)

    repeated = received("repeat")
    assert len({sample.sequence for sample in repeated[8:18]}) <= 2
    jumped = received("clock_jump", 5000)
    assert max(np.diff([sample.t_capture for sample in jumped])) == 5010 * MS
    noisy = received("noise", 0.2)
    assert noisy[14].payload.std() == pytest.approx(0.2, rel=0.3) and noisy[2].payload.std() < 0.01
    assert not received("silence")[14].payload.any()


def test_sounds_must_end_before_they_repeat() -> None:
    with pytest.raises(ValidationError, match="every_s 1 is before the end of the last sound"):
        sim.Options(sounds=[{"kind": "glass", "at_s": 0.5, "for_s": 1}], every_s=1)  # type: ignore[list-item]


def test_the_wav_writer_of_the_tests() -> None:
    """The writer of the tests agrees with the reader of the standard library."""
    path = write_wav(Path(os.environ["STATE_DIRECTORY"]) / "helper.wav", np.array([0.5, -0.5]), width=3)
    with wave.open(io.BytesIO(path.read_bytes())) as read:
        assert read.readframes(2) == b"\x00\x00\x40\x00\x00\xc0"
