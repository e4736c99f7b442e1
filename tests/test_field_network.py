"""The doctor's checks of ports, keys and the DSCP mark."""

from __future__ import annotations

import socket
from pathlib import Path

from agent import keys
from agent.field.checks import network
from agent.field.checks.base import BAD, GOOD, SKIP, WARN
from tests.field_fixtures import box, complete, configuration


def test_the_dscp_mark_survives_loopback_or_not() -> None:
    assert network.dscp(network.loopback_tos).state == GOOD
    assert complete(network.dscp(lambda _: 0)).state == WARN

    def refused(_: int) -> int:
        raise OSError("no loopback here")

    assert network.dscp(refused).state == SKIP


def test_ports() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert network.served("metrics", "127.0.0.1", port, True).state == GOOD
        assert complete(network.served("metrics", "127.0.0.1", port, False)).state == WARN
        assert network.remote("gate", "127.0.0.1", port).state == GOOD
    assert complete(network.served("metrics", "127.0.0.1", port, True)).state == WARN
    assert network.served("metrics", "127.0.0.1", port, False).state == GOOD
    assert complete(network.remote("gate", "127.0.0.1", port)).state == BAD


def test_ports_of_a_configuration(tmp_path: Path) -> None:
    away = {"endpoint": "tcp://127.0.0.1:9", "rest": "run"}
    cell = box(configuration(tmp_path, actuators={"gate": away}, rules={}, metrics={"port": 9}))
    assert [check.name for check in network.ports(cell)] == ["port of metrics", "port of actuator gate"]


def test_insecure(tmp_path: Path) -> None:
    check = network.insecure(box(configuration(tmp_path)).config)
    assert (check.state, check.name, check.cause) == (GOOD, "open endpoints", "none without keys")
    away = {"endpoint": "tcp://10.0.0.1:99", "rest": "run"}
    cell = box(configuration(tmp_path, insecure=True, actuators={"gate": away}, rules={}))
    check = complete(network.insecure(cell.config))
    assert check.state == WARN and "gate can be reached" in check.cause


def test_key_files(tmp_path: Path) -> None:
    public, secret = keys.make(tmp_path / "keys", "box")
    assert network.secret(secret).state == GOOD
    secret.chmod(0o644)
    assert complete(network.secret(secret)).state == BAD and "chmod 600" in network.secret(secret).fix
    assert complete(network.secret(public)).state == BAD and complete(network.secret(tmp_path / "none")).state == BAD
    assert network.public("x", public).state == GOOD and complete(network.public("x", tmp_path / "none")).state == BAD


def test_authorised_keys(tmp_path: Path) -> None:
    folder = tmp_path / "authorised"
    assert network.authorised(None).state == GOOD and complete(network.authorised(folder)).state == WARN
    folder.mkdir()
    assert complete(network.authorised(folder)).state == WARN
    (folder / "._other.key").write_text("what a Mac puts beside a file")
    assert "no .key file" in network.authorised(folder).cause
    keys.make(folder, "other")
    assert complete(network.authorised(folder)).state == WARN  # the secret one was copied along
    (folder / "other.key_secret").unlink()
    assert network.authorised(folder).state == GOOD
    (folder / "damaged.key").write_text("metadata\n")
    assert complete(network.authorised(folder)).state == BAD


def test_keys_of_a_configuration(tmp_path: Path) -> None:
    _, secret = keys.make(tmp_path / "keys", "box")
    served = {"endpoint": "tcp://0.0.0.0:99", "rest": "run", "device": {"driver": "actuator.sim"}}
    away = {"endpoint": "tcp://10.0.0.1:99", "rest": "run", "server_key": str(tmp_path / "none.key")}
    cell = box(configuration(tmp_path, keys={"own": str(secret)}, actuators={"a": served, "b": away}, rules={}))
    assert [(check.name, check.state) for check in network.key_files(cell)] == [
        ("own key", GOOD),
        ("authorised keys", GOOD),
        ("key of actuator b", BAD),
    ]
