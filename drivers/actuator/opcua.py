"""An OPC UA server, such as a PLC: a verb writes nodes or calls a method."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from pydantic import Field, model_validator

from agent.data import Arguments
from drivers.actuator._opcua_verbs import Call, Verb
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing
from drivers.links.opcua.driver import WithSession
from drivers.links.opcua.options import ServerOptions
from drivers.links.opcua.session import CLOSE_S, JOIN_S, Session

SLACK_MS = 50.0  # of this computer, beyond the time limits


class Options(ServerOptions):
    """The server, and the nodes of each verb."""

    verbs: dict[str, Verb] = Field(min_length=1, description="verb -> writes or call")
    safe: str = Field(description="the verb of the safe state; it has no arguments, and its writes cover every node")
    read_back: bool = Field(False, description="read what was written, and compare; within the same timeout_ms")
    timeout_ms: float = Field(100.0, ge=5, le=5000, description="time limit for a verb, its reading back included")
    open_ms: float = Field(
        500.0, ge=20, le=10_000, description="time limit for connecting; a small PLC takes a second for its RSA keys"
    )
    keepalive_ms: float = Field(1000.0, ge=50, le=60_000, description="how often an idle server is asked for its state")

    @model_validator(mode="after")
    def _safe(self) -> Options:
        if self.safe not in self.verbs:
            raise ValueError(f"safe: '{self.safe}' is not among the verbs: {', '.join(self.verbs)}")
        safe = self.verbs[self.safe]
        if any(value.argument for value in safe.values):
            raise ValueError(f"safe: '{self.safe}' must not need an argument")
        written = [write.node for verb in self.verbs.values() for write in verb.writes]
        missing = [node for node in written if node not in {write.node for write in safe.writes}]
        if safe.call is None and missing:
            raise ValueError(f"safe: '{self.safe}' does not write node {missing[0]}")
        return self

    def input_files(self) -> list[Path]:
        return [path for path in (self.server_certificate, self.certificate, self.key) if path]


class Driver(WithSession, Actuator):
    """Each verb is sent whole, once, and never repeated: what a server that hangs has received, it may do later."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.verbs = tuple(options.verbs)
        self.timeout_s = options.timeout_ms / 1e3
        closing_ms = 1e3 * (CLOSE_S + JOIN_S)  # an open that fails closes, too
        self.deadline_ms = SLACK_MS + closing_ms + max(options.timeout_ms, options.open_ms)
        self.ids: dict[str, ua.NodeId] = {}

    def open(self) -> None:
        self.close()
        end = time.monotonic() + self.options.open_ms / 1e3
        session = Session(self.options, self.options.keepalive_ms, lambda error: None)
        session.open(end - time.monotonic(), self.timeout_s)
        self.session = session
        try:
            kinds = dict(pair for verb in self.options.verbs.values() for pair in verb.nodes())
            self.ids = {name: session.node(name) for name in kinds}
            session.run(lambda: self._check_nodes(session, kinds), end - time.monotonic(), "looking its nodes up")
        except DeviceError:
            self.close()
            raise

    @property
    def lost(self) -> DeviceError | None:
        return self.session.lost if self.session else None

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.options.verbs:
            raise DeviceFault(f"{self.options.url}: no verb '{verb}', only {', '.join(self.verbs)}")
        if self.session is None:
            raise DeviceMissing(f"{self.options.url}: not open")
        action = self.options.verbs[verb]
        try:
            values = [value.variant(arguments) for value in action.values]
        except ValueError as error:
            raise DeviceFault(f"{self.options.url}: verb '{verb}': {error}") from error
        self.session.run(lambda: self._do(action, values), self.timeout_s, f"doing '{verb}'")

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    async def _check_nodes(self, session: Session, kinds: dict[str, ua.NodeClass]) -> None:
        """A node that is not there must be known now, not at the first stop."""
        read = await session.transport.read_attributes([self.ids[name] for name in kinds], AttributeIds.NodeClass)
        for name, result in zip(kinds, self._counted(read, len(kinds))):
            self._expect_good(name, result.StatusCode)
            if result.Value is None or result.Value.Value != kinds[name]:
                raise DeviceFault(f"{self.options.url}: node {name} is no {kinds[name].name}")

    async def _do(self, verb: Verb, values: list[ua.Variant]) -> None:
        assert self.session is not None, "checked by apply"
        if verb.call is not None:
            await self._call(self.session, verb.call, values)
            return
        await self._write(self.session, verb, values)
        if self.options.read_back:
            await self._compare(self.session, verb, values)

    async def _write(self, session: Session, verb: Verb, values: list[ua.Variant]) -> None:
        request = ua.WriteParameters(
            NodesToWrite=[
                # the value alone: many servers refuse to have its status or time written
                ua.WriteValue(self.ids[write.node], AttributeIds.Value, Value=ua.DataValue(value, StatusCode=None))
                for write, value in zip(verb.writes, values)
            ]
        )
        results = await session.transport.session.write(request)
        for write, status in zip(verb.writes, self._counted(results, len(values))):
            self._expect_good(write.node, status)

    async def _compare(self, session: Session, verb: Verb, values: list[ua.Variant]) -> None:
        nodes = [self.ids[write.node] for write in verb.writes]
        results = await session.transport.read_attributes(nodes, AttributeIds.Value)
        for write, sent, result in zip(verb.writes, values, self._counted(results, len(values))):
            self._expect_good(write.node, result.StatusCode)
            answer = result.Value.Value if result.Value is not None else None
            if answer != _as_sent(sent):
                raise DeviceFault(f"{self.options.url}: {write.node} was set to {sent.Value} and is {str(answer)[:50]}")

    async def _call(self, session: Session, call: Call, values: list[ua.Variant]) -> None:
        request = ua.CallMethodRequest(self.ids[call.object], self.ids[call.method], values)
        (result,) = self._counted(await session.transport.session.call([request]), 1)
        self._expect_good(call.method, result.StatusCode)

    def _counted(self, results: Sequence[Any] | None, count: int) -> Sequence[Any]:
        if results is None or len(results) != count:
            raise DeviceFault(f"{self.options.url}: {len(results or ())} results for {count} nodes")
        return results

    def _expect_good(self, node: str, status: ua.StatusCode | None) -> None:
        """Good and nothing less: GoodClamped is another value, GoodCompletesAsynchronously is not done yet."""
        if status is not None and status.value != StatusCodes.Good:
            raise DeviceFault(f"{self.options.url}: node {node}: {status.name}")


def _as_sent(value: ua.Variant) -> Any:
    """A Float has 24 bits on the wire."""
    if value.VariantType == ua.VariantType.Float:
        return struct.unpack("<f", struct.pack("<f", value.Value))[0]
    return value.Value
