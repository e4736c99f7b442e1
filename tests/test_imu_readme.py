"""The configuration with inertial sensors in drivers/INDUSTRIAL.md."""

import re

from click.testing import CliRunner

from agent.cli import cli
from tests.shared import ROOT


def check(folder, change=lambda text: text):
    text = (ROOT / "drivers/INDUSTRIAL.md").read_text()
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "sensor.bmi088" in block]
    path = folder / "spindle.yaml"
    path.write_text(change(example))
    output = CliRunner().invoke(cli, ["check", "-c", str(path)], catch_exceptions=False).output
    return [line for line in output.splitlines() if ": " in line and "warning" not in line], output


def test_it_is_accepted_up_to_the_models_of_the_reader(tmp_path):
    mistakes, output = check(tmp_path)
    assert len(mistakes) == 2 and "spindle-vibration" in mistakes[0] and "table-vibration" in mistakes[1], output
    assert "'/dev/spidev0.1' is not there" in output


def test_a_mistake_is_named(tmp_path):
    mistakes, output = check(tmp_path, lambda text: text.replace("accel_rate_hz: 1600", "accel_rate_hz: 1000"))
    assert any("accel_rate_hz" in line for line in mistakes), output


def test_a_chip_select_has_one_lane(tmp_path):
    def twice(text):
        lane = re.search(r"  spindle:\n.*?    model: spindle-vibration\n", text, re.DOTALL).group()
        return text.replace("actuators:\n", lane.replace("spindle:", "again:") + "actuators:\n")

    assert "'/dev/spidev0.1' is used by" in check(tmp_path, twice)[1]
