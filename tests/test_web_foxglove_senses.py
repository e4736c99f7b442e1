"""Foxglove: the skeletons of a pose network, and sound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent.benches.programs import free_port
from agent.web.foxglove import library
from tests.foxglove_client import Client, fields
from tests.processes import Cell

pytestmark = pytest.mark.slow
LINE_LIST = 4  # of foxglove.PointsAnnotation
SCREAM = {"kind": "scream", "at_s": 0.0, "for_s": 1.0, "level": 0.5}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a box with a pose network and a microphone in which somebody screams half of the time."""
    if not library.installed():
        pytest.skip(library.MISSING)
    gate = {"driver": "camera.sim", "width": 640, "height": 480, "fps": 5, "seed": 3, "timeout_ms": 2000}
    hall = {"driver": "audio.sim", "sounds": [SCREAM], "every_s": 2.0, "timeout_ms": 2000}
    lanes = {"gate": {"source": gate, "model": "movenet"}, "hall": {"source": hall, "model": "yamnet"}}
    with Cell(tmp_path_factory.mktemp("senses"), lanes) as cell:
        number = free_port()
        cell.config.update({"actuators": {}, "rules": {}, "web": {"foxglove": number}})
        cell.run().wait_for("Foxglove is served at")
        yield number


def test_the_bones_of_a_skeleton_lie_on_the_person_it_belongs_to(port: int) -> None:
    client = Client(port)
    asyncio.run(client.run(("/gate/boxes", "/gate/evidence"), lambda: _skeleton_drawn(client)))
    ends, (left, top, right, bottom) = _skeleton_drawn(client)
    assert len(ends) % 2 == 0  # both of each bone
    assert all(left - 1 <= x <= right + 1 and top - 1 <= y <= bottom + 1 for x, y in ends)


def _skeleton_drawn(client: Client) -> Any:
    """(ends of bones, box of the person) in pixels, of a moment at which both are sent."""
    evidence = {log_time: json.loads(body)["evidence"] for log_time, body in client.messages.get("/gate/evidence", [])}
    for log_time, message in client.messages.get("/gate/boxes", []):
        person = next((item for item in evidence.get(log_time, []) if "box" in item), None)
        drawn = [fields(each) for each in fields(message).get(2, [])]
        bones = next((each[3] for each in drawn if each[2] == [LINE_LIST] and 3 in each), None)
        if person and bones:
            box = [edge * size for edge, size in zip(person["box"], (640, 480, 640, 480))]
            return [tuple(fields(point)[axis][0] for axis in (1, 2)) for point in bones], box
    return None


def test_sound_has_its_level_and_what_is_heard_in_it(port: int) -> None:
    """A scream is louder than the room, and its peak is that of the configuration."""
    client = Client(port)
    asyncio.run(client.run(("/hall/sound", "/hall/evidence"), lambda: _levels(client) and _scream(client)))
    channels = client.channels["/hall/sound"]
    assert channels["schemaName"] == "reflexd.Sound" and channels["encoding"] == "json"
    stamps = [log_time for log_time, _ in client.messages["/hall/sound"]]
    assert stamps == sorted(set(stamps))
    assert all(0 < content["level"] <= content["peak"] <= 1 for content in _contents(client, "/hall/sound"))
    assert "/hall/picture" not in client.channels and "/hall/boxes" not in client.channels


def _contents(client: Client, topic: str) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in client.messages.get(topic, [])]


def _levels(client: Client) -> bool:
    """The room and a scream have been heard."""
    peaks = [content["peak"] for content in _contents(client, "/hall/sound")]
    return bool(peaks) and min(peaks) < 0.05 and 0.4 < max(peaks) <= 0.6


def _scream(client: Client) -> bool:
    return any(item["score"] > 0.3 for content in _contents(client, "/hall/evidence") for item in content["evidence"])
