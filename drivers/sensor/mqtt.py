"""Subscribes to topics of an MQTT 5 broker; each channel is a number in a message, stamped at arrival."""

from __future__ import annotations

import json
import math
import time
from typing import Annotated, Any, Literal

import numpy as np
from paho.mqtt.client import MQTTMessage
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import Field, StringConstraints, field_validator

from agent.data import Sample
from drivers.base import (
    DeviceError,
    DeviceFault,
    DeviceMissing,
    DeviceTimeout,
    DriverOptions,
    SensorStream,
    SourceOptions,
)
from drivers.links.mqtt import PACKETS, BrokerOptions, Connection, Topic

FLOAT32_MAX = float(np.finfo(np.float32).max)


class Channel(DriverOptions):
    """Where its number is."""

    name: str = Field(min_length=1, max_length=64)
    topic: Topic
    path: Annotated[str, StringConstraints(max_length=256)] = Field(
        "", description="keys and positions in a JSON payload, such as axis.0.speed; empty: the payload is the number"
    )
    scale: float = Field(1.0, description="the channel is the number times this")


class Options(BrokerOptions, SourceOptions):
    """The broker, the channels and their topics."""

    channels: list[Channel] = Field(min_length=1, max_length=64)
    rate_hz: float = Field(gt=0, le=10_000, description="messages a second, all topics together")
    qos: Literal[0, 1] = 0
    retained: Literal["ignore", "use"] = Field(
        "ignore", description="what the broker kept from before the subscription: its age is unknown"
    )
    max_payload: int = Field(4096, ge=1, le=1_000_000, description="bytes; a longer message counts as bad")
    bad_run: int = Field(20, ge=1, le=100_000, description="bad messages in a row before the topics count as faulty")
    keep_alive_s: int = Field(10, ge=1, le=600)

    @field_validator("channels")
    @classmethod
    def _named_once(cls, channels: list[Channel]) -> list[Channel]:
        if len({channel.name for channel in channels}) < len(channels):
            raise ValueError("two channels have the same name")
        return channels


class Driver(SensorStream):
    """Each good message makes a reading: its own channels new, the others as they last were.

    There is none before every topic has been heard, and a topic that is silent for timeout_ms is a timeout even where
    others go on: a value is never older than that. bad_messages: since open.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.channels = tuple(channel.name for channel in options.channels)
        self.rate_hz = options.rate_hz
        self.rows = np.zeros((PACKETS, len(self.channels)), np.float32)
        self.topics = sorted({channel.topic for channel in options.channels})
        self.broker = Connection(options, f"{name}-sensor", options.keep_alive_s, options.max_payload)
        self.broker.on_message = self._take
        self._reset()

    def _reset(self) -> None:
        now = time.monotonic_ns()
        self.heard = dict.fromkeys(self.topics, now)
        self.values: dict[str, float] = {}
        self.readings: list[list[float]] = []
        self.t_received = now
        self.sequence = -1
        self.bad_messages = self.bad_run = 0

    def open(self) -> None:
        self.close()
        until = time.monotonic() + self.options.connect_ms / 1e3
        self.broker.open(until)
        self._reset()
        handling = SubscribeOptions.RETAIN_DO_NOT_SEND
        if self.options.retained == "use":
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
        wanted = SubscribeOptions(qos=self.options.qos, retainHandling=handling)
        try:
            self.broker.subscribe([(topic, wanted) for topic in self.topics], until)
        except DeviceError:
            self.close()
            raise

    def read(self, wait_s: float) -> Sample | None:
        now = time.monotonic()
        oldest = min(self.heard.values()) / 1e9 + self.options.timeout_ms / 1e3
        until = min(now + wait_s, oldest)
        self._receive(max(0.0, until - now))
        while not self.readings and time.monotonic() < until:
            self._receive(until - time.monotonic())
        self._judge()
        return self._sample() if self.readings else None

    def close(self) -> None:
        self.broker.close(in_order=True)

    def _receive(self, wait_s: float) -> None:
        """What has arrived, up to a limit: a broker that is faster than this reader keeps it from nothing."""
        if self.broker.client is None:
            raise DeviceMissing(f"{self.broker.place}: not open")
        try:
            for _ in range(PACKETS):
                if not self.broker.step(0.0 if self.readings else max(0.0, wait_s)):
                    return
                wait_s = 0.0
        except DeviceMissing:
            if not self.readings:
                raise  # the last readings are still valid; the next read reports the broker as gone

    def _judge(self) -> None:
        if self.bad_run > self.options.bad_run:
            raise DeviceFault(
                f"{self.broker.place}: {self.bad_run} bad messages in a row, the last of {self.last_bad}: "
                "check path and max_payload"
            )
        timeout = time.monotonic_ns() - int(self.options.timeout_ms * 1e6)
        silent = [topic for topic in self.topics if self.heard[topic] <= timeout]
        if silent:
            raise DeviceTimeout(
                f"{self.broker.place}: no good message of {silent[0]} for {self.options.timeout_ms:g} ms, "
                f"{self.bad_messages} bad ones since open"
            )

    def _sample(self) -> Sample:
        newest = self.readings[-PACKETS:]
        skipped = len(self.readings) - len(newest)
        self.readings = []
        payload = self.rows[: len(newest)]
        payload[:] = newest
        return Sample(self.name, self.sequence, self.t_received, payload, skipped)

    def _take(self, message: MQTTMessage) -> None:
        """Called by paho for each message."""
        now = time.monotonic_ns()
        if message.retain and self.options.retained == "ignore":
            return
        topic = message.topic
        try:
            if topic not in self.heard:
                raise ValueError("not subscribed to")
            self.values |= self._read(topic, message.payload)
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
            self.bad_messages, self.bad_run, self.last_bad = self.bad_messages + 1, self.bad_run + 1, topic[:100]
            return
        self.bad_run = 0
        self.heard[topic] = self.t_received = now
        if len(self.values) == len(self.channels):
            self.sequence += 1
            self.readings.append([self.values[name] for name in self.channels])

    def _read(self, topic: str, payload: bytes | bytearray) -> dict[str, float]:
        """The topic's channels, all or none. Raises ValueError and others for a bad payload."""
        if len(payload) > self.options.max_payload:
            raise ValueError("too long")
        document = json.loads(payload)
        own = [channel for channel in self.options.channels if channel.topic == topic]
        return {channel.name: number(document, channel.path, channel.scale) for channel in own}


def number(document: Any, path: str, scale: float) -> float:
    """The number at this path of a JSON document; true is 1. Raises ValueError and others where there is none."""
    for key in path.split(".") if path else ():
        document = document[int(key)] if isinstance(document, list) else document[key]
    if not isinstance(document, (bool, int, float)):
        raise TypeError("not a number")
    value = float(document) * scale
    if not math.isfinite(value) or abs(value) > FLOAT32_MAX:
        raise ValueError("not a finite number")
    return value
