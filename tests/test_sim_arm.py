"""The simulated arm: no reading lost, same seed same run, every fault is visible in the readings."""

import time

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.base import DeviceMissing, DeviceTimeout, SensorStream, open_source
from drivers.faults import Fault
from drivers.sensor._arm import CHANNELS, LABELS, TYPICAL, UNCLEAR, assign_labels, simulate
from drivers.sensor._arm_plan import Setting, nominal


def arm(**options):
    driver = open_source("sensor.sim_arm", {"pace": "fast"} | options, "arm")
    driver.open()
    return driver


def run(driver, count):
    return [driver.read(1.0) for _ in range(count)]


def readings(driver, count):
    return np.vstack([driver.read(1.0).payload.copy() for _ in range(count)])


def fault(kind, **more):
    return [{"kind": kind, "at_s": 0.05, "for_s": 0.2} | more]


def test_is_a_stream_at_1_khz():
    driver = arm()
    assert isinstance(driver, SensorStream)
    assert driver.rate_hz == 1000
    assert driver.channels == CHANNELS
    samples = run(driver, 5)
    assert [sample.sequence for sample in samples] == [0, 1, 2, 3, 4]
    assert np.diff([sample.t_capture for sample in samples]).tolist() == [1_000_000] * 4
    assert all(sample.payload.shape == (1, 12) and sample.payload.dtype == np.float32 for sample in samples)


def test_a_late_reader_gets_every_reading():
    driver = arm(pace="real")
    first = driver.read(1.0)
    driver.due -= 20_000_000  # as if 20 ms had passed
    late = driver.read(1.0)
    assert len(late.payload) >= 20
    assert late.sequence == first.sequence + len(late.payload)
    assert late.skipped == 0
    assert late.t_capture <= time.monotonic_ns()
    following = driver.read(1.0)
    assert following.sequence == late.sequence + len(following.payload)


def test_a_very_late_reader_gets_the_rest_with_the_next_read():
    driver = arm(pace="real", rate_hz=2000)
    driver.due -= 3_000_000_000
    first, second = driver.read(1.0), driver.read(1.0)
    assert len(first.payload) == 2000
    assert second.sequence == first.sequence + len(second.payload)


def test_real_pace_waits_no_longer_than_wait_s():
    driver = arm(pace="real")
    driver.due += 60_000_000_000
    assert driver.read(0.0) is None
    assert driver.read(0.01) is None


def test_opens_and_closes_any_number_of_times():
    driver = arm()
    before = run(driver, 100)[-1]
    driver.close()
    driver.close()
    driver.open()
    first = driver.read(1.0)
    assert first.sequence == 0
    assert first.t_capture > before.t_capture


def test_the_same_seed_gives_the_same_run():
    runs = [readings(arm(seed=seed, faults=fault("slip")), 300) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_driver_and_simulation_share_the_physics():
    samples = readings(arm(faults=fault("collision")), 400)
    simulated = simulate(Setting(), 60.0, [Fault(**section) for section in fault("collision")]).readings[:400]
    difference = np.abs(samples - simulated).max(axis=0)
    assert (difference[:3] < 0.1).all()  # two draws of the noise, no other difference


@pytest.mark.parametrize("kind", TYPICAL)
def test_a_robot_fault_is_visible_and_logged(kind, caplog):
    healthy = readings(arm(), 400)
    faulty = readings(arm(faults=fault(kind)), 400)
    difference = np.abs(faulty - healthy)
    columns, limit = {"collision": (slice(6, 9), 60), "overspeed": (slice(3, 6), 60)}.get(kind, (slice(0, 3), 5))
    assert difference[:50].max() == 0
    assert difference[50:250, columns].max() > limit
    logged = [record.message.split(" at ")[0] for record in caplog.records]
    assert logged == [f"arm: injecting fault '{kind}'", f"arm: injected fault '{kind}' ended"]


def test_the_arm_settles_after_a_fault():
    for kind in TYPICAL:
        readings = simulate(Setting(), 3.0, [Fault(kind=kind, at_s=0.5, for_s=0.3)]).readings
        assert np.abs(readings[2000:, :3]).max() < 1.5


def test_unplug_and_back():
    driver = arm(faults=fault("unplug"))
    run(driver, 50)
    with pytest.raises(DeviceMissing):
        driver.read(1.0)
    driver.close()
    driver.due += 250_000_000
    driver.open()
    assert driver.read(1.0).sequence == 0


def test_unplugged_at_open():
    with pytest.raises(DeviceMissing):
        arm(faults=[{"kind": "unplug", "at_s": 0, "for_s": 1}])


def test_freeze_loses_readings_and_times_out():
    driver = arm(faults=fault("freeze"), timeout_ms=100)
    last = run(driver, 50)[-1]
    assert run(driver, 100) == [None] * 100
    with pytest.raises(DeviceTimeout):
        driver.read(1.0)
    assert run(driver, 99) == [None] * 99
    assert driver.read(1.0).sequence == last.sequence + 201


def test_repeat_gives_the_old_reading_a_new_time():
    driver = arm(faults=fault("repeat"))
    last = run(driver, 50)[-1]
    reading = last.payload.copy()
    repeated = driver.read(1.0)
    assert repeated.sequence == last.sequence
    assert np.array_equal(repeated.payload, reading)
    assert repeated.t_capture > last.t_capture


def test_clock_jump_and_noise():
    driver = arm(faults=fault("clock_jump", amount=50))
    before, after = run(driver, 51)[-2:]
    assert after.t_capture - before.t_capture == 51_000_000
    noisy = readings(arm(faults=fault("noise")), 250)
    assert noisy[50:, 0].std() > 5 * noisy[:50, 0].std()


def test_fault_every_s_injects_one_fault_after_the_other(caplog):
    run(arm(fault_every_s=0.1), 1000)
    started = [record.message.split("'")[1] for record in caplog.records if "injecting" in record.message]
    assert started[:5] == ["deviation", "collision", "slip", "overspeed", "deviation"]


def test_options_are_checked():
    for wrong in ({"payload_kg": -1}, {"faults": fault("fire")}, {"faults": fault("slip"), "fault_every_s": 1}):
        with pytest.raises(ValidationError):
            arm(**wrong)


def test_the_plan_repeats_without_a_jump():
    table = nominal(Setting(), 5.0, 1000.0, 1)
    assert np.abs(table[0, 3:6]).max() < 1
    assert np.abs(np.diff(np.vstack([table, table[:1]])[:, 3:6], axis=0)).max() < 3


def test_labels_name_the_readings_that_must_stop_the_arm():
    errors, contacts, speeds = np.array(
        [[3.0, 0, 0], [5.5, 70, 90], [0, 70, 90], [1, 0, 61], [4.5, 0, 0], [0, 55, 0]]
    ).T
    assert assign_labels(errors, contacts, speeds).tolist() == [0, 1, 2, 3, UNCLEAR, UNCLEAR]


def test_a_run_records_when_it_passed_five_degrees():
    result = simulate(Setting(), 2.0, [Fault(kind="deviation", at_s=1.0, for_s=0.5)])
    assert len(result.crossings) == 1
    tick = result.crossings[0]
    assert abs(np.abs(result.readings[tick, :3]).max() - 5) < 0.2
    assert LABELS[result.labels[tick]] == "deviation"
    assert (result.labels[:1000] == 0).all()
