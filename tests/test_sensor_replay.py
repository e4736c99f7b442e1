"""sensor.replay and sensor.sim, and the contract of every streaming sensor."""

import os
import threading
import time
import tty
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout, open_source
from drivers.sensor import replay, sim
from tests.waiting import until

DATA = Path(__file__).parents[1] / "../shared/data"


def write_csv(folder, text):
    path = folder / "run.csv"
    path.write_text(text)
    return str(path)


def ramp(folder, rows, step_s=0.002):
    return write_csv(folder, "t_s,a,b\n" + "".join(f"{100 + i * step_s:.3f},{i},{-i}\n" for i in range(rows)))


def player(path, **options):
    return replay.Driver(replay.Options(path=path, **options), "arm")


def simulated(**options):
    return sim.Driver(sim.Options(**{"channels": {"a": {"offset": 1}}, "pace": "fast"} | options), "arm")


@contextmanager
def chattering_line():
    """A pseudo terminal on which a device sends numbered frames."""
    far, near = os.openpty()
    tty.setraw(near)
    stop = threading.Event()

    def chatter():
        number = 0
        while not stop.wait(0.001):
            os.write(far, b"%d,%d,0.5\n" % (number % 256, number))
            number += 1

    sender = threading.Thread(target=chatter)
    sender.start()
    try:
        yield os.ttyname(near)
    finally:
        stop.set()
        sender.join()
        os.close(near)
        os.close(far)


@contextmanager
def rig(name, folder):
    if name == "sensor.serial":
        with chattering_line() as url:
            yield name, {"url": url, "rate_hz": 1000, "channels": ["n", "a", "b"], "sequence": {"channel": "n"}}
    elif name.startswith("sensor.replay"):
        pace = name.rpartition(" ")[2]
        yield "sensor.replay", {"path": ramp(folder, 40), "pace": pace, "loop": True}
    else:
        waves = {"a": {"amplitude": 2}, "b": {"noise": 1}}
        yield "sensor.sim", {"channels": waves, "rate_hz": 1000, "pace": name.rpartition(" ")[2]}


STREAMS = ["sensor.serial", "sensor.replay real", "sensor.replay fast", "sensor.sim real", "sensor.sim fast"]


@pytest.mark.parametrize("name", STREAMS)
def test_contract_of_a_stream(name, tmp_path):
    with rig(name, tmp_path) as (driver_name, options):
        driver = open_source(driver_name, options, "arm")
        driver.close()
        try:
            for _ in range(2):
                driver.open()
                follow(driver, 100)
                driver.close()
                driver.close()
        finally:
            driver.close()


def follow(driver, rows):
    """Every reading from open on is in a payload or in `skipped`; nothing here is lost."""
    assert len(driver.channels) == 2
    assert driver.rate_hz > 0
    before, stamp = -1, 0
    while before < rows:
        sample = until(lambda: driver.read(0.05), f"{rows} readings")
        assert sample.source == "arm"
        assert sample.payload.dtype == np.float32
        assert sample.payload.ndim == 2 and sample.payload.shape[0] >= 1 and sample.payload.shape[1] == 2
        assert sample.sequence - before == len(sample.payload) + sample.skipped
        assert sample.t_capture > stamp
        before, stamp = sample.sequence, sample.t_capture


@pytest.mark.parametrize("name", ["sensor.replay real", "sensor.sim real"])
def test_read_waits_no_longer_than_wait_s(name, tmp_path):
    with rig(name, tmp_path) as (driver_name, options):
        driver = open_source(
            driver_name,
            options | {"rate_hz": 0.001} if "sim" in name else options | {"path": ramp(tmp_path, 3, 1000.0)},
            "arm",
        )
        driver.open()
        assert driver.read(0.0) is not None  # the first is due at open
        start = time.monotonic()
        assert driver.read(0.02) is None  # the next is due long after the timeout of this test
        assert time.monotonic() - start >= 0.02
        assert driver.read(0.0) is None
        driver.close()


def test_replay_fast_gives_every_row_with_its_time(tmp_path):
    driver = player(ramp(tmp_path, 5), pace="fast")
    before = time.monotonic_ns()
    driver.open()
    samples = [driver.read(0) for _ in range(5)]
    assert [sample.payload.tolist() for sample in samples] == [[[i, -i]] for i in range(5)]
    assert [sample.t_capture - samples[0].t_capture for sample in samples] == [i * 2_000_000 for i in range(5)]
    assert before <= samples[0].t_capture <= time.monotonic_ns()
    assert driver.rate_hz == pytest.approx(500)
    with pytest.raises(EOFError):
        driver.read(0)


def test_replay_in_real_time_delivers_every_row_to_a_late_reader(tmp_path):
    driver = player(ramp(tmp_path, 20))
    driver.open()
    first = driver.read(1).t_capture
    last_due = first + 19 * 2_000_000
    while time.monotonic_ns() <= last_due:  # then everything is overdue
        assert driver.next == 1
    sample = driver.read(0)
    assert sample.payload[:, 0].tolist() == list(range(1, 20))
    assert (sample.sequence, sample.t_capture, sample.skipped) == (19, last_due, 0)
    with pytest.raises(EOFError):
        driver.read(0)


