"""Nodes of an OPC UA server as a sensor: subscribed to, or read at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from pydantic import Field, model_validator

from agent.data import Sample
from drivers.base import DeviceError, DeviceFault, DeviceTimeout, SensorStream, SourceOptions
from drivers.links.opcua.driver import WithSession
from drivers.links.opcua.options import NodeName, ServerOptions
from drivers.links.opcua.session import Session
from drivers.options import DriverOptions
from drivers.sensor._opcua_feed import KEPT, Inbox, Readings, Signal

KEEPALIVE_MS = 1000.0
ORPHAN_S = 10.0  # after which a server drops the subscription of a client that asks for nothing more
SLOWER = 1.2  # than asked for, and no longer the same rate
SEQUENCES = 1 << 32  # OPC 10000-4, NotificationMessage: after 2^32 - 1 comes 1


class Channel(DriverOptions):
    """A node whose value is a number."""

    name: str = Field(min_length=1, max_length=100)
    node: NodeName
    scale: float = Field(1.0, ge=-1e30, le=1e30)
    offset: float = Field(0.0, ge=-1e30, le=1e30)


class Options(ServerOptions, SourceOptions):
    """The server and its nodes."""

    channels: list[Channel] = Field(min_length=1, max_length=256)
    rate_hz: float = Field(10.0, gt=0, le=1000, description="readings a second: the publishing interval, or the polls")
    mode: Literal["subscribe", "poll"] = Field(
        "subscribe", description="subscribe: the server sends changes, and says so where there is none"
    )
    max_age_ms: float = Field(
        0.0, ge=0, le=600_000, description="a source time stamp must change within it, on whatever clock; 0: need not"
    )
    accept_uncertain: bool = Field(False, description="true: use values that the server calls uncertain")
    open_ms: float = Field(5000.0, ge=50, le=60_000, description="time limit for connecting")

    @model_validator(mode="after")
    def _names(self) -> Options:
        names = [channel.name for channel in self.channels]
        if len(set(names)) < len(names):
            raise ValueError("two channels have the same name")
        return self


class Driver(WithSession, SensorStream):
    """One row per answer of the server, stamped at its arrival: the server's time stamps are of another clock.

    A subscription without changes is kept alive by the server once per publishing interval, and the values repeat.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.channels = tuple(channel.name for channel in options.channels)
        self.rate_hz = options.rate_hz
        self.signals = [Signal(**channel.model_dump()) for channel in options.channels]
        self.rows = np.zeros((KEPT, len(self.signals)), np.float32)
        self.inbox = Inbox()

    def open(self) -> None:
        self.close()
        o, end = self.options, time.monotonic() + self.options.open_ms / 1e3
        inbox, self.sequence = Inbox(), -1
        session = Session(o, KEEPALIVE_MS, inbox.fail)
        session.open(end - time.monotonic(), o.timeout_ms / 1e3)
        self.session, self.inbox = session, inbox
        feed = Feed(session, inbox, Readings(o.url, self.signals, o.max_age_ms, o.accept_uncertain), o)
        try:
            nodes = [session.node(signal.node) for signal in self.signals]
            if o.mode == "subscribe":
                session.run(lambda: feed.subscribe(nodes), end - time.monotonic(), "subscribing")
            else:
                session.spawn(lambda: feed.poll(nodes))
        except DeviceError:
            self.close()
            raise
        with inbox.changed:
            inbox.t_newest = time.monotonic_ns()

    def read(self, wait_s: float) -> Sample | None:
        timeout_s = self.options.timeout_ms / 1e3
        left_s = self.inbox.t_newest / 1e9 + timeout_s - time.monotonic()
        batch = self.inbox.take(min(wait_s, left_s))
        if batch is None:
            if left_s <= wait_s:
                raise DeviceTimeout(
                    f"{self.options.url}: nothing from the server for {self.options.timeout_ms:g} ms,"
                    " not even that nothing has changed"
                )
            return None
        payload = self.rows[: len(batch.rows)]
        payload[:] = batch.rows
        self.sequence += batch.passed
        return Sample(self.name, self.sequence, batch.t_newest, payload, batch.skipped)


