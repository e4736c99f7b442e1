"""sensor.opcua against asyncua's server in a process of its own."""

import threading

import pytest

pytest.importorskip("asyncua", reason="needs asyncua: pip install 'reflexd[opcua]'")

from asyncua import ua

from agent.benches.io import opcua
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.sensor._opcua_feed import KEPT, Inbox, Readings, Signal
from drivers.sensor.opcua import Driver, Feed, Options
from tests.opcua_peers import BELT, peer
from tests.waiting import until

BAD_SENSOR, UNCERTAIN = 0x808C0000, 0x40000000
CHANNELS = [
    {"name": "speed", "node": BELT + "Speed"},
    {"name": "count", "node": "nsu=urn:reflexd:belt;s=Belt.Count", "scale": 2, "offset": 1},
]
modes = pytest.mark.parametrize("mode", ["subscribe", "poll"])


@pytest.fixture(scope="module")
def belt():
    with opcua.counterpart() as counterpart:
        yield counterpart


@pytest.fixture
def opened(belt, open_driver):
    def make(url=belt.options["url"], **options):
        base = {"security": "none", "channels": CHANNELS, "rate_hz": 50, "timeout_ms": 60_000}
        driver = Driver(Options.model_validate(base | {"url": url} | options), "belt")
        return open_driver(driver)

    belt.ask(set={"Speed": 0.5, "Count": 1, "Run": False, "Name": "x"})
    return make


def outcome(driver):
    """The error that reading ends with."""
    with pytest.raises(DeviceError) as caught:
        until(lambda: driver.read(0.05) and False, "an error")
    return caught.value


def row(driver):
    sample = until(lambda: driver.read(0.5), "a sample")
    return sample.payload[-1].tolist()


@modes
def test_values_arrive_and_repeat_where_nothing_changes(belt, opened, mode):
    driver = opened(mode=mode)
    assert row(driver) == [0.5, 3]
    rows = [row(driver) for _ in range(5)]
    assert rows == [[0.5, 3]] * 5
    belt.ask(set={"Speed": 2.5})
    until(lambda: row(driver) == [2.5, 3], "the change of one channel")
    belt.ask(set={"Count": -4})
    until(lambda: row(driver) == [2.5, -7], "the change of the other")


@modes
def test_every_reading_is_accounted_for_and_stamped_by_this_clock(opened, mode):
    driver, before, last = opened(mode=mode), -1, 0
    for _ in range(20):
        sample = until(lambda: driver.read(0.5), "a sample")
        assert sample.sequence - before >= len(sample.payload) + sample.skipped
        assert sample.t_capture > last
        before, last = sample.sequence, sample.t_capture
    driver.close()
    driver.open()
    assert until(lambda: driver.read(0.5), "a sample").sequence < 10


@modes
@pytest.mark.parametrize(
    "name, code, complaint", [("Speed", BAD_SENSOR, "channel speed .*BadSensorFailure"), ("Count", UNCERTAIN, "count")]
)
def test_a_bad_or_uncertain_status_is_a_fault_until_it_is_good_again(belt, opened, mode, name, code, complaint):
    driver = opened(mode=mode)
    row(driver)
    belt.ask(status={name: code})
    error = outcome(driver)
    assert isinstance(error, DeviceFault)
    with pytest.raises(DeviceFault, match=complaint):
        driver.read(0)
    driver.open()
    assert isinstance(outcome(driver), DeviceFault)
    belt.ask(set={"Speed": 0.25, "Count": 1})
    driver.open()
    assert row(driver) == [0.25, 3]


def test_an_uncertain_value_may_be_accepted(belt, opened):
    belt.ask(status={"Count": UNCERTAIN})
    assert row(opened(accept_uncertain=True)) == [0.5, 3]
    belt.ask(status={"Count": BAD_SENSOR})
    assert isinstance(outcome(opened(accept_uncertain=True)), DeviceFault)


@modes
def test_a_source_that_makes_no_new_value(belt, opened, mode):
    """The value stays the same: only its source time stamp tells."""
    driver, stop = opened(mode=mode, max_age_ms=400), threading.Event()

    def refresh():
        while not stop.wait(0.02):
            belt.ask(set={"Speed": 0.5, "Count": 1})

    thread = threading.Thread(target=refresh)
    thread.start()
    try:
        driver.open()
        start = row(driver) and driver.sequence
        until(lambda: row(driver) and driver.sequence > start + 50, "a second of repeated values")
    finally:
        stop.set()
        thread.join()
    error = outcome(driver)
    assert isinstance(error, DeviceTimeout) and "its source has made no new value for 400 ms" in str(error)


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"channels": [{"name": "a", "node": BELT + "None"}]}, "Belt.None.*BadNodeIdUnknown"),
        ({"channels": [{"name": "a", "node": BELT + "Name"}]}, "is str, not a number"),
        ({"channels": [{"name": "a", "node": "nsu=urn:none;i=1"}]}, "no namespace 'urn:none'"),
        ({"channels": [{"name": "a", "node": BELT + "Speed", "scale": 1e30, "offset": 1e30}]}, ""),
    ],
)
@modes
def test_a_channel_that_is_no_number(belt, opened, mode, options, complaint):
    if not complaint:
        belt.ask(set={"Speed": 1e38})
        complaint = "not a finite number"
    with pytest.raises(DeviceFault, match=complaint):
        driver = opened(mode=mode, **options)
        raise outcome(driver)


