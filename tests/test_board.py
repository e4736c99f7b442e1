"""The board drivers: a simulated sysfs tree, this machine, and a jtop that follows its documentation."""

import math
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from drivers.base import DeviceFault, DeviceMissing, open_source
from drivers.board import jetson, linux, sim
from drivers.faults import Faults
from tests.waiting import until

STAT = "cpu  {} 0 {} {} 0 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n"


@pytest.fixture
def tree(tmp_path):
    def write(**files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return lambda files: write(**files) or str(tmp_path)


def board(root):
    driver = linux.Driver(linux.Options(root=root))
    driver.open()
    return driver


ORIN = {
    "proc/stat": STAT.format(100, 100, 800),
    "proc/meminfo": "MemTotal:  8000000 kB\nMemFree: 1 kB\nMemAvailable:    2097152 kB\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "45500\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "broken\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1000000\n",
    "sys/class/devfreq/17000000.gpu/device/load": "333\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr1_input": "2000\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr2_input": "600\n",
}


def test_a_jetson_by_its_files(tree):
    driver = board(tree(ORIN))
    tree({"proc/stat": STAT.format(150, 125, 825)})
    assert driver.read() == pytest.approx(
        {
            "temperature_c": 45.5,
            "temperature_cpu_thermal_c": 45.5,
            "load_percent": 75.0,
            "memory_available_mb": 2048.0,
            "cpu_mhz": 1250.0,
            "gpu_load_percent": 33.3,
            "power_w": 10.0,
            "power_vdd_in_w": 10.0,
            "power_vdd_cpu_gpu_cv_w": 3.0,
        }
    )


def test_a_raspberry_pi_and_an_intel_by_their_files(tree):
    root = tree(
        {
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
            "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "3\n",
            "proc/cpuinfo": "processor : 0\ncpu MHz\t\t: 2000.5\nprocessor : 1\ncpu MHz\t\t: 1000.5\n",
            "sys/class/hwmon/hwmon0/name": "coretemp\n",
            "sys/class/hwmon/hwmon0/temp1_label": "Package id 0\n",
            "sys/class/hwmon/hwmon0/temp1_input": "61000\n",
            "sys/class/hwmon/hwmon0/temp2_input": "60000\n",
            "sys/class/hwmon/hwmon1/name": "ina226\n",
            "sys/class/hwmon/hwmon1/power1_input": "7500000\n",
            "sys/class/hwmon/hwmon1/in1_input": "5000\n",
            "sys/class/hwmon/hwmon1/curr1_input": "1500\n",
        }
    )
    driver = board(root)
    assert driver.read() == pytest.approx(
        {
            "temperature_c": 61,
            "temperature_coretemp_package_id_0_c": 61,
            "temperature_coretemp_c": 60,
            "cpu_mhz": 1500.5,
            "throttle_count": 5,
            "throttled": 0,
            "power_w": 7.5,
            "power_ina226_w": 7.5,
        }
    )
    tree({"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"})
    assert driver.read()["throttled"] == 1


def test_a_value_that_disappears_is_nan_and_the_others_remain(tree, tmp_path):
    driver = board(tree(ORIN))
    keys = list(driver.read())
    (tmp_path / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    (tmp_path / "proc/meminfo").write_text("")
    tree({"sys/class/thermal/thermal_zone1/temp": "70000"})
    values = driver.read()
    assert list(values) == keys
    assert math.isnan(values["power_vdd_in_w"]) and math.isnan(values["memory_available_mb"])
    assert values["temperature_c"] == 70  # a sensor that was off at open counts when it is on


def test_an_empty_tree_is_a_missing_board(tmp_path):
    with pytest.raises(DeviceMissing):
        board(str(tmp_path))


def test_this_machine():
    source = open_source("board.linux", {"rate_hz": 10}, "board")
    source.open()
    sample = source.read(1)
    values = dict(zip(source.channels, sample.payload[0].tolist()))
    assert 0 <= values["load_percent"] <= 100
    assert values["memory_available_mb"] > 1
    source.close()


def test_load_includes_the_load_of_this_process():
    driver = board("/")
    driver.read()

    def loaded():
        before = time.thread_time()
        while time.thread_time() < before + 0.05:
            pass
        return driver.read()["load_percent"] > 5

    until(loaded, "a load above zero while this test keeps a core busy")


class FakeJtop:
    """jetson-stats 4 and later: a thread per object, started once; power in mW, memory in kB, -256 when offline."""

    missing = False
    made: list = []

    def __init__(self, interval=1.0):
        self.interval, self.started, self.closed, self.error = interval, 0, False, None
        self.temperature = {
            "CPU": {"online": True, "temp": 48.5},
            "GPU": {"online": False, "temp": -256},
            "CV0": {"online": True, "temp": -256},
            "tj": {"online": True, "temp": 51.0},
        }
        self.cpu = {"total": {"user": 10.0, "nice": 0.0, "system": 5.0, "idle": 85.0}, "cpu": []}
        self.gpu = {"ga10b": {"status": {"load": 12.5}}}
        self.memory = {"RAM": {"tot": 8_000_000, "used": 2_000_000, "free": 1_000_000}}
        self.power = {
            "rail": {"VDD_CPU_GPU_CV": {"power": 1500, "avg": 1400}},
            "tot": {"name": "VDD_IN", "power": 6250},
        }
        FakeJtop.made.append(self)

    def start(self):
        assert not self.started, "threads can only be started once"
        if self.missing:
            raise JtopException("The jtop.service is not active. Please run:\nsudo systemctl restart jtop.service")
        self.started = True

    def ok(self, spin=False):
        assert spin, "without spin it blocks"
        if self.error:
            raise self.error
        return self.started and not self.closed

    def close(self):
        self.closed = True


class JtopException(Exception):
    pass


@pytest.fixture
def jtop(monkeypatch):
    module = ModuleType("jtop")
    module.jtop, module.JtopException = FakeJtop, JtopException
    monkeypatch.setitem(sys.modules, "jtop", module)
    monkeypatch.setattr(FakeJtop, "missing", False)
    monkeypatch.setattr(FakeJtop, "made", [])
    return FakeJtop


def test_jetson_stats(jtop):
    driver = jetson.Driver(jetson.Options(rate_hz=2))
    for n in range(2):
        driver.open()
        assert driver.read() == {
            "temperature_c": 51.0,
            "temperature_cpu_c": 48.5,
            "temperature_tj_c": 51.0,
            "load_percent": 15.0,
            "gpu_load_percent": 12.5,
            "memory_available_mb": 5859.375,
            "power_w": 6.25,
            "power_vdd_cpu_gpu_cv_w": 1.5,
        }
        assert jtop.made[n].interval == 0.5
        driver.close()
        driver.close()
    assert [board.closed for board in jtop.made] == [True, True]


def test_jetson_sensor_that_goes_offline(jtop):
    driver = jetson.Driver(jetson.Options())
    driver.open()
    jtop.made[0].temperature["tj"] = {"online": False, "temp": -256}
    assert math.isnan(driver.read()["temperature_tj_c"])
    assert driver.read()["temperature_c"] == 48.5


def test_jetson_service_that_stops(jtop):
    driver = jetson.Driver(jetson.Options())
    driver.open()
    jtop.made[0].error = JtopException("Lost connection with jtop server")
    with pytest.raises(DeviceMissing, match="Lost connection"):
        driver.read()
    jtop.made[0].error, jtop.made[0].closed = None, True
    with pytest.raises(DeviceMissing, match="ended"):
        driver.read()


def test_jetson_without_service_or_library(jtop, monkeypatch):
    driver = jetson.Driver(jetson.Options())
    monkeypatch.setattr(jtop, "missing", True)
    with pytest.raises(DeviceMissing, match="not active"):
        driver.open()
    monkeypatch.setitem(sys.modules, "jtop", None)
    with pytest.raises(DeviceMissing, match=r"scripts/setup jetson, or pip install 'reflexd\[jetson\]'"):
        driver.open()
    driver.close()


def test_jetson_without_power_monitor(jtop):
    bare = SimpleNamespace(temperature={}, cpu={}, gpu={}, memory={}, power={})
    assert jetson.decode(bare) == {}


@pytest.mark.parametrize("kind, error", [("unplug", DeviceMissing), ("broken", DeviceFault)])
def test_sim_board_fails_on_schedule(kind, error):
    driver = sim.Driver(sim.Options(faults=[{"kind": kind, "at_s": 0, "for_s": 1000}]))
    with pytest.raises(error):
        driver.open()
    driver.faults = Faults(())  # the fault has ended
    driver.open()
    assert driver.read()["temperature_c"] == 50


def test_sim_board_heats_up():
    driver = sim.Driver(sim.Options(faults=[{"kind": "heat", "at_s": 0, "for_s": 1000, "amount": 45}]))
    driver.open()
    assert driver.read() == {"temperature_c": 95, "load_percent": 20, "memory_available_mb": 4000, "power_w": 8}
    unreadable = sim.Driver(sim.Options(faults=[{"kind": "nan", "at_s": 0, "for_s": 1000}]))
    unreadable.open()
    assert all(math.isnan(value) for value in unreadable.read().values())


def test_replay_of_a_board(tmp_path):
    (tmp_path / "board.csv").write_text("t_s,temperature_c,power_w\n0,50,8\n1,51,9\n")
    source = open_source("board.replay", {"path": str(tmp_path / "board.csv"), "pace": "fast"}, "board")
    source.open()
    assert source.channels == ("temperature_c", "power_w")
    assert [source.read(0).payload.tolist() for _ in range(2)] == [[[50, 8]], [[51, 9]]]