class Feed:
    """Runs in the session's loop: fills the inbox until an error ends it."""

    def __init__(self, session: Session, inbox: Inbox, readings: Readings, options: Options) -> None:
        self.session, self.inbox, self.readings, self.options = session, inbox, readings, options
        self.period_s = 1 / options.rate_hz
        self.next_number = 0

    async def poll(self, nodes: list[ua.NodeId]) -> None:
        """One request at a time; a reading that one which took too long has displaced counts as lost."""
        asked = [ua.ReadValueId(node, AttributeIds.Value) for node in nodes]
        request = ua.ReadParameters(MaxAge=0, TimestampsToReturn=ua.TimestampsToReturn.Source, NodesToRead=asked)
        due = time.monotonic()
        while True:
            await asyncio.sleep(due - time.monotonic())
            values = await self.session.transport.session.read(request)
            now = time.monotonic_ns()
            if len(values or ()) != len(nodes):
                raise DeviceFault(f"{self.options.url}: {len(values or ())} values for {len(nodes)} nodes")
            for number, value in enumerate(values):
                self.readings.update(number, value, now)
            missed = max(0, int((now / 1e9 - due) / self.period_s))
            due += (missed + 1) * self.period_s
            self.inbox.put(self.readings.row(now), now, missed)

    async def subscribe(self, nodes: list[ua.NodeId]) -> None:
        """With a keep-alive count of 1 the server answers once per interval, also where nothing has changed."""
        interval_ms = 1e3 * self.period_s
        transport = self.session.transport
        granted = await transport.create_subscription(
            ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=interval_ms,
                RequestedLifetimeCount=max(3, int(1e3 * ORPHAN_S / interval_ms)),
                RequestedMaxKeepAliveCount=1,
                PublishingEnabled=True,
            ),
            self._published,
        )
        self._check_rate("publishes", granted.RevisedPublishingInterval)
        if granted.RevisedPublishingInterval * granted.RevisedMaxKeepAliveCount >= self.options.timeout_ms:
            raise DeviceFault(
                f"{self.options.url}: is silent for {granted.RevisedMaxKeepAliveCount} intervals where nothing"
                " changes: raise timeout_ms, or use mode: poll"
            )
        items = ua.CreateMonitoredItemsParameters(
            SubscriptionId=granted.SubscriptionId,
            TimestampsToReturn=ua.TimestampsToReturn.Source,
            ItemsToCreate=[self._item(number, node) for number, node in enumerate(nodes)],
        )
        results = await transport.session.create_monitored_items(items)
        for signal, result in zip(self.readings.signals, results):
            if not result.StatusCode.is_good():
                raise DeviceFault(f"{self.options.url}: node {signal.node}: {result.StatusCode.name}")
            self._check_rate(f"samples {signal.node}", result.RevisedSamplingInterval)

    def _item(self, number: int, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
        # a source that repeats its value changes its time stamp; by default that is not reported
        trigger = ua.DataChangeTrigger.StatusValueTimestamp if self.options.max_age_ms else None
        parameters = ua.MonitoringParameters(
            ClientHandle=ua.IntegerId(number),
            SamplingInterval=1e3 * self.period_s,
            Filter=ua.DataChangeFilter(trigger) if trigger is not None else None,
            QueueSize=ua.Counter(1),
            DiscardOldest=True,
        )
        return ua.MonitoredItemCreateRequest(
            ua.ReadValueId(node, AttributeIds.Value), ua.MonitoringMode.Reporting, parameters
        )

    def _check_rate(self, what: str, interval_ms: float) -> None:
        if interval_ms > SLOWER * 1e3 * self.period_s:
            raise DeviceFault(f"{self.options.url}: {what} every {interval_ms:g} ms at best: lower rate_hz")

    def _published(self, result: ua.PublishResult) -> None:
        now = time.monotonic_ns()
        message = result.NotificationMessage
        try:
            for notification in message.NotificationData or []:
                self._take(notification, now)
            row = self.readings.row(now)
            if row and not result.MoreNotifications:
                self.inbox.put(row, now, self._lost(message))
        except DeviceError as error:
            self.inbox.fail(error)
        except Exception as error:  # whatever else a server puts into a notification
            self.inbox.fail(DeviceFault(f"{self.options.url}: invalid notification: {type(error).__name__}"))

    def _take(self, notification: Any, now: int) -> None:
        if isinstance(notification, ua.StatusChangeNotification):
            raise DeviceFault(f"{self.options.url}: ended the subscription: {notification.Status.name}")
        if isinstance(notification, ua.DataChangeNotification):
            for item in notification.MonitoredItems:
                self.readings.update(int(item.ClientHandle), item.Value, now)

    def _lost(self, message: ua.NotificationMessage) -> int:
        """Messages that did not arrive; a keep-alive has the number of the message that comes next."""
        number, expected = int(message.SequenceNumber), self.next_number
        self.next_number = number + bool(message.NotificationData)
        return (number - expected) % SEQUENCES if expected and number > expected else 0
