"""Whatever bytes a broker sends, before or after the login, the MQTT drivers raise an error of a device or succeed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.base import DeviceError
from tests.hostile_tcp import ACCEPTED, Peer, says
from tests.test_mqtt_faults import actuator, both


class Noise:
    """One peer for many examples: it answers with the bytes of the moment, before or after the login."""

    def __init__(self):
        self.data = b""
        self.peer = Peer(lambda connection: says(self.data)(connection))


@pytest.fixture(scope="module")
def noise():
    noise = Noise()
    with noise.peer:
        yield noise


PACKETS = st.tuples(st.integers(0, 255), st.binary(max_size=40)).map(lambda p: bytes([p[0], len(p[1])]) + p[1])


@both
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60) | st.lists(PACKETS, max_size=4).map(b"".join), login=st.booleans())
def test_any_bytes_end_in_an_error_of_a_device_or_in_success(noise, make, data, login):
    noise.data = ACCEPTED + data if login else data
    driver = make(noise.peer.port, connect_ms=20)
    try:
        driver.open()
        if make is actuator:
            driver.timeout_s = 0.01
            driver.apply("on", {})
        else:
            driver.read(0.01)
    except DeviceError as error:
        assert str(error).startswith(f"127.0.0.1:{noise.peer.port}: ")
    finally:
        driver.close()
