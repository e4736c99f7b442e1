"""The simulated camera's faults, on its own clock: `pace: fast` advances it by one period per read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from agent.data import Sample
from drivers.base import DeviceMissing, DeviceTimeout
from drivers.camera.sim import Driver, Options
from drivers.faults import Fault, Faults

FPS = 10.0  # one tick is 0.1 s
S = 1_000_000_000


def camera_with(*faults: dict[str, object], **options: object) -> Driver:
    values = {"width": 64, "height": 48, "fps": FPS, "pace": "fast", "faults": faults, **options}
    camera = Driver(Options.model_validate(values), "sim")
    camera.open()
    return camera


def at(kind: str, at_s: float = 0.95, for_s: float = 0.5, amount: float = 0.0) -> dict[str, object]:
    """By default the ticks 10 to 14."""
    return {"kind": kind, "at_s": at_s, "for_s": for_s, "amount": amount}


def ticks(camera: Driver, count: int) -> list[Sample | None]:
    return [camera.read(0.0) for _ in range(count)]


def present(samples: list[Sample | None]) -> Iterator[Sample]:
    for sample in samples:
        assert sample is not None
        yield sample


def test_without_faults_every_tick_is_a_sample() -> None:
    samples = list(present(ticks(camera_with(), 100)))
    assert [sample.sequence for sample in samples] == list(range(100))
    assert {sample.t_capture - before.t_capture for before, sample in zip(samples, samples[1:])} == {S // 10}


def test_the_seed_draws_the_scene_and_it_moves() -> None:
    first, same, other = (list(present(ticks(camera_with(seed=seed), 5))) for seed in (1, 1, 2))
    assert all(np.array_equal(a.payload, b.payload) for a, b in zip(first, same))
    assert not np.array_equal(first[0].payload, other[0].payload)
    assert not np.array_equal(first[0].payload, first[1].payload)


def test_freeze_gives_no_sample_then_a_timeout_then_the_next_number() -> None:
    camera = camera_with(at("freeze", for_s=1.0), timeout_ms=550)
    before = list(present(ticks(camera, 10)))
    assert ticks(camera, 5) == [None] * 5
    for _ in range(5):
        with pytest.raises(DeviceTimeout, match="no picture for"):
            camera.read(0.0)
    after = camera.read(0.0)
    assert after is not None and (after.sequence, after.skipped) == (before[-1].sequence + 1, 0)
    assert after.t_capture - before[-1].t_capture == 11 * S // 10


def test_repeat_delivers_the_same_sample_again() -> None:
    samples = list(present(ticks(camera_with(at("repeat")), 17)))
    assert all(sample is samples[9] for sample in samples[10:15])
    assert [sample.sequence for sample in samples[15:]] == [10, 11]


def test_still_delivers_the_same_picture_in_new_samples_also_after_a_reopen() -> None:
    camera = camera_with(at("still"))
    samples = list(present(ticks(camera, 13)))
    camera.close()
    camera.open()
    samples += present(ticks(camera, 4))
    assert all(np.array_equal(sample.payload, samples[10].payload) for sample in samples[11:15])
    assert not any(np.array_equal(samples[10].payload, sample.payload) for sample in samples[15:])
    assert [sample.sequence for sample in samples] == [*range(13), *range(4)]


def test_clock_jump_moves_the_stamps_only() -> None:
    samples = list(present(ticks(camera_with(at("clock_jump", amount=-2.5)), 17)))
    start = samples[0].t_capture
    offsets = [sample.t_capture - start - sample.sequence * S // 10 for sample in samples]
    assert offsets == [0] * 10 + [-5 * S // 2] * 5 + [0] * 2
    assert [sample.sequence for sample in samples] == list(range(17))


def test_noise_has_the_configured_deviation() -> None:
    clean, noisy = camera_with(), camera_with(at("noise", amount=10.0))
    for index, (a, b) in enumerate(zip(present(ticks(clean, 17)), present(ticks(noisy, 17)))):
        difference = b.payload.astype(int) - a.payload
        assert difference.std() == (pytest.approx(10.0, rel=0.1) if 10 <= index < 15 else 0)


def test_wrong_format_is_another_shape() -> None:
    shapes = [sample.payload.shape for sample in present(ticks(camera_with(at("wrong_format")), 17))]
    assert shapes == [(48, 64, 3)] * 10 + [(24, 32, 3)] * 5 + [(48, 64, 3)] * 2


def test_unplug_refuses_to_open_until_it_ends() -> None:
    camera = camera_with(at("unplug", for_s=1.0))
    last = list(present(ticks(camera, 10)))[-1]
    with pytest.raises(DeviceMissing, match="was unplugged"):
        camera.read(0.0)
    refused = 0
    while True:
        camera.close()
        try:
            camera.open()
            break
        except DeviceMissing:
            refused += 1
    sample = camera.read(0.0)
    assert refused == 9  # every 0.1 s from 1.1 s, at 2.0 s it is back
    assert sample is not None and sample.sequence == 0 and sample.t_capture >= last.t_capture + S


def test_the_schedule_continues_over_a_reopen() -> None:
    camera = camera_with(at("noise"))
    ticks(camera, 8)
    camera.close()
    camera.open()
    again = list(present(ticks(camera, 8)))
    clean = list(present(ticks(camera_with(), 8)))
    noisy = [not np.array_equal(a.payload, b.payload) for a, b in zip(again, clean)]
    assert noisy == [False, False, True, True, True, True, True, False]


def test_real_pace_shows_faults_on_the_wall_clock() -> None:
    camera = camera_with(at("freeze", at_s=0.0, for_s=600.0), pace="real", fps=100.0, timeout_ms=60)
    with pytest.raises(DeviceTimeout):
        for _ in range(1000):
            assert camera.read(0.01) is None


def test_start_and_end_of_faults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ticks(camera_with(at("noise", amount=3.0), at("repeat", at_s=1.15)), 30)
    assert [re.sub(r"at \d", "at N", record.message) for record in caplog.records] == [
        "sim: injecting fault 'noise' at N.000 s, amount 3",
        "sim: injecting fault 'repeat' at N.200 s",
        "sim: injected fault 'noise' ended at N.500 s",
        "sim: injected fault 'repeat' ended at N.700 s",
    ]


def test_overlapping_faults_of_one_kind_last_until_the_later_end() -> None:
    faults = Faults([Fault(kind="a", at_s=1, for_s=4), Fault(kind="a", at_s=2, for_s=1)], "x")
    faults.start(0)
    faults.start(77 * S)
    assert [sorted(faults.active(second * S)) for second in range(7)] == [[], ["a"], ["a"], ["a"], ["a"], [], []]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "explode", "at_s": 1, "for_s": 1},
        {"kind": "freeze", "at_s": -1, "for_s": 1},
        {"kind": "freeze", "at_s": 1, "for_s": 0},
        {"kind": "freeze", "at_s": 1},
    ],
)
def test_an_invalid_schedule_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate({"faults": [fault]})
