"""Foxglove: what a client of its WebSocket protocol is offered and gets."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent import children
from agent.benches.programs import free_port
from agent.box.child import ChildProcesses
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.tapes.live_reader import LiveReader
from agent.web.foxglove import library
from tests.foxglove_client import Client, advertised, fields, received
from tests.processes import Cell, Process
from tests.waiting import DEADLINE_S, until
from tests.web import web_cell

Served = tuple[Cell, int, Process]


@contextmanager
def foxglove_cell(folder: Path, **options: Any) -> Iterator[Served]:
    if not library.installed():
        pytest.skip(library.MISSING)
    port = free_port()
    with web_cell(folder, foxglove=port, **{"pictures": True, **options}) as (cell, _, daemon):
        daemon.wait_for("Foxglove is served at")
        yield cell, port, daemon


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with foxglove_cell(tmp_path_factory.mktemp("foxglove")) as parts:
        yield parts


FLOOR = ("/floor/picture", "/floor/boxes", "/floor/evidence")
ARM = ("/arm/readings", "/arm/evidence")


def test_each_lane_has_the_topics_of_its_kind(served: Served) -> None:
    channels = advertised(served[1], *FLOOR, *ARM, "/decisions", "/ledger")
    assert set(channels) == {*FLOOR, *ARM, "/decisions", "/ledger"}
    assert channels["/floor/picture"]["schemaName"] == "foxglove.CompressedImage"
    assert channels["/floor/boxes"]["schemaName"] == "foxglove.ImageAnnotations"
    assert channels["/decisions"]["schemaName"] == "foxglove.Log"
    assert len(json.loads(channels["/arm/readings"]["schema"])["properties"]) == 12


def test_a_picture_is_a_jpeg_and_its_boxes_are_where_the_evidence_says(served: Served) -> None:
    client = Client(served[1])
    asyncio.run(client.run(FLOOR, lambda: _person_drawn(client)))
    _, message = client.messages["/floor/picture"][-1]
    image = fields(message)
    assert image[3] == [b"jpeg"]
    assert cv2.imdecode(np.frombuffer(image[2][0], np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
    corners, box = _person_drawn(client)
    left, top, right, bottom = (edge * size for edge, size in zip(box, (640, 480, 640, 480)))
    assert np.allclose(corners, [(left, top), (right, top), (right, bottom), (left, bottom)], atol=0.1)


def _person_drawn(client: Client) -> Any:
    """(corners of the first box, in pixels; the box of the evidence) of a moment that both have, and the picture."""
    evidence = {log_time: json.loads(body)["evidence"] for log_time, body in client.messages.get("/floor/evidence", [])}
    if "/floor/picture" not in client.messages:
        return None
    for log_time, message in client.messages.get("/floor/boxes", []):
        boxes = [finding["box"] for finding in evidence.get(log_time, []) if "box" in finding]
        if boxes:
            drawn = fields(fields(message)[2][0])
            return [tuple(fields(point)[axis][0] for axis in (1, 2)) for point in drawn[3]], boxes[0]
    return None


def test_a_sensor_has_its_channels_as_numbers_in_order_of_time(served: Served) -> None:
    messages = received(served[1], "/arm/readings", count=40)["/arm/readings"]
    stamps = [log_time for log_time, _ in messages]
    assert stamps == sorted(set(stamps)), np.diff(stamps)
    assert all(isinstance(value, float) for _, body in messages for value in json.loads(body).values())
    assert {len(json.loads(body)) for _, body in messages} == {12}


def test_the_decisions_of_before_and_the_ledger_arrive(served: Served) -> None:
    cell, port, _ = served
    cell.wait_for("stop")
    client = Client(port)
    asyncio.run(client.run(("/decisions", "/ledger"), lambda: _stop(client) and "/ledger" in client.messages))
    stop = _stop(client)
    assert stop["rule"] == "reach" and stop["actuator"] == "robot" and stop["explanation"].startswith("person ")
    numbers = [json.loads(body)["number"] for _, body in client.messages["/decisions"]]
    assert len(numbers) == len(set(numbers))
    lanes = {lane["name"]: lane for lane in json.loads(client.messages["/ledger"][-1][1])["lanes"]}
    assert set(lanes) == {"arm", "floor"} and lanes["floor"]["p99_ms"] >= lanes["floor"]["p50_ms"] > 0


def _stop(client: Client) -> Any:
    decisions = (json.loads(body) for _, body in client.messages.get("/decisions", []))
    return next((decision for decision in decisions if decision["verb"] == "stop"), None)


def test_a_lane_without_a_subscriber_copies_nothing(served: Served) -> None:
    """Also while a client is connected, and subscribed to another lane."""
    cell, port, _ = served
    received(port, "/floor/picture")
    reader = LiveReader(cell.run_dir / "floor.live")

    def rests() -> bool:
        head, inferences = reader.head, cell.counts("floor")["inferences"]
        received(port, "/arm/readings")
        cell.wait_for_count("floor", "inferences", inferences + 3)
        return reader.head == head

    until(rests)
    assert reader.head > 0
    reader.close()


@pytest.mark.slow
def test_hidden_pictures_have_no_topic_and_edges_are_only_lines(tmp_path: Path) -> None:
    with foxglove_cell(tmp_path, pictures=None) as (cell, port, daemon):  # the default
        assert "/floor/picture" not in advertised(port, "/floor/boxes", *ARM)
        assert received(port, "/floor/boxes")
        cell.config["web"]["pictures"] = "edges"  # type: ignore[index]
        cell.write()
        daemon.signal(signal.SIGHUP)
        until(lambda: daemon.text.count("Foxglove is served at") == 2, lambda: daemon.text)
        _, message = received(port, "/floor/picture")["/floor/picture"][-1]
        picture = cv2.imdecode(np.frombuffer(fields(message)[2][0], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert np.mean(picture < 60) > 0.7


@pytest.mark.slow
def test_a_reload_with_another_lane_shows_it_and_withdraws_the_old(tmp_path: Path) -> None:
    with foxglove_cell(tmp_path) as (cell, port, daemon):
        lanes, rules = cell.config["lanes"], cell.config["rules"]
        lanes["other"] = lanes.pop("arm")  # type: ignore[index,attr-defined]
        rules.pop("arm-never")  # type: ignore[attr-defined]
        client = Client(port)
        all_topics = {*FLOOR, *ARM, "/decisions", "/ledger"}
        before: set[str] = set()

        def changed() -> bool:
            if all_topics <= set(client.channels) and not before:
                before.update(client.channels)
                cell.write()
                daemon.signal(signal.SIGHUP)
                daemon.wait_for("configuration reloaded")
            return "/other/readings" in client.channels and "/arm/readings" not in client.channels

        asyncio.run(client.run((), changed))
        assert before == all_topics
        assert received(port, "/other/readings")


def test_a_port_that_the_live_view_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps({"run_dir": str(tmp_path), "web": {"port": 8765, "foxglove": 8765}}))
    with pytest.raises(ConfigError, match="the live view has this address, too"):
        load_config(path)


def test_a_missing_library_is_one_message_and_the_daemon_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps({"run_dir": str(tmp_path), "web": {"foxglove": 8765}}))
    monkeypatch.setattr(library, "installed", lambda: False)
    caplog.set_level(logging.ERROR)

    def spawn(_: object) -> Any:
        raise AssertionError("a process is started")

    children.start_foxglove(ChildProcesses(spawn), load_config(path), path)
    assert [record.getMessage() for record in caplog.records] == [library.MISSING]


def test_the_process_without_its_library_ends_with_2_and_the_same_message(tmp_path: Path) -> None:
    program = "import sys, runpy; sys.modules['foxglove'] = None; sys.argv = ['foxglove', 'reflexd.yaml'];"
    program += "runpy.run_module('agent.web.foxglove', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and library.MISSING in ended.stderr
