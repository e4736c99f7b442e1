"""actuator.mqtt with logins, access lists and TLS of a real mosquitto."""

import ssl

import pytest

from agent.benches.io.mqtt import Broker
from drivers.actuator import mqtt
from drivers.base import DeviceFault, DeviceMissing
from tests.mqtt_fixtures import certificate, login, needs_mosquitto, opened

pytestmark = needs_mosquitto

SET = "hall/lamp/set"
LAMP = {"topic": SET, "messages": {"on": "ON", "off": "OFF"}, "safe": "off", "timeout_ms": 5000, "connect_ms": 5000}


def actuator(broker, **options):
    return mqtt.Driver(mqtt.Options(**{"host": "127.0.0.1", "port": broker.port, **LAMP, **options}), "lamp")


def test_login_and_access_list(tmp_path):
    access = tmp_path / "access"
    access.write_text(f"user arm\ntopic readwrite {SET}\n")
    settings = login(tmp_path, "arm", "Zq-secret", f"acl_file {access}")
    with Broker(tmp_path, settings) as broker:
        good = {"user": "arm", "password": "Zq-secret", "subscriber_required": False}
        driver = actuator(broker, **good)
        with opened(driver):
            driver.safe()
        for bad in ({"user": "arm", "password": "Zq-wrong"}, {"user": "eve", "password": "Zq-secret"}, {}):
            with pytest.raises(DeviceFault, match="refuses the login, Not authorized: check user") as raised:
                actuator(broker, **bad).open()
            assert "Zq" not in str(raised.value)
        driver = actuator(broker, topic="other", **good)
        with opened(driver), pytest.raises(DeviceFault, match="topic other refused, Not authorized"):
            driver.safe()


def test_tls(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    public, key = certificate(tmp_path)
    stranger, _ = certificate(tmp_path / "elsewhere")
    with Broker(tmp_path, ["allow_anonymous true", f"certfile {public}", f"keyfile {key}"]) as broker:
        secure = {"host": "localhost", "tls": {"ca": str(public)}, "subscriber_required": False}
        driver = actuator(broker, **secure)
        with opened(driver):
            driver.apply("on", {})
            driver.safe()
            assert isinstance(driver.commands.client.socket(), ssl.SSLSocket)
        with pytest.raises(DeviceFault, match="certificate is not valid here"):
            actuator(broker, **{**secure, "tls": {"ca": str(stranger)}}).open()
        with pytest.raises(DeviceFault, match="certificate is not valid here"):
            actuator(broker, **{**secure, "host": "127.0.0.1"}).open()
        with pytest.raises((DeviceFault, DeviceMissing)):
            actuator(broker).open()


def test_an_unusable_certificate_file_is_named(broker, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "none.pem"):
        with pytest.raises(DeviceFault, match=f"{name}: not usable for TLS"):
            actuator(broker, tls={"ca": str(tmp_path / name)}).open()
