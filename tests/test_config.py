"""The configuration: a valid one loads, and each mistake is one line with its place, the error and advice."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import keys
from agent.cli import cli
from agent.config.load import load_config
from agent.config.models import Config
from agent.errors import ConfigError
from agent.packages.package import BUNDLED
from tests import shared

pytestmark = pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")

GOOD = """\
node: cell-1
lanes:
  arm:
    source:
      driver: sensor.sim_arm
      timeout_ms: 50
      fault_every_s: 3
    model: arm-deviation
    budget_ms: 2
actuators:
  belt:
    device: {driver: actuator.sim, reaction_ms: 1}
    rest: run
    verbs: [run, stop, slow]
    limits: {speed: [0, 1.5]}
    safe_after_ms: 80
rules:
  off-plan:
    any:
      - {lane: arm, label: deviation, score: 0.6}
      - lane: arm
        label: collision
        hits: 2
        of: 3
    actuator: belt
    verb: slow
    arguments: {speed: 0.5}
"""


def write(folder, text):
    path = folder / "cell.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(folder, text):
    return load_config(write(folder, text))


def mistakes(folder, text):
    return shared.mistakes(folder / "cell.yaml", text)


def changed(old, new):
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_valid_one_loads(tmp_path):
    cell = load(tmp_path, GOOD)
    assert cell.node == "cell-1"
    assert cell.lanes["arm"].source.driver == "sensor.sim_arm"
    assert cell.lanes["arm"].source.options == {"timeout_ms": 50, "fault_every_s": 3}
    assert cell.actuators["belt"].limits == {"speed": (0.0, 1.5)}
    assert [condition.label for condition in cell.rules["off-plan"].conditions] == ["deviation", "collision"]


def test_defaults_follow_from_the_rest(tmp_path):
    cell = load(tmp_path, "run_dir: /run/here\n" + GOOD)
    assert cell.endpoint("belt") == "ipc:///run/here/belt.sock"
    assert cell.feeding("belt") == ["arm"]
    assert cell.senders("belt") == ["cell-1/arm"]


def test_only_critical_lanes_are_needed_senders(tmp_path):
    assert load(tmp_path, changed("budget_ms: 2", "critical: false")).senders("belt") == []
    assert load(tmp_path, changed("    rest: run", "    rest: run\n    senders: [far/cam]")).senders("belt") == [
        "far/cam"
    ]


def test_the_run_dir_of_systemd(monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/reflexd:/run/other")
    assert Config().run_dir == Path("/run/reflexd")


def test_the_smallest_configuration_loads(tmp_path):
    assert load(tmp_path, "{}").lanes == {}


# old text, new text, line of the mistake, part of its message
MISTAKES = {
    "unknown key": ("budget_ms: 2", "budget: 2", 9, "unknown key 'lanes.arm.budget'; did you mean 'budget_ms'?"),
    "unknown section": ("rules:", "rulez:", 17, "unknown key 'rulez'; did you mean 'rules'?"),
    "key far from any": (
        "budget_ms: 2",
        "xyz: 2",
        9,
        "unknown key 'lanes.arm.xyz'; valid here: backend, budget_ms, cores, ",
    ),
    "unknown option": (
        "fault_every_s: 3",
        "fault_evry_s: 3",
        7,
        "unknown key 'lanes.arm.source.fault_evry_s'; did you mean 'fault_every_s'?",
    ),
    "wrong unit": (
        "timeout_ms: 50",
        "timeout_s: 50",
        6,
        "unknown key 'lanes.arm.source.timeout_s'; did you mean 'timeout_ms'?",
    ),
    "wrong unit of ours": (
        "safe_after_ms: 80",
        "safe_after_s: 80",
        16,
        "unknown key 'actuators.belt.safe_after_s'; did you mean 'safe_after_ms'?",
    ),
    "unit in the value": (
        "budget_ms: 2",
        "budget_ms: 10ms",
        9,
        "found '10ms'; write the bare number, the unit is in the key's name",
    ),
    "unit in an option": (
        "timeout_ms: 50",
        "timeout_ms: 50ms",
        6,
        "found '50ms'; write the bare number, the unit is in the key's name",
    ),
    "wrong type": (
        "verbs: [run, stop, slow]",
        "verbs: run",
        14,
        "'actuators.belt.verbs': expected a list, found 'run'",
    ),
    "wrong option type": (
        "reaction_ms: 1",
        "reaction_ms: [1]",
        12,
        "'actuators.belt.device.reaction_ms': expected a number",
    ),
    "text for a section": (
        "device: {driver: actuator.sim, reaction_ms: 1}",
        "device: actuator.sim",
        12,
        "'actuators.belt.device': expected lines of 'key: value', found 'actuator.sim'",
    ),
    "missing": ("    rest: run\n", "", 11, "'actuators.belt.rest' is missing"),
    "missing in a condition": (
        "{lane: arm, label: deviation, score: 0.6}",
        "{lane: arm, score: 0.6}",
        20,
        "'rules.off-plan.any.0.label' is missing",
    ),
    "out of range": (
        "safe_after_ms: 80",
        "safe_after_ms: 200",
        16,
        "'actuators.belt.safe_after_ms': expected less than or equal to 100, found 200",
    ),
    "option out of range": (
        "timeout_ms: 50",
        "timeout_ms: 0",
        6,
        "'lanes.arm.source.timeout_ms': expected greater than 0, found 0",
    ),
    "not finite": ("budget_ms: 2", "budget_ms: .inf", 9, "'lanes.arm.budget_ms': expected a finite number, found inf"),
    "duplicate lane": ("actuators:", "  arm: {model: x}\nactuators:", 10, "key 'arm' appears twice"),
    "name with a space": ("  off-plan:", "  off plan:", 18, "'off plan': a name has 1 to 32 letters"),
    "node with a space": (
        "cell-1",
        "cell 1",
        1,
        "'node': expected 1 to 32 letters, digits, '_', '.', '-', found 'cell 1'",
    ),
    "conditions without dashes": (
        "    actuator: belt",
        "    all: {lane: arm, label: collision}\n    actuator: belt",
        25,
        "'rules.off-plan.all': expected a list: each entry begins with '- '",
    ),
    "safe verb of a relay board": (
        "device: {driver: actuator.sim, reaction_ms: 1}",
        "device: {driver: actuator.serial_relay, url: /dev/null, channels: {run: {1: true}}, safe: 'off'}",
        12,
        "'actuators.belt.device.safe': 'off' is not among the channels' verbs: run",
    ),
    "unknown driver": (
        "sensor.sim_arm",
        "sensor.sim_amr",
        5,
        "no driver 'sensor.sim_amr'; did you mean sensor.sim_arm",
    ),
    "driver without kind": ("sensor.sim_arm", "sim_arm", 5, "'sim_arm' is not a driver name: write kind.name"),
    "actuator as source": (
        "driver: sensor.sim_arm",
        "driver: actuator.sim",
        5,
        "driver 'actuator.sim' is not a source",
    ),
    "source as actuator": (
        "{driver: actuator.sim, reaction_ms: 1}",
        "{driver: sensor.sim_arm}",
        12,
        "driver 'sensor.sim_arm' is not an actuator",
    ),
    "no such model": ("arm-deviation", "arm-deviatoin", 8, "no model package 'arm-deviatoin'"),
    "model name too long": ("arm-deviation", "m" * 300, 8, "no model package"),
    "rule on no lane": ("lane: arm\n", "lane: amr\n", 21, "no lane 'amr'; did you mean 'arm'?"),
    "rule on no actuator": ("actuator: belt", "actuator: bolt", 25, "no actuator 'bolt'; did you mean 'belt'?"),
    "rule on no label": (
        "label: deviation",
        "label: deviatoin",
        20,
        "no label 'deviatoin' in model 'arm-deviation'; did you mean 'deviation'?",
    ),
    "rule verb": ("verb: slow", "verb: halt", 26, "actuator 'belt' accepts run, stop, slow, not 'halt'"),
    "rest verb": ("rest: run", "rest: rnu", 13, "actuator 'belt' accepts run, stop, slow, not 'rnu'"),
    "argument outside": ("speed: 0.5", "speed: 2", 27, "outside the limits of actuator 'belt'"),
    "argument no number": ("speed: 0.5", "speed: .nan", 27, "'rules.off-plan.arguments.speed': expected"),
    "argument a list": ("speed: 0.5", "speed: [1]", 27, "'rules.off-plan.arguments.speed': expected"),
    "arguments too long": (
        "{speed: 0.5}",
        "{speed: 0.5, why: " + "y" * 64 + "}",
        26,
        "limit 150: shorten its names or arguments",
    ),
    "limits upside down": ("[0, 1.5]", "[1.5, 0]", 15, "speed: expected [lowest, highest], found [1.5, 0]"),
    "any and all": (
        "    actuator: belt",
        "    all: [{lane: arm, label: collision}]\n    actuator: belt",
        18,
        "one of 'any', 'all', 'some' and 'sum'",
    ),
    "impossible hits": ("hits: 2", "hits: 4", 21, "4 of the last 3 can never happen"),
    "transport": (
        "    rest: run",
        "    endpoint: udp://127.0.0.1:1\n    rest: run",
        13,
        "expected ipc://PATH or tcp://HOST:PORT",
    ),
    "no port": (
        "    rest: run",
        "    endpoint: tcp://127.0.0.1\n    rest: run",
        13,
        "expected ipc://PATH or tcp://HOST:PORT",
    ),
    "network without keys": (
        "    rest: run",
        "    endpoint: tcp://0.0.0.0:5555\n    rest: run",
        13,
        "has no keys: use 'reflexd keys DIR'",
    ),
    "any interface": ("    rest: run", "    endpoint: tcp://*:5555\n    rest: run", 13, "has no keys"),
    "another host": ("    rest: run", "    endpoint: tcp://edge-2:5555\n    rest: run", 13, "has no keys"),
    "open metrics": (
        "node: cell-1",
        "metrics: {port: 9100, host: 0.0.0.0}",
        1,
        "metrics have no keys: serve them on 127.0.0.1",
    ),
    "socket path too long": ("node: cell-1", "run_dir: /" + "é" * 60, 1, "the kernel's limit is 107: shorten run_dir"),
    "syntax": ("[run, stop, slow]", "[run, stop", 15, "expected"),
    "tab": ("    rest: run", "\trest: run", 13, "'\\t' that cannot start any token"),
    "object tag": ("node: cell-1", "node: !!python/object/apply:os.getcwd []", 1, "tags and objects are not allowed"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.slow
def test_a_mistake_is_one_line_with_its_place(name, tmp_path):
    old, new, line, expected = MISTAKES[name]
    (mistake,) = mistakes(tmp_path, changed(old, new))
    assert "\n" not in mistake
    number, sentence = mistake.split(": ", 1)
    assert expected in sentence
    assert int(number) == line


def test_names_too_long_for_a_message_are_reported_for_each_command(tmp_path):
    text = GOOD.replace("cell-1", "n" * 32).replace("arm:", "l" * 32 + ":").replace("lane: arm", "lane: " + "l" * 32)
    text = text.replace("belt", "a" * 32)
    lines = mistakes(tmp_path, text)
    assert [line.split(":")[0] for line in lines] == ["13", "26"]
    assert all("shorten its names" in line for line in lines)


def test_all_mistakes_are_reported_at_once(tmp_path):
    text = GOOD.replace("lane: arm\n", "lane: amr\n").replace("verb: slow", "verb: halt").replace("sim_arm", "sim_amr")
    assert [line.split(":")[0] for line in mistakes(tmp_path, text)] == ["5", "21", "26"]


def test_an_item_with_a_mistake_hides_no_other_of_its_rule(tmp_path):
    """A wrong value, and one that does not fit another key of the same item."""
    for wrong in ("score: 6", "hits: 3, of: 2"):
        any_of = f"any: [{{lane: amr, label: deviation, {wrong}}}]"
        text = GOOD[: GOOD.index("rules:")] + f"rules:\n  r:\n    {any_of}\n    actuator: betl\n    verb: halt\n"
        lines = mistakes(tmp_path, text)
        assert len(lines) == 3 and "no lane 'amr'" in str(lines) and "no actuator 'betl'" in str(lines), lines


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:5555", "tcp://[::1]:5555", "tcp://localhost:5555", "ipc:///tmp/x"]
)
def test_this_box_alone_needs_no_keys(endpoint, tmp_path):
    load(tmp_path, changed("    rest: run", f"    endpoint: '{endpoint}'\n    rest: run"))


@pytest.mark.parametrize(
    "endpoint, text",
    [
        ("tcp://::1:5555", "write an IPv6 address in brackets, then the port: tcp://[::1]:5555"),
        ("tcp://[fe80::1]:5555", "a link-local address needs its interface: tcp://[fe80::1%eth0]:5555"),
        ("tcp://127.0.0.1:1:5555", "expected tcp://HOST:PORT"),
        ("tcp://admin:hunter#Cam2024@h:502", "expected tcp://HOST:PORT"),
    ],
)
def test_an_address_that_nobody_can_reach(endpoint, text, tmp_path):
    found = mistakes(
        tmp_path, "insecure: true\n" + changed("    rest: run", f"    endpoint: '{endpoint}'\n    rest: run")
    )
    assert len(found) == 1 and text in found[0] and "hunter" not in found[0], found


def test_a_network_endpoint_needs_keys_or_insecure(tmp_path):
    text = changed("    rest: run", "    endpoint: tcp://0.0.0.0:5555\n    rest: run")
    load(tmp_path, "insecure: true\n" + text)
    (tmp_path / "boxes").mkdir()
    public, own = keys.make(tmp_path, "box")
    with_keys = f"keys: {{own: {own}, authorized: {tmp_path}/boxes}}\n"
    load(tmp_path, with_keys + text)
    (mistake,) = mistakes(tmp_path, f"keys: {{own: {own}}}\n" + text)
    assert "set keys.authorized: FOLDER" in mistake
    remote = text.replace("    device: {driver: actuator.sim, reaction_ms: 1}\n", "")
    (mistake,) = mistakes(tmp_path, with_keys + remote)
    assert "set server_key: FILE" in mistake
    load(tmp_path, with_keys + remote.replace("rest:", f"server_key: {public}\n    rest:"))


def test_a_driver_whose_library_is_missing(tmp_path, monkeypatch):
    (tmp_path / "their").mkdir()
    (tmp_path / "their" / "sensor.py").write_text("import no_such_library_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    (mistake,) = mistakes(tmp_path, changed("sensor.sim_arm", "their.sensor"))
    assert (
        mistake
        == "5: driver 'their.sensor' needs the Python package 'no_such_library_here': pip install no_such_library_here"
    )


def test_a_missing_library_of_a_shipped_driver_comes_with_an_extra(tmp_path, monkeypatch):
    (tmp_path / "their").mkdir()
    (tmp_path / "their" / "plc.py").write_text("import pymodbus.client\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pymodbus", None)
    (mistake,) = mistakes(tmp_path, changed("sensor.sim_arm", "their.plc"))
    assert mistake.endswith(
        "needs the Python package 'pymodbus': scripts/setup modbus, or pip install 'reflexd[modbus]'"
    )


def test_a_module_that_is_not_a_driver(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    (mistake,) = mistakes(tmp_path, changed("sensor.sim_arm", "mine.module"))
    assert mistake == "5: 'mine.module' is not a driver: it must define Options and Driver"


# -- model packages beside the configuration --------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path):
    shutil.copytree(BUNDLED / "arm-deviation", tmp_path / "mine")
    return tmp_path / "mine"


def edit(manifest, old, new):
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


def test_a_package_beside_the_configuration(tmp_path, package):
    load(tmp_path, changed("arm-deviation", "mine"))
    load(tmp_path, changed("arm-deviation", str(package)))


@pytest.mark.parametrize(
    ("model", "then", "line", "expected"),
    [
        ("pose-fall", "", 8, "model 'pose-fall' reads keypoints: name it under 'then', and a pose network here"),
        ("pose-fall", "pose-fall", 8, "model 'pose-fall' reads keypoints: name it under 'then'"),
        (
            "person-coarse",
            "pose-fall",
            9,
            "model 'person-coarse' finds no keypoints for 'pose-fall': use a pose network",
        ),
        ("person-coarse", "pcb-inspect", 9, "model 'pcb-inspect' reads no keypoints: give it a lane of its own"),
        ("pcb-inspect", "pose-fall", 9, "model 'pcb-inspect' finds no keypoints for 'pose-fall': use a pose network"),
        ("person-coarse", "pose-fal", 9, "no model package 'pose-fal'"),
    ],
)
def test_two_models_that_do_not_fit_give_one_line(tmp_path, model, then, line, expected):
    good = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    assert cv2.imwrite(str(tmp_path / "good.png"), good)
    more = (f"\n    then: {then}" if then else "") + ("\n    reference: good.png" if model == "pcb-inspect" else "")
    text = changed("    model: arm-deviation", f"    model: {model}{more}")
    text = text.replace("sensor.sim_arm", "camera.sim").replace("fault_every_s: 3", "fps: 30")
    (mistake,) = mistakes(tmp_path, text[: text.index("rules:")])  # without rules, whose labels would be mistakes, too
    assert mistake.startswith(f"{line}: {expected}")


def test_a_package_whose_model_file_is_missing(tmp_path, package):
    (package / "arm-deviation.tflite").unlink()
    (mistake,) = mistakes(tmp_path, changed("arm-deviation", "mine"))
    assert mistake.startswith(f"8: {package}/manifest.yaml: model file '{package}/arm-deviation.tflite' does not exist")


def test_a_package_whose_model_file_was_changed(tmp_path, package):
    with open(package / "arm-deviation.tflite", "ab") as file:
        file.write(b"x")
    (mistake,) = mistakes(tmp_path, changed("arm-deviation", "mine"))
    assert mistake.startswith(f"8: {package}/arm-deviation.tflite: sha256 is ")


def test_a_package_with_two_mistakes_gives_two_lines(tmp_path, package):
    edit(package / "manifest.yaml", "budget_ms: 2.0", "budget_ms: 2ms\nlicense: x")
    lines = mistakes(tmp_path, changed("arm-deviation", "mine"))
    assert len(lines) == 2
    assert all(line.startswith(f"8: {package}/manifest.yaml:") for line in lines)


def load_anything(text):
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert isinstance(load(Path(folder), text), Config)
        except ConfigError as error:
            assert error.mistakes
            assert all(mistake.startswith(folder) and "\n" not in mistake for mistake in error.mistakes)


fragments = st.sampled_from(
    [
        "",
        "~",
        "0",
        "-1",
        "1e400",
        ".nan",
        "true",
        "[]",
        "{}",
        "[[1]]",
        "{a: {b: 1}}",
        "'x'",
        "'a\\nb'",
        "*a",
        "&a x",
        "!!python/name:os x",
        "2026-01-01",
        "sensor.sim",
        "camera._child",
        "drivers.base",
        "actuator.sim",
        "../x",
        "/",
        "x" * 300,
        "tcp://",
        "ipc://",
        "tcp://:1",
    ]
)


@given(st.data())
@settings(max_examples=200, deadline=None)
@pytest.mark.slow
def test_any_value_in_any_place_loads_or_is_a_mistake(data):
    lines = GOOD.splitlines()
    for number in data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=3)):
        key, colon, _ = lines[number].partition(":")
        lines[number] = f"{key}{colon} {data.draw(fragments)}"
    load_anything("\n".join(lines))


@given(st.integers(0, len(GOOD)), st.integers(0, 20), st.text("abc:-[]{}&*!|>'\"#,? \n\t01.~<_", max_size=5))
@settings(max_examples=200, deadline=None)
@pytest.mark.slow
def test_any_edit_loads_or_is_a_mistake(at, cut, insert):
    load_anything(GOOD[:at] + insert + GOOD[at + cut :])


@given(st.text(st.characters(codec="utf-8"), max_size=100))
@settings(deadline=None)
def test_any_text_loads_or_is_a_mistake(text):
    load_anything(text)


def check(path):
    command = [sys.executable, "-m", "agent", "check", "-c", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=BUNDLED.parent, env=os.environ)


def test_check_of_a_valid_file_has_exit_code_0(tmp_path):
    run = check(write(tmp_path, GOOD))
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.strip() == f"{tmp_path}/cell.yaml: good: 1 lane, 1 actuator, 1 rule"


def test_check_of_a_mistake_has_exit_code_2(tmp_path):
    run = check(write(tmp_path, changed("rest: run", "rest: rnu")))
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"{tmp_path}/cell.yaml:13: actuator 'belt' accepts run, stop, slow, not 'rnu'\n"


def test_check_of_a_missing_file_has_exit_code_2(tmp_path):
    run = check(tmp_path / "none.yaml")
    hint = "No such file or directory: name the configuration with -c FILE"
    assert (run.returncode, run.stderr) == (2, f"{tmp_path}/none.yaml: {hint}\n")


def test_check_prints_json_for_programs(tmp_path):
    good = CliRunner().invoke(cli, ["check", "--json", "-c", str(write(tmp_path, GOOD))], standalone_mode=False)
    assert good.return_value == 0
    assert json.loads(good.output)["ok"] is True
    bad = CliRunner().invoke(cli, ["check", "--json", "-c", str(write(tmp_path, "x: 1"))], standalone_mode=False)
    assert bad.return_value == 2
    assert json.loads(bad.output)["ok"] is False
    assert len(json.loads(bad.output)["mistakes"]) == 1
