"""What a verb does to an OPC UA server: values into nodes, or one call of a method; pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from asyncua import ua
from pydantic import Field, model_validator

from agent.data import Arguments, Scalar
from drivers.links.opcua.options import NodeName
from drivers.options import DriverOptions

Integer = Literal["SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64"]
Kind = Literal[Integer, "Boolean", "Float", "Double", "String"]
FLOAT_MAX = 3.4028234663852886e38
MAX_TEXT = 1000
# OPC 10000-6, 5.2.2.2: the smallest and the largest number of each type
INTEGERS = {
    f"{sign}{name}": (0, 2**bits - 1) if sign == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for name, bits in (("Int16", 16), ("Int32", 32), ("Int64", 64))
    for sign in ("", "U")
} | {"Byte": (0, 255), "SByte": (-128, 127)}


class Value(DriverOptions):
    """A constant, or an argument of the command with its limits."""

    type: Kind = Field(description="of the node or the method's argument, as the server declares it")
    value: Scalar | None = Field(None, description="the constant")
    argument: str = Field("", max_length=100, description="name of the command's argument, instead of value")
    low: float | None = Field(None, description="smallest number allowed for the argument")
    high: float | None = Field(None, description="largest number allowed for the argument")

    @model_validator(mode="after")
    def _source(self) -> Value:
        if (self.value is None) != bool(self.argument):
            raise ValueError("give a value, or the name of an argument")
        number = self.type not in ("Boolean", "String")
        limits = (self.low is not None) + (self.high is not None)
        if limits != (2 if self.argument and number else 0):
            raise ValueError("an argument that is a number needs low and high; nothing else has them")
        if self.low is not None and self.high is not None:
            if typed(self.type, self.low) > typed(self.type, self.high):
                raise ValueError("low is above high")
        if self.value is not None:
            typed(self.type, self.value)
        return self

    def variant(self, arguments: Arguments) -> ua.Variant:
        """Raises ValueError where the argument is missing, of another type, or outside its limits."""
        value = self.value
        if self.argument:
            if self.argument not in arguments:
                raise ValueError(f"argument '{self.argument}' is missing")
            value = arguments[self.argument]
        try:
            converted = typed(self.type, value)
        except ValueError as error:
            raise ValueError(f"argument '{self.argument}': {error}") from error
        if self.low is not None and self.high is not None and not self.low <= converted <= self.high:
            raise ValueError(f"argument '{self.argument}' is {converted:g}, allowed is {self.low:g} to {self.high:g}")
        return ua.Variant(converted, getattr(ua.VariantType, self.type))


class Write(Value):
    """A value for a node."""

    node: NodeName


class Call(DriverOptions):
    """A method of an object."""

    object: NodeName
    method: NodeName
    arguments: list[Value] = Field([], max_length=50, description="in the order that the method declares")


class Verb(DriverOptions):
    """Either writes, all in one request, or one call."""

    writes: list[Write] = Field([], max_length=100)
    call: Call | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Verb:
        if bool(self.writes) == (self.call is not None):
            raise ValueError("a verb needs writes, or a call, and not both")
        nodes = [write.node for write in self.writes]
        if len(set(nodes)) < len(nodes):
            raise ValueError("a node is written twice")
        return self

    @property
    def values(self) -> list[Value]:
        return [*self.writes] if self.call is None else self.call.arguments

    def nodes(self) -> Iterator[tuple[str, ua.NodeClass]]:
        """Every node that it needs, and what kind of node it must be."""
        for write in self.writes:
            yield write.node, ua.NodeClass.Variable
        if self.call is not None:
            yield self.call.object, ua.NodeClass.Object
            yield self.call.method, ua.NodeClass.Method


def typed(kind: str, value: Any) -> Any:
    """The value as this type. Raises ValueError where that would change it, Float's last digits excepted."""
    if kind in ("Boolean", "String"):
        if not isinstance(value, bool if kind == "Boolean" else str) or len(str(value)) > MAX_TEXT:
            raise ValueError(f"{kind} is {'true or false' if kind == 'Boolean' else f'a text of up to {MAX_TEXT}'}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{kind} is a number")
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        if value != int(value) or not low <= value <= high:
            raise ValueError(f"{kind} is a whole number, {low} to {high}")
        return int(value)
    if kind == "Float" and abs(value) > FLOAT_MAX:
        raise ValueError(f"Float is at most {FLOAT_MAX:g}")
    return float(value)
