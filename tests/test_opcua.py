"""actuator.opcua against asyncua's server in a process of its own."""

import threading

import pytest

pytest.importorskip("asyncua", reason="needs asyncua: pip install 'reflexd[opcua]'")

from agent.benches.io import opcua
from drivers.actuator.opcua import Driver, Options
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.opcua import session
from tests.opcua_peers import BELT, verbs, write
from tests.waiting import until


@pytest.fixture(scope="module")
def belt():
    with opcua.counterpart() as counterpart:
        yield counterpart


@pytest.fixture
def actuator(belt, open_driver):
    def make(**options):
        driver = Driver(Options.model_validate(belt.options | verbs(**options)), "belt")
        return open_driver(driver)

    belt.ask(set={"Run": True, "Speed": 9.0, "Count": 0, "Name": ""})
    return make


def test_a_verb_writes_its_nodes(belt, actuator):
    driver = actuator()
    driver.safe()
    assert (belt.ask(get="Run"), belt.ask(get="Speed")) == (False, 0)
    driver.apply("run", {})
    assert (belt.ask(get="Run"), belt.ask(get="Speed")) == (True, pytest.approx(1.1))
    driver.safe()
    driver.safe()
    assert belt.ask(get="Run") is False


def test_what_is_written_is_read_back(belt, actuator):
    driver = actuator(read_back=True)
    driver.apply("run", {})
    assert belt.ask(get="Speed") == pytest.approx(1.1)


def test_a_namespace_is_looked_up_by_its_uri(belt, actuator):
    node = {"node": "nsu=urn:reflexd:belt;s=Belt.Count", "type": "Int16"}
    safe = {"writes": [node | {"value": -5}]}
    driver = actuator(verbs={"stop": safe})
    driver.safe()
    assert belt.ask(get="Count") == -5
    with pytest.raises(DeviceFault, match="has no namespace 'urn:other', only http://opcfoundation"):
        actuator(verbs={"stop": {"writes": [node | {"node": "nsu=urn:other;s=Belt.Count", "value": 0}]}})


def test_a_method_is_called_with_arguments_of_the_command(belt, actuator):
    speed = {"type": "Float", "argument": "speed", "low": 0, "high": 2}
    go = {"call": {"object": "ns=2;s=Belt", "method": BELT + "Go", "arguments": [speed]}}
    stop = verbs()["verbs"]["stop"]
    driver = actuator(verbs={"go": go, "stop": stop})
    driver.safe()
    driver.apply("go", {"speed": 1.5})
    assert (belt.ask(get="Run"), belt.ask(get="Speed")) == (True, 1.5)
    for arguments, complaint in (
        ({}, "'speed' is missing"),
        ({"speed": 2.5}, "is 2.5, allowed is 0 to 2"),
        ({"speed": "fast"}, "Float is a number"),
        ({"speed": float("nan")}, "Float is a number"),
    ):
        with pytest.raises(DeviceFault, match=complaint):
            driver.apply("go", arguments)
    assert belt.ask(get="Speed") == 1.5


def test_a_refused_command_leaves_the_session_open_for_the_safe_state(belt, actuator):
    fixed = write("Fixed", 1.0, "Double")
    stop = {"writes": [write("Run", False, "Boolean")]}
    call = {"call": {"object": "ns=2;s=Belt", "method": BELT + "Go"}}
    driver = actuator(verbs={"stop": stop, "go": call})
    with pytest.raises(DeviceFault, match=r"Belt.Go: Bad"):
        driver.apply("go", {})
    with pytest.raises(DeviceFault, match="no verb 'fly', only stop, go"):
        driver.apply("fly", {})
    driver.safe()
    assert belt.ask(get="Run") is False
    driver = actuator(verbs={"stop": {"writes": [fixed]}})
    with pytest.raises(DeviceFault, match=r"Belt.Fixed: BadUserAccessDenied|Belt.Fixed: BadNotWritable"):
        driver.safe()


@pytest.mark.parametrize(
    "verb, complaint",
    [
        ({"writes": [write("Runn", False, "Boolean")]}, "ns=2;s=Belt.Runn: BadNodeIdUnknown"),
        ({"writes": [write("Go", False, "Boolean")]}, "Belt.Go is no Variable"),
        ({"call": {"object": "ns=2;s=Belt", "method": BELT + "Run"}}, "Belt.Run is no Method"),
        ({"call": {"object": BELT + "Run", "method": BELT + "Go"}}, "Belt.Run is no Object"),
    ],
)
def test_a_wrong_node_is_known_at_open(actuator, verb, complaint):
    with pytest.raises(DeviceFault, match=complaint):
        actuator(verbs={"stop": verb})


def test_a_wrong_type_is_refused_by_the_server(actuator):
    with pytest.raises(DeviceFault, match=r"Belt.Speed: BadTypeMismatch"):
        actuator(verbs={"stop": {"writes": [write("Speed", 0, "Double")]}}).safe()


def test_a_value_that_does_not_stay_is_a_fault(actuator, monkeypatch):
    driver = actuator(read_back=True)
    monkeypatch.setattr("drivers.actuator.opcua._as_sent", lambda value: 7)
    with pytest.raises(DeviceFault, match="Belt.Run was set to False and is False"):
        driver.safe()


def test_open_and_close_any_number_of_times(actuator):
    driver = actuator()
    driver.close()
    driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()
    for _ in range(5):
        driver.open()
        driver.safe()
    driver.close()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("opcua")], "no thread")


def test_the_channel_is_renewed_while_commands_are_sent(actuator, monkeypatch):
    renewed = []
    monkeypatch.setattr(session, "CHANNEL_MS", 200)
    driver = actuator(keepalive_ms=60_000)
    original = driver.session.client.open_secure_channel

    async def renew(renew=False):
        await original(renew)
        renewed.append(renew)

    driver.session.client.open_secure_channel = renew
    until(lambda: driver.safe() or len(renewed) >= 3, "three renewals")
    driver.safe()


def test_a_command_that_is_overdue_never_begins(belt, actuator):
    """The loop is held up while it is given, and released after its time limit."""
    driver, gate = actuator(timeout_ms=50), threading.Event()
    driver.safe()
    thread = driver.session.thread
    driver.session.loop.call_soon_threadsafe(gate.wait)
    with pytest.raises(DeviceTimeout, match="no answer within 50 ms while doing 'run'"):
        driver.apply("run", {})
    gate.set()
    driver.close()
    until(lambda: not thread.is_alive(), "the end of its thread")
    assert belt.ask(get="Run") is False
    driver.open()
    driver.apply("run", {})
    assert belt.ask(get="Run") is True
