"""Publishes a message for each verb to an MQTT 5 broker; the last will is the safe state."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from agent.data import Arguments
from drivers.actuator import _home_assistant
from drivers.actuator._home_assistant import Discovery
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing, DriverOptions
from drivers.links.mqtt import BrokerOptions, Connection, Message, Topic

SLACK_MS = 50.0  # of this computer, beyond the time limits
NO_SUBSCRIBER = 0x10  # MQTT 5, 3.4.2.1: accepted, and delivered to nobody

Payload = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class Publication(DriverOptions):
    """What a verb publishes."""

    topic: Topic
    payload: Payload


class Options(BrokerOptions):
    """The broker, and the message of each verb."""

    topic: Topic | None = Field(None, description="of the verbs that name none themselves")
    messages: dict[str, Payload | Publication] = Field(
        min_length=1, description="verb -> payload, or {topic, payload}; exactly one, as there is one last will"
    )
    safe: str = Field(description="the verb of the safe state, also the last will")
    timeout_ms: float = Field(100.0, gt=0, le=5000, description="time limit for the broker's acknowledgement")
    expiry_s: int = Field(1, ge=1, le=3600, description="the broker delivers no older command, except the safe one")
    subscriber_required: bool = Field(True, description="a command that nobody subscribes to is a fault")
    keep_alive_s: int = Field(2, ge=1, le=60, description="the broker publishes the will 1.5 times this after a cut")
    state_topic: Topic | None = Field(None, description="the verb last accepted, retained")
    discovery: Discovery | None = Field(None, description="announces it to Home Assistant")

    @model_validator(mode="after")
    def _complete(self) -> Options:
        if self.safe not in self.messages:
            raise ValueError(f"safe: '{self.safe}' is not among the messages' verbs: {', '.join(self.messages)}")
        if self.topic is None and not all(isinstance(message, Publication) for message in self.messages.values()):
            raise ValueError("topic: missing, for the messages that are only a payload")
        if self.state_topic in self.topics:
            raise ValueError("state_topic: is also a topic of commands")
        if self.discovery and (self.state_topic is None or len(self.topics) > 1 or len(self.messages) < 2):
            raise ValueError("discovery: needs a state_topic, and two verbs or more with one topic")
        return self

    def publication(self, verb: str) -> Publication:
        message = self.messages[verb]
        if isinstance(message, Publication):
            return message
        assert self.topic is not None  # checked above
        return Publication.model_construct(topic=self.topic, payload=message)

    @property
    def topics(self) -> set[str]:
        return {self.publication(verb).topic for verb in self.messages}

    def exclusive_device(self) -> str:
        return f"mqtt:{self.host}:{self.port}/{self.publication(self.safe).topic}"


class Driver(Actuator):
    """Success means that the broker has accepted the command, not that the device has carried it out.

    The client id is always the same, and a broker ends the old connection before it answers the new one (MQTT 5,
    3.1.4): what an old one still had under way is never executed after what the new one sends.
    A second connection has the state's topic, and as its will the safe state there.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.verbs = tuple(options.messages)
        self.commands = Connection(options, f"{name}-actuator", options.keep_alive_s)
        self.commands.will = self._command(options.safe)
        self.connections = [self.commands]
        if options.state_topic:
            self.states = Connection(options, f"{name}-state", options.keep_alive_s)
            self.states.will = self._state(options.safe)
            self.connections.append(self.states)
        self.timeout_s, self.connect_s = options.timeout_ms / 1e3, options.connect_ms / 1e3
        self.deadline_ms = SLACK_MS + max(options.timeout_ms, options.connect_ms)
        self.at_rest = False

    def open(self) -> None:
        self.close()
        until = time.monotonic() + self.connect_s
        try:
            for connection in self.connections:
                connection.open(until)
            if self.options.discovery:
                self.states.publish(self._discovery(), until)
        except DeviceError:
            self.close()
            raise
        for connection in self.connections:
            connection.keep_alive()

    @property
    def lost(self) -> DeviceError | None:
        return next((connection.lost for connection in self.connections if connection.lost), None)

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.options.messages:
            raise DeviceFault(f"{self.commands.place}: no verb '{verb}', only {', '.join(self.verbs)}")
        until = time.monotonic() + self.timeout_s
        self.at_rest = False
        command = self._command(verb)
        reason = self.commands.publish(command, until)
        if self.options.state_topic:
            self.states.publish(self._state(verb), until)
        if reason == NO_SUBSCRIBER and self.options.subscriber_required:
            raise DeviceMissing(f"{self.commands.place}: nobody subscribes to {command.topic}: is the device running?")
        self.at_rest = verb == self.options.safe

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    def close(self) -> None:
        """After anything but the safe state the broker publishes the wills."""
        for connection in self.connections:
            connection.close(in_order=self.at_rest)
        self.at_rest = False

    def _command(self, verb: str) -> Message:
        publication = self.options.publication(verb)
        expiry_s = 0 if verb == self.options.safe else self.options.expiry_s
        return Message(publication.topic, publication.payload.encode(), expiry_s=expiry_s)

    def _state(self, verb: str) -> Message:
        return Message(self.options.state_topic, verb.encode(), retain=True)

    def _discovery(self) -> Message:
        options = self.options
        payloads = {verb: options.publication(verb).payload for verb in options.messages}
        (topic,) = options.topics
        body = _home_assistant.configuration(options.discovery, payloads, options.safe, topic, options.state_topic)
        return Message(_home_assistant.topic(options.discovery, payloads), body, retain=True)
