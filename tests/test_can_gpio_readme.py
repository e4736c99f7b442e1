"""The configuration with CAN and GPIO in drivers/INDUSTRIAL.md."""

import re

from click.testing import CliRunner

from agent.cli import cli
from tests.can_fixtures import write_database
from tests.shared import ROOT


def check(path):
    return CliRunner().invoke(cli, ["check", "-c", str(path)], catch_exceptions=False)


def write(folder, monkeypatch, change=lambda text: text):
    (example,) = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "drivers/INDUSTRIAL.md").read_text(), re.DOTALL)
        if "actuator.can" in block
    ]
    write_database(folder)
    monkeypatch.chdir(folder)
    path = folder / "press.yaml"
    path.write_text(change(example))
    return path


def test_it_is_accepted_up_to_the_model_of_the_reader(tmp_path, monkeypatch):
    output = check(write(tmp_path, monkeypatch)).output
    mistakes = [line for line in output.splitlines() if ": " in line and "warning" not in line]
    assert len(mistakes) == 1 and "press-deviation" in mistakes[0], output


def test_two_actuators_of_one_interface_or_chip_have_other_ids_and_lines(tmp_path, monkeypatch):
    def twice(text):
        horn = re.search(r"  horn:\n.*?    rest: silent\n", text, re.DOTALL).group()
        drive = re.search(r"  drive:\n.*?    rest: run\n", text, re.DOTALL).group()
        others = horn.replace("horn", "siren") + drive.replace("  drive:", "  other:")
        return text.replace("rules:\n", others + "rules:\n")

    output = check(write(tmp_path, monkeypatch, twice)).output
    assert "line 17 of '/dev/gpiochip0' is switched by" in output
    assert "CAN id 512 of '/sys/class/net/can0' is switched by" in output


def test_two_actuators_of_one_chip_with_lines_of_their_own(tmp_path, monkeypatch):
    def another(text):
        horn = re.search(r"  horn:\n.*?    rest: silent\n", text, re.DOTALL).group()
        return text.replace("rules:\n", horn.replace("horn", "bell").replace("17", "18") + "rules:\n")

    output = check(write(tmp_path, monkeypatch, another)).output
    assert "press-deviation" in output  # all else is accepted
    assert "is switched by" not in output and "is used by" not in output
