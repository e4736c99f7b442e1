"""Options of the OPC UA drivers, and the examples in the documentation."""

import re

import pytest
from click.testing import CliRunner

pytest.importorskip("asyncua", reason="needs asyncua: pip install 'reflexd[opcua]'")

from pydantic import ValidationError

from agent.cli import cli
from agent.yamlfile import read
from drivers.actuator import opcua as actuator
from drivers.actuator._opcua_verbs import typed
from drivers.sensor import opcua as sensor
from tests.opcua_peers import verbs, write
from tests.shared import ROOT

SERVER = {"url": "opc.tcp://192.0.2.1:4840", "security": "none"}
FILES = {"server_certificate": "s.pem", "certificate": "c.pem", "key": "k.pem"}
SPEED = {"node": "ns=2;s=Speed", "type": "Int16"}


def stop(*writes):
    return {"verbs": {"stop": {"writes": list(writes)}}}


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"url": "http://x"}, "opc.tcp://192.168"),
        ({"url": "opc.tcp://user:secret@x"}, "options of their own"),
        ({"url": "opc.tcp://:4840"}, "opc.tcp://192.168"),
        ({"security": "basic"}, "security"),
        ({"security": "sign"}, "security: sign needs server_certificate and certificate and key"),
        (FILES, "security: none uses no certificate"),
        (FILES | {"security": "sign", "key": None}, "needs key"),
        *(
            ({"url": f"opc.tcp://admin:hunter{sign}Cam2024@h:4840"}, "write user and password as options of their own")
            for sign in ("#", "?", "/", "/@", "://", "\u2028")
        ),
        ({"url": "opc.tcp://h:hunter"}, "an address such as opc.tcp://192.168.0.10:4840 is needed"),
        ({"password": "x", "clear_password": True}, "a password needs a user"),
        ({"user": "u", "password": "secret"}, "does not protect the password"),
        ({"safe": "halt"}, "'halt' is not among the verbs: run, stop"),
        ({"safe": "run", "verbs": {**verbs()["verbs"], "run": {"writes": [SPEED | {"value": 1}]}}}, "does not write"),
        ({"verbs": {"stop": {}}}, "needs writes, or a call"),
        (stop(SPEED | {"value": 1}, SPEED | {"value": 2}), "a node is written twice"),
        (stop(SPEED | {"argument": "a", "low": 0, "high": 1}), "must not need an argument"),
        (stop(SPEED), "give a value, or the name of an argument"),
        (stop(SPEED | {"value": 1, "argument": "a"}), "give a value, or the name of an argument"),
        (stop(SPEED | {"argument": "a"}), "needs low and high"),
        (stop(SPEED | {"argument": "a", "low": 2, "high": 1}), "low is above high"),
        (stop(SPEED | {"argument": "a", "low": 0, "high": 40_000}), "-32768 to 32767"),
        (stop(SPEED | {"value": 1.5}), "a whole number"),
        (stop(SPEED | {"value": True}), "Int16 is a number"),
        (stop(write("x", 1, "Boolean")), "true or false"),
        (stop(SPEED | {"value": 1, "node": "Speed"}), "is no node id"),
        (stop(SPEED | {"value": 1, "node": "ns=70000;i=1"}), "ns is 0 to 65535"),
        (stop(SPEED | {"value": 1, "node": "i=-1"}), "i is 0 to 4294967295"),
        (stop(SPEED | {"value": 1, "node": "srv=1;nsu=a;i=1"}), "leave srv out"),
        ({"timeout_ms": 0}, "greater than or equal"),
    ],
)
def test_invalid_options_are_refused(options, complaint):
    actuator.Options.model_validate(SERVER | verbs())
    with pytest.raises(ValidationError, match=complaint) as caught:
        actuator.Options.model_validate(SERVER | verbs() | options)
    assert "secret" not in str(caught.value) and "hunter" not in str(caught.value)


def test_security_has_no_default():
    with pytest.raises(ValidationError, match="security"):
        actuator.Options.model_validate({"url": SERVER["url"], **verbs()})


def test_channels_have_names_of_their_own():
    channel = {"name": "a", "node": "i=1"}
    assert sensor.Driver(sensor.Options.model_validate(SERVER | {"channels": [channel]})).channels == ("a",)
    with pytest.raises(ValidationError, match="same name"):
        sensor.Options.model_validate(SERVER | {"channels": [channel, channel]})


@pytest.mark.parametrize(
    "kind, value, expected",
    [
        ("Byte", 255, 255),
        ("SByte", -128, -128),
        ("Int16", 2.0, 2),
        ("UInt64", 2**64 - 1, 2**64 - 1),
        ("Int64", -(2**63), -(2**63)),
        ("Float", 3, 3.0),
        ("String", "x", "x"),
        ("Boolean", False, False),
    ],
)
def test_values_keep_their_type(kind, value, expected):
    assert typed(kind, value) == expected and type(typed(kind, value)) is type(expected)


@pytest.mark.parametrize(
    "kind, value",
    [
        *[("Byte", value) for value in (256, -1, 0.5, float("inf"), "1", None, True)],
        *[("UInt16", 65_536), ("SByte", 128), ("Int64", 2**63), ("Float", 1e39), ("Double", float("nan"))],
        *[("String", 1), ("String", "x" * 1001), ("Boolean", 1)],
    ],
)
def test_values_that_would_change_are_refused(kind, value):
    with pytest.raises(ValueError, match=kind):
        typed(kind, value)


def test_a_verb_and_an_open_keep_their_time_limit():
    driver = actuator.Driver(actuator.Options.model_validate(SERVER | verbs(timeout_ms=100, open_ms=500)))
    assert driver.deadline_ms == 50 + 100 + 500


def test_the_examples_in_the_documentation(tmp_path, monkeypatch):
    text = (ROOT / "drivers/INDUSTRIAL.md").read_text(encoding="utf-8")
    examples = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "opcua" in block]
    whole, source = (block.replace("/etc/reflexd/opcua", str(tmp_path)) for block in examples)
    for name in ("plc.pem", "reflexd.pem", "reflexd-key.pem"):
        (tmp_path / name).write_text("made by the integrator")
    monkeypatch.setenv("PLC_PASSWORD", "correct horse")
    (tmp_path / "cell.yaml").write_text(whole, encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "cell.yaml")], catch_exceptions=False)
    assert "good: 1 lane, 1 actuator, 1 rule" in result.stdout, result.output
    (tmp_path / "source.yaml").write_text(source, encoding="utf-8")
    options = dict(read(tmp_path / "source.yaml").data["source"])
    assert options.pop("driver") == "sensor.opcua"
    assert sensor.Options.model_validate(options).max_age_ms == 1000