def test_replay_loops_one_step_after_the_end(tmp_path):
    driver = player(ramp(tmp_path, 3), pace="fast", loop=True)
    driver.open()
    samples = [driver.read(0) for _ in range(7)]
    assert [sample.payload[0, 0] for sample in samples] == [0, 1, 2, 0, 1, 2, 0]
    assert [sample.sequence for sample in samples] == list(range(7))
    assert np.diff([sample.t_capture for sample in samples]).tolist() == [2_000_000] * 6


def test_replay_without_times_uses_the_rate(tmp_path):
    driver = player(write_csv(tmp_path, "x, y\n1,2\n\n3,4\n"), rate_hz=10, pace="fast", channels=["y"])
    driver.open()
    assert driver.channels == ("y",)
    first, second = driver.read(0), driver.read(0)
    assert (first.payload.tolist(), second.payload.tolist()) == ([[2]], [[4]])
    assert second.t_capture - first.t_capture == 100_000_000


@pytest.mark.parametrize(
    "text, place",
    [
        ("t_s,a\n0,1\n1,x\n", ":3: 'x' is not a finite number"),
        ("t_s,a\n0,1\n1,nan\n", ":3: 'nan'"),
        ("t_s,a\n0,1\n1,\n", ":3: ''"),
        ("t_s,a\n0,1\n1\n", ":3: 1 fields"),
        ("t_s,a\n1,1\n0.5,1\n", ":3: t_s decreases"),
        ("t_s,a\n1700000000000,1\n1800000000000,1\n", ":3: t_s spans"),
        ("t_s,a\n", "no rows"),
        ("", ":1: not a header"),
        ("a,b\n1,2\n", ":1: no column t_s; give rate_hz"),
        ("t_s,a,a\n0,1,2\n", ":1: not a header"),
    ],
)
def test_the_error_of_replay_has_the_line_number(tmp_path, text, place):
    driver = player(write_csv(tmp_path, text))
    with pytest.raises(DeviceFault, match=place):
        driver.open()


def test_replay_fills_empty_cells_and_logs_their_number(tmp_path, caplog):
    path = write_csv(tmp_path, "t_s,a,b,c\n0,1,5,\n1, ,6,\n2,,,\n3,2,7,\n")
    driver = player(path, channels=["a", "b"], holes="hold", pace="fast")
    for _ in range(2):  # a second open counts again from zero
        driver.open()
        assert driver.rows.tolist() == [[1, 5], [1, 6], [1, 6], [2, 7]]
        driver.close()
    assert caplog.messages == [f"{path}: 3 empty cells of 8 repeat the value above"] * 2
    player(ramp(tmp_path, 3), holes="hold").open()
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    "text, place",
    [
        ("t_s,a\n0,\n1,1\n", ":2: an empty cell, and no value above it"),
        ("t_s,a\n0,1\n,2\n", ":3: '' is not"),
        ("t_s,a\n0,1\n1\n", ":3: 1 fields"),
        ("t_s,a\n0,nan\n1,1\n", ":2: an empty cell, and no value above it"),
        ("t_s,a\n0,1\n1,inf\n", ":3: 'inf'"),
    ],
)
def test_replay_fills_nothing_but_empty_cells(tmp_path, text, place):
    with pytest.raises(DeviceFault, match=place):
        player(write_csv(tmp_path, text), holes="hold").open()


def test_replay_refuses_absent_large_and_invalid_files(tmp_path):
    with pytest.raises(DeviceMissing, match="no such file"):
        player(str(tmp_path / "none.csv")).open()
    with pytest.raises(DeviceMissing):
        player("/dev/zero").open()
    with pytest.raises(DeviceFault, match="max_mb"):
        player(ramp(tmp_path, 1000), max_mb=0.001).open()
    (tmp_path / "run.csv").write_bytes(b"t_s,a\n0,\xff\xfe\n")
    with pytest.raises(DeviceFault, match="not a CSV"):
        player(str(tmp_path / "run.csv")).open()
    with pytest.raises(DeviceFault, match="no column 'c'"):
        player(ramp(tmp_path, 3), channels=["c"]).open()


def test_replay_of_a_real_robot(caplog):
    path = DATA / "robot-ur3-cobotops/ur3_cobotops.csv"
    if not path.exists():
        pytest.skip("the recording ur3_cobotops.csv is not beside this checkout")
    speeds = tuple(f"Speed_J{joint}" for joint in range(6))
    driver = player(str(path), channels=("Num", "cycle"), rate_hz=1, pace="fast")
    driver.open()
    assert [driver.read(0).payload[0, 0] for _ in range(7409)] == list(range(1, 7410))
    with pytest.raises(EOFError):
        driver.read(0)
    with pytest.raises(DeviceFault, match=r"csv:\d+: '' is not"):  # the robot's log has empty cells
        player(str(path), channels=speeds, rate_hz=1).open()
    driver = player(str(path), channels=speeds, rate_hz=1, holes="hold")
    driver.open()
    assert len(driver.rows) == 7409
    assert caplog.messages[-1].endswith(f": {6 * 54} empty cells of {6 * 7409} repeat the value above")


