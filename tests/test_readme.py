"""The examples in the documents work as shown."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.commands import wire
from agent.data import Ack, Command
from drivers import base
from tests.shared import ROOT


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def test_the_configuration_in_the_readme_is_valid(tmp_path: Path) -> None:
    (example,) = blocks("README.md", "yaml")
    (tmp_path / "gate.yaml").write_text(example, encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "gate.yaml")], catch_exceptions=False)
    assert "good: 1 lane, 1 actuator, 1 rule" in result.stdout


def test_the_driver_in_the_readme_reads_a_datasheet_value(monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = blocks("drivers/README.md", "python")

    class Bus:
        def __init__(self, number: int) -> None:
            assert number == 1

        def read_i2c_block_data(self, address: int, register: int, count: int) -> list[int]:
            assert (address, register, count) == (0x48, 0, 2)
            return [0xE7, 0x00]  # LM75 datasheet: -25.0 degrees

        def close(self) -> None:
            pass

    monkeypatch.setitem(sys.modules, "smbus2", types.SimpleNamespace(SMBus=Bus))
    module = types.ModuleType("lm75")
    exec(compile(source, "drivers/README.md", "exec"), module.__dict__)
    stream = base.Polled(module.Driver(module.Options(rate_hz=1000), "board"))
    stream.open()
    sample = stream.read(1.0)
    assert sample and stream.channels == ("temperature_c",) and sample.payload.tolist() == [[-25.0]]
    stream.close()


def test_the_bytes_in_the_documentation_are_those_on_the_wire() -> None:
    text = (ROOT / "agent/commands/README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    ((?:[0-9a-f]{2} ?)+)  ", text, re.MULTILINE)
    message = wire.unpack(bytes.fromhex("".join(lines)))
    assert isinstance(message, Command)
    assert (message.node, message.verb, message.arguments, message.ttl, message.nonce, message.held) == (
        "cell-1/arm",
        "stop",
        {"channel": 1},
        50_000,
        0x1234ABCD,
        12_000,
    )
    assert wire.pack_command(message) == bytes.fromhex("".join(lines))
    (answer,) = re.findall(r"^    ((?:[0-9a-f]{2} ?)+)$", text, re.MULTILINE)
    ack = wire.unpack(bytes.fromhex(answer))
    assert isinstance(ack, Ack) and wire.pack_ack(ack) == bytes.fromhex(answer)
    assert (ack.session, ack.nonce, ack.t_ack) == (message.session, message.nonce, message.t_echo)
    for number, verdict in enumerate(wire.VERDICTS):
        assert f"{number} {verdict}" in text
    for fields in (Command._fields, Ack._fields):
        assert ", ".join(fields).replace("ttl", "ttl_us").replace("held", "held_us") in re.sub(r"\s+", " ", text)


def test_every_command_has_help() -> None:
    for command in (
        [],
        ["run"],
        ["check"],
        ["schema"],
        ["actuate"],
        ["keys"],
        ["demo"],
        ["bench", "arc"],
        ["model", "show"],
        ["model", "verify"],
        ["model", "init"],
        ["status"],
        ["top"],
        ["doctor"],
        ["trace"],
        ["diag"],
    ):
        result = CliRunner().invoke(cli, [*command, "--help"], catch_exceptions=False)
        assert result.exit_code == 0 and "Usage:" in result.output