def test_a_subscription_that_dies_silently(opened):
    """The connection and the session stay; only the answers to the subscription end."""
    driver = opened(timeout_ms=500)
    row(driver)
    transport = driver.session.transport
    (number,) = transport.session._subscription_callbacks
    driver.session.run(lambda: transport.session.delete_subscriptions([number]), 10.0, "ending the subscription")
    error = outcome(driver)
    assert isinstance(error, DeviceTimeout) and "not even that nothing has changed" in str(error)
    driver.open()
    assert row(driver) == [0.5, 3]


@modes
@pytest.mark.slow
def test_a_server_that_hangs_ends_and_returns(mode, opened):
    with opcua.counterpart() as belt:
        driver = opened(belt.options["url"], mode=mode, timeout_ms=1000)
        row(driver)
        belt.pause()
        assert isinstance(outcome(driver), DeviceTimeout)
        driver.close()
        belt.resume()
        driver.open()
        row(driver)
        belt.stop()
        assert isinstance(outcome(driver), DeviceMissing)
        with pytest.raises(DeviceMissing, match="is the server on"):
            driver.open()
        with opcua.counterpart(port=belt.port):
            driver.open()
            row(driver)
            driver.close()


def test_peers_that_are_no_server(opened):
    with peer(b"HTTP/1.1 200 OK\r\n\r\n") as url, pytest.raises(DeviceFault, match="is it an OPC UA server"):
        opened(url)
    with peer() as url, pytest.raises(DeviceTimeout, match="greeting"):
        opened(url, open_ms=100)
    until(lambda: not [each for each in threading.enumerate() if each.name.startswith("opcua")], "no thread")


def test_a_rate_that_the_server_does_not_keep(opened, monkeypatch):
    monkeypatch.setattr("drivers.sensor.opcua.SLOWER", 0.5)
    with pytest.raises(DeviceFault, match="publishes every 20 ms at best: lower rate_hz"):
        opened()


def test_waiting_rows_are_bounded_and_counted():
    inbox = Inbox()
    for number in range(KEPT + 10):
        inbox.put([float(number)], number, lost=1)
    batch = inbox.take(0)
    assert (len(batch.rows), batch.skipped, batch.passed) == (KEPT, 10, 2 * (KEPT + 10))
    assert inbox.take(0) is None
    inbox.put([1.0], 1)
    inbox.fail(DeviceMissing("gone"))
    assert inbox.take(0).rows == [[1.0]]
    with pytest.raises(DeviceMissing, match="gone"):
        inbox.take(60)


def readings(**options):
    return Readings("plc", [Signal("a", "i=1"), Signal("b", "i=2")], options.get("max_age_ms", 0), False)


def test_a_row_needs_every_channel_and_a_stamp_where_age_matters():
    values = readings()
    values.update(0, ua.DataValue(ua.Variant(1.0)), 5)
    assert values.row(5) == []
    values.update(1, ua.DataValue(ua.Variant(True)), 6)
    assert values.row(6) == [1.0, 1.0]
    with pytest.raises(DeviceFault, match="not asked for"):
        values.update(2, ua.DataValue(ua.Variant(1.0)), 7)
    with pytest.raises(DeviceFault, match="is list, not a number"):
        values.update(0, ua.DataValue(ua.Variant([1.0])), 7)
    with pytest.raises(DeviceFault, match="no source time stamp"):
        readings(max_age_ms=5).update(0, ua.DataValue(ua.Variant(1.0)), 5)


def test_a_gap_in_the_numbers_of_messages_is_lost_and_a_keep_alive_is_none():
    feed = Feed.__new__(Feed)
    feed.next_number = 0
    sent = [(1, True), (2, True), (3, False), (3, True), (6, True), (7, False), (1, True)]
    messages = [ua.NotificationMessage(number, NotificationData=[1] if data else []) for number, data in sent]
    assert [feed._lost(message) for message in messages] == [0, 0, 0, 0, 2, 0, 0]