def test_sim_computes_its_waves():
    driver = simulated(rate_hz=100, channels={"c": {"offset": 3}, "s": {"amplitude": 2, "hz": 25, "phase_deg": 90}})
    driver.open()
    rows = [driver.read(0).payload[0].tolist() for _ in range(4)]
    assert rows == [pytest.approx([3, value], abs=1e-6) for value in (2, 0, -2, 0)]


def test_sim_gives_the_same_run_for_the_same_seed():
    def run(seed):
        driver = simulated(channels={"n": {"noise": 1}}, seed=seed)
        driver.open()
        return [driver.read(0).payload[0, 0] for _ in range(100)]

    assert run(1) == run(1) != run(2)
    assert 0.7 < np.std(run(1)) < 1.3


def test_a_late_reader_of_sim_gets_a_batch_and_the_number_skipped():
    driver = simulated(pace="real", rate_hz=1000, channels={"s": {"amplitude": 1, "hz": 10}}, max_batch=5)
    driver.open()
    start = driver.due
    while time.monotonic_ns() < start + 20_000_000:
        assert driver.tick == 0
    sample = driver.read(0)
    assert len(sample.payload) == 5
    assert sample.skipped == sample.sequence - 4 >= 15
    assert sample.t_capture == start + sample.sequence * 1_000_000
    expected = np.sin(2 * np.pi * 10 * np.arange(sample.sequence - 4, sample.sequence + 1) / 1000)
    assert sample.payload[:, 0] == pytest.approx(expected, abs=1e-5)


def faulty(kind, amount=0.0, **options):
    """100 readings a second; the fault is active from reading 10 to 19."""
    driver = simulated(faults=[{"kind": kind, "at_s": 0.1, "for_s": 0.1, "amount": amount}], **options)
    driver.open()
    for n in range(10):
        assert driver.read(0).sequence == n
    return driver


def test_sim_unplugged_and_back():
    driver = faulty("unplug")
    with pytest.raises(DeviceMissing):
        driver.read(0)
    with pytest.raises(DeviceMissing):
        driver.open()

    def plugged_in():
        driver.due += driver.period  # as if the runner had waited
        with suppress(DeviceMissing):
            driver.open()
        return not driver.faults.current

    until(plugged_in)
    assert driver.read(0).sequence == 0


def test_sim_frozen_loses_readings_and_times_out():
    driver = faulty("freeze", timeout_ms=55)
    missing = []
    with pytest.raises(DeviceTimeout):
        for _ in range(10):
            missing.append(driver.read(0))
    assert missing == [None] * 5
    samples = [sample for sample in (driver.read(0) for _ in range(5)) if sample]
    assert samples[0].sequence == 20


def test_sim_repeats_a_sequence_number():
    driver = faulty("repeat")
    repeated = [driver.read(0) for _ in range(10)]
    assert {sample.sequence for sample in repeated} == {9}
    assert driver.read(0).sequence == 20


def test_sim_clock_jumps():
    driver = faulty("clock_jump", 250.0)
    start = driver.due
    assert driver.read(0).t_capture == start + 250_000_000
    for _ in range(9):
        driver.read(0)
    assert driver.read(0).t_capture == start + 10 * driver.period


def test_sim_noise_and_wrong_values():
    driver = faulty("noise", 50.0)
    assert np.std([driver.read(0).payload[0, 0] for _ in range(10)]) > 10
    assert driver.read(0).payload[0, 0] == 1
    driver = faulty("nan")
    assert np.isnan(driver.read(0).payload).all()


@pytest.mark.parametrize(
    "options",
    [
        {"rate_hz": 5001},
        {"channels": {}},
        {"channels": {"a": {"offset": float("nan")}}},
        {"faults": [{"kind": "fire"}]},
        {"x": 1},
    ],
)
def test_invalid_options_of_sim_are_refused(options):
    with pytest.raises(ValidationError):
        sim.Options.model_validate({"channels": {"a": {}}} | options)


def test_kind_a_recording_with_decimal_commas_cr_lines_and_holes(tmp_path):
    """18."""
    path = tmp_path / "run.csv"
    path.write_bytes(b"t_s;a;b\r0,0;1,5;1\r0,1;;2\r0,2;nan;3\r")
    driver = player(str(path), separator=";", decimal=",", holes="hold", pace="fast")
    driver.open()
    assert driver.rows.tolist() == [[1.5, 1.0], [1.5, 2.0], [1.5, 3.0]]
    path.write_bytes(b"t_s;a\r0,0;1.000,5\r")
    with pytest.raises(DeviceFault, match=r":2: '1.000,5' is not a finite number"):
        player(str(path), separator=";", decimal=",").open()
    with pytest.raises(ValidationError, match="set separator"):
        replay.Options(path="x.csv", decimal=",")
