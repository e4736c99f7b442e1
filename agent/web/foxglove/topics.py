"""Foxglove's topics of this program: their names, schemas, and a channel that costs nothing while nobody subscribes."""

from __future__ import annotations

from typing import Any

from foxglove import Channel, Context, Schema
from foxglove.messages import CompressedImage, ImageAnnotations

NUMBER, TEXT, WHOLE = {"type": "number"}, {"type": "string"}, {"type": "integer"}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


EVIDENCE = {
    "title": "reflexd.Evidence",
    **_object(
        sequence=WHOLE,
        evidence=_list(_object(label=TEXT, score=NUMBER, box=_list(NUMBER), mark=TEXT)),
        times=_object(prepare_ms=NUMBER, infer_ms=NUMBER, decide_ms=NUMBER),
    ),
}
SOUND = {"title": "reflexd.Sound", **_object(level=NUMBER, peak=NUMBER)}
# Foxglove's log panel knows messages by this name: message and name are for it, the others for tables and plots.
DECISION = {
    "title": "foxglove.Log",
    **_object(
        timestamp=_object(sec=WHOLE, nsec=WHOLE),
        level=WHOLE,
        name=TEXT,
        message=TEXT,
        number=WHOLE,
        lane=TEXT,
        rule=TEXT,
        actuator=TEXT,
        verb=TEXT,
        dropped=TEXT,
        explanation=TEXT,
    ),
}
LEDGER = {
    "title": "reflexd.Ledger",
    **_object(
        lanes=_list(
            _object(name=TEXT, state=TEXT, rate_hz=NUMBER, p50_ms=NUMBER, p99_ms=NUMBER, drops=WHOLE, reasons=TEXT)
        )
    ),
}


def readings(channels: tuple[str, ...]) -> dict[str, Any]:
    """Of a sensor: a field for each of its channels; one that is not a number is left out of a message."""
    return {"title": "reflexd.Readings", "type": "object", "properties": dict.fromkeys(channels, NUMBER)}


def picture(context: Context, topic: str) -> Channel:
    return _of_schema(context, topic, CompressedImage.get_schema())


def boxes(context: Context, topic: str) -> Channel:
    return _of_schema(context, topic, ImageAnnotations.get_schema())


def json(context: Context, topic: str, schema: dict[str, Any]) -> Channel:
    return Channel(topic, schema=schema, context=context)


def _of_schema(context: Context, topic: str, schema: Schema) -> Channel:
    return Channel(topic, schema=schema, message_encoding="protobuf", context=context)
