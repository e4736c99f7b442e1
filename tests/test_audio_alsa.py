"""The microphone at a sound card: every behaviour of a scripted arecord, and arecord itself where installed."""

from __future__ import annotations

import array
import fcntl
import os
import select
import shutil
import stat
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.data import Array, Sample
from drivers.audio import alsa
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from tests.arecord import LOST, PRIME, install
from tests.test_audio import HZ, MS, opened, samples
from tests.waiting import until


@pytest.fixture
def arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the program, first in PATH."""
    return install(tmp_path, monkeypatch)


def card(device: str = "default", **options: Any) -> alsa.Driver:
    return alsa.Driver(alsa.Options(device=device, **{"timeout_ms": 5000, "start_ms": 20_000, **options}), "hall")


def test_without_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceMissing, match="arecord is not installed: apt-get install alsa-utils"):
        card().open()
    (tmp_path / "arecord").write_bytes(b"\x7fELF not a program")
    (tmp_path / "arecord").chmod(stat.S_IRWXU)
    with pytest.raises(DeviceMissing, match="does not start"):
        card().open()


@pytest.mark.parametrize(
    "device, kind, message",
    [
        ("busy", DeviceMissing, "busy: busy, another program has it open"),
        ("denied", DeviceMissing, "denied: no permission: add the service's user to the group audio"),
        ("absent", DeviceMissing, r"absent: is not there .plugged in\?.*arecord -L"),
        ("stereo", DeviceFault, "stereo: provides no 16 bit sound in one channel.*plughw:"),
        ("strange", DeviceFault, "arecord ended with status 1 .arecord: 'arecord: set_params:1499: something new'"),
        ("silent", DeviceFault, "silent: arecord ended with status"),
        ("hw:fast", DeviceFault, "hw:fast: runs at 48000 Hz, not 16000: 'plughw:'"),
    ],
)
def test_a_card_that_does_not_open(arecord: Path, device: str, kind: type[DeviceError], message: str) -> None:
    driver = card(device)
    with pytest.raises(kind, match=message) as caught:
        driver.open()
        until(lambda: driver.read(0.1) and False)  # a message that comes with the first sound is read with it
    assert "\n" not in str(caught.value)
    driver.close()
    assert driver.child is None


def test_a_card_without_sound_or_message(arecord: Path) -> None:
    with pytest.raises(DeviceTimeout, match="hung: no sound within 300 ms"):
        card("hung", start_ms=300).open()


@pytest.mark.parametrize(
    "device, kind, message",
    [
        ("gone", DeviceMissing, "gone: gone, unplugged.*read error: No such device"),
        ("killed", DeviceMissing, "killed: arecord was killed by SIGKILL"),
        ("stalled", DeviceTimeout, "stalled: no sound for 200 ms"),
    ],
)
def test_a_card_that_fails_while_it_runs(arecord: Path, device: str, kind: type[DeviceError], message: str) -> None:
    driver = opened(card(device, timeout_ms=200))
    count = 0
    with pytest.raises(kind, match=message):
        while True:
            sample = driver.read(0.1)
            count += len(sample.payload) if sample else 0
    assert count >= 3000  # the values before the failure are delivered
    driver.close()


def indices(sample: Sample) -> Array:
    return np.rint(sample.payload * 32768).astype(np.int64)


@pytest.mark.parametrize("device", ["default", "odd"])
def test_values_arrive_complete_and_in_order(arecord: Path, device: str) -> None:
    driver = opened(card(device))
    received = samples(driver, 60)
    driver.close()
    values = np.concatenate([indices(sample) for sample in received])
    assert np.array_equal(values, np.arange(len(values)) % PRIME)
    assert received[-1].sequence == len(values) - 1


@pytest.mark.parametrize("device, least", [("overrun", LOST), ("leaky", 4 * LOST)])
def test_lost_values_are_counted_and_never_joined_over(arecord: Path, device: str, least: int) -> None:
    """leaky: without a message, so that only the clock shows the loss."""
    driver = opened(card(device, buffer_ms=200))
    received = samples(driver, 1)
    while received[-1].sequence < 40_000:
        received += samples(driver, 1)
    driver.close()
    lost = 0
    for before, after in zip(received, received[1:]):
        gap = after.sequence - before.sequence - len(after.payload)
        assert gap >= 0
        lost += gap
        numbers = indices(after) if gap else np.concatenate([indices(before)[-1:], indices(after)])
        assert (np.diff(numbers) % PRIME == 1).all()
    # the clock gives their number; values in the pipe at an overrun count as lost, too
    true = (indices(received[-1])[-1] - received[-1].sequence) % PRIME
    assert lost > least - 0.05 * HZ and min(true, PRIME - true) < 0.05 * HZ


def test_a_late_reader_gets_all_values_in_the_pipe(arecord: Path) -> None:
    driver = opened(card())
    first = samples(driver, 1)[0]
    size = until(lambda: waiting(driver) > HZ // 2 and waiting(driver))
    sample = samples(driver, 1)[0]
    assert len(sample.payload) * 2 >= size and sample.sequence == first.sequence + len(sample.payload)
    values_ms = (sample.sequence - first.sequence) / HZ * 1000
    assert values_ms / 2 * MS < sample.t_capture - first.t_capture and sample.t_capture <= time.monotonic_ns()
    driver.close()


def waiting(driver: alsa.Driver) -> int:
    """Bytes in its pipe."""
    size = array.array("i", [0])
    fcntl.ioctl(driver.stdout, termios.FIONREAD, size)
    return size[0]


def test_a_muted_card_is_a_fault_until_it_has_sound(arecord: Path, tmp_path: Path) -> None:
    driver = opened(card(f"mute:{tmp_path}/on", dead_ms=200))
    with pytest.raises(DeviceFault, match="nothing but the value 0 for 200 ms: muted"):
        samples(driver, 100)
    driver.close()
    driver.open()
    with pytest.raises(DeviceFault):  # at once: its constant value does not count as alive
        until(lambda: driver.read(0.1))
    driver.close()
    (tmp_path / "on").touch()
    assert samples(opened(driver), 1)[0].sequence >= 0
    driver.close()


def test_close_ends_the_child_process(arecord: Path) -> None:
    driver = opened(card())
    child = driver.child
    driver.close()
    assert child and child.returncode is not None


@given(
    st.lists(
        st.binary(max_size=400) | st.sampled_from([b"overrun!!! (at least 1 ms long)\n", b"over", b"run!!!", b"\n"])
    )
)
def test_any_messages_of_arecord_are_counted_and_bounded(messages: list[bytes]) -> None:
    driver, (near, far) = card(), os.pipe2(os.O_NONBLOCK)
    driver.stderr, driver.ready, driver.stderr_tail = near, select.poll(), b""
    try:
        overruns = 0
        for message in messages:
            os.write(far, message)
            overruns += driver._read_stderr()
            assert len(driver.stderr_tail) <= alsa.STDERR_TAIL and "\n" not in driver._last_message()
        assert overruns == b"".join(messages).count(b"overrun!!!")
    except DeviceFault as error:
        assert b"rate is not accurate" in b"".join(messages) and "plughw" in str(error)
    finally:
        os.close(near)
        os.close(far)


@pytest.mark.skipif(not shutil.which("arecord"), reason="arecord is not installed: apt-get install alsa-utils")
def test_the_real_program_with_alsas_own_file_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no sound card and has no pace: values arrive much faster than real time."""
    (np.arange(2 * HZ) % PRIME).astype("<i2").tofile(tmp_path / "sound.raw")
    (tmp_path / ".asoundrc").write_text(
        f'pcm.counted {{ type file slave.pcm null file /dev/null infile "{tmp_path}/sound.raw" format raw }}\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    driver, values = opened(card("counted")), np.zeros(0, np.int64)
    while len(values) < 2 * HZ:
        sample = samples(driver, 1)[0]
        assert sample.sequence == len(values) + len(sample.payload) - 1
        assert sample.t_capture <= time.monotonic_ns()
        values = np.concatenate([values, indices(sample)])
    driver.close()
    assert np.array_equal(values[: 2 * HZ], np.arange(2 * HZ) % PRIME)
    for absent in ("plughw:CARD=Nobody", "nobody"):
        with pytest.raises(DeviceMissing, match=f"{absent}: is not there"):
            card(absent).open()


@pytest.mark.parametrize("device", ["-h", "", "a b", "x" * 300])
def test_invalid_device_names_are_refused(device: str) -> None:
    with pytest.raises(ValidationError, match="device"):
        alsa.Options(device=device)
