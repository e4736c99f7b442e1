"""The live view: what it serves to a browser, to whom, and that it goes on through whatever happens to the daemon."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest

from agent.benches.programs import free_port
from agent.web import pictures
from tests.processes import Cell, Process
from tests.waiting import until
from tests.web import Page, web_cell

Served = tuple[Cell, Page, Process]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with web_cell(tmp_path_factory.mktemp("web")) as parts:
        yield parts


def test_the_status_is_that_of_the_daemon(served: Served) -> None:
    cell, page, daemon = served
    code, content = page.get("/api/status")
    assert code == 200 and content["pid"] == daemon.popen.pid and content["node"] == "cell-1"
    assert content["kinds"] == {"arm": "readings", "floor": "picture"}
    assert content["web"] == {"pictures": "shown", "why": "", "edit": False}
    assert [actuator["name"] for actuator in content["actuators"]] == ["robot"]


def test_a_watched_camera_shows_its_pictures_with_what_was_found_in_them(served: Served) -> None:
    texts, frames = served[1].watch("/api/live?lane=floor&rate=60", 12)
    assert texts[0]["type"] == "lane" and texts[-1] == {"type": "state", "live": True, "reason": ""}
    sequences = [frame.header["sequence"] for frame in frames]
    assert sequences == sorted(set(sequences))
    picture = cv2.imdecode(np.frombuffer(frames[-1].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (480, 640, 3)
    boxes = [item["box"] for frame in frames for item in frame.header["evidence"] if item["label"] == "person"]
    assert boxes and all(0 <= edge <= 1 for box in boxes for edge in box)
    assert all(abs(time.time() * 1e3 - frame.header["t"]) < 60_000 for frame in frames)


def test_a_small_viewer_gets_small_pictures(served: Served) -> None:
    _, (frame, *_) = served[1].watch("/api/live?lane=floor&width=160", 1)
    assert (frame.header["width"], frame.header["height"]) == (160, 120)
    assert cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (120, 160, 3)


def test_a_watched_sensor_shows_its_readings_in_order(served: Served) -> None:
    served[1].watch("/api/live?lane=arm", 1)  # the second one learns as much as the first
    texts, frames = served[1].watch("/api/live?lane=arm", 5)
    channels = next(text["channels"] for text in texts if text.get("kind") == "readings")
    rows = [row for frame in frames for row in frame.header["rows"]]
    assert len(channels) == 12 and {len(row) for row in rows} == {13}
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_a_lane_that_nobody_watches_copies_nothing(served: Served) -> None:
    cell, page, _ = served
    page.watch("/api/live?lane=floor", 1)
    from agent.tapes.live_reader import LiveReader

    reader = LiveReader(cell.run_dir / "floor.live")

    def rests() -> bool:
        head, inferences = reader.head, cell.counts("floor")["inferences"]
        cell.wait_for_count("floor", "inferences", inferences + 3)
        return reader.head == head

    until(rests)
    reader.close()


def test_the_decisions_are_those_of_the_actuator_with_their_reasons(served: Served) -> None:
    cell, page, _ = served
    cell.wait_for("stop")
    content = until(lambda: _with_stop(page))
    newest_first = [decision["t"] for decision in content["decisions"]]
    assert newest_first == sorted(newest_first, reverse=True)
    assert content["actuators"] == ["robot"] and "reach" in content["rules"] and content["lost"] == 0
    stop = next(decision for decision in content["decisions"] if decision["verb"] == "stop")
    assert stop["rule"] == "reach" and stop["explanation"].startswith("person ")
    _, only = page.get("/api/decisions?rule=reach&limit=1")
    assert [decision["rule"] for decision in only["decisions"]] == ["reach"]


def _with_stop(page: Page) -> dict[str, object]:
    content: dict[str, object] = page.get("/api/decisions")[1]
    return content if '"stop"' in json.dumps(content["decisions"]) else {}


def test_a_recording_is_played_and_replayed(served: Served) -> None:
    _, page, _ = served
    name = until(lambda: [each["name"] for each in page.get("/api/decisions")[1]["recordings"]])[0]
    content = until(lambda: _with_frames(page, name))
    assert {frame["lane"] for frame in content["frames"]} <= {"arm", "floor"}
    verdict = page.post("/api/replay", {"name": name})[1]
    assert verdict["verdict"] == "same", verdict


def _with_frames(page: Page, name: str) -> dict[str, list[dict[str, object]]]:
    code, content = page.get(f"/api/clips/{name}")
    return content if code == 200 and content["frames"] else {}


def test_models_cards_and_configuration_are_served(served: Served) -> None:
    cell, page, _ = served
    models = {model["name"]: model for model in page.get("/api/models")[1]["models"]}
    assert models["arm-deviation"]["golden"].startswith("good") and models["arm-deviation"]["lanes"] == ["arm"]
    assert page.get("/api/models/arm-deviation/card")[1]["text"].startswith("#")
    assert page.get("/api/models/arm-deviation/confusion.png")[1].startswith(b"\x89PNG")
    configuration = page.get("/api/configuration")[1]
    assert len(configuration["lines"]) == len((cell.folder / "reflexd.yaml").read_text().splitlines())
    assert configuration["mistakes"] == []


@pytest.mark.parametrize(
    "path, code",
    [
        ("/api/live?lane=nobody", 404),
        ("/api/lanes/nobody", 404),
        ("/api/clips/..%2f..%2fetc%2fpasswd", 404),
        ("/api/clips/x.mcap", 404),
        ("/api/models/arm-deviation/..%2Fmanifest.yaml", 404),
        ("/api/models/arm-deviation/manifest.yaml", 404),
        ("/../server.py", 404),
        ("/server.py", 404),
        ("/api/decisions?limit=x", 400),
    ],
)
def test_what_is_not_there_is_refused_in_words(served: Served, path: str, code: int) -> None:
    status, content = served[1].get(path)
    assert status == code and content["error"]


@pytest.mark.parametrize("raw", [b"{", b"[" * 60_000, b'{"lane": 3}', b"\xff", b"[]", b"null", b"x" * 100_000])
def test_hostile_bodies_are_refused_in_words(served: Served, raw: bytes) -> None:
    async def post() -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(headers={"Origin": served[1].base}) as session,
            session.post(served[1].base + "/api/zones", data=raw) as response,
        ):
            return response.status, (await response.json())["error"]

    status, text = asyncio.run(post())
    assert 400 <= status < 500 and text


def test_a_viewer_that_stops_reading_holds_up_nobody(served: Served) -> None:
    """Its two unanswered pictures are all that is kept for it."""
    cell, page, _ = served
    before = cell.counts("floor")["inferences"]

    async def stuck_and_fifty_others() -> int:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
            url = page.base + "/api/live?lane=floor"
            stuck = await session.ws_connect(url)
            others = [await session.ws_connect(url) for _ in range(50)]

            async def frames(viewer: aiohttp.ClientWebSocketResponse) -> int:
                count = 0
                while count < 3:
                    if (await viewer.receive(60)).type == aiohttp.WSMsgType.BINARY:
                        count += 1
                        await viewer.send_str("ok")
                return count

            counts = await asyncio.gather(*map(frames, others))
            await stuck.close()
            return min(counts)

    assert asyncio.run(stuck_and_fifty_others()) == 3
    cell.wait_for_count("floor", "inferences", before + 5)


@pytest.mark.parametrize("mode, shown", [(False, False), (True, True), ("edges", True)])
def test_pictures_leave_only_as_the_configuration_allows(tmp_path: Path, mode: bool | str, shown: bool) -> None:
    with web_cell(tmp_path, pictures=mode) as (_, page, _daemon):
        texts, frames = page.watch("/api/live?lane=floor", 3)
        expected = {False: pictures.HIDDEN, True: pictures.SHOWN, "edges": pictures.EDGES}[mode]
        assert texts[0]["pictures"] == expected
        assert all(bool(frame.jpeg) == shown for frame in frames)
        assert all(frame.header["width"] == 640 for frame in frames)  # boxes are drawn on a blank one
        assert page.get("/api/lanes/floor/still.jpg")[0] == (200 if shown else 403)
        if mode == "edges":
            picture = cv2.imdecode(np.frombuffer(frames[-1].jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
            assert np.mean(picture < 60) > 0.7  # lines on dark, nothing of the areas between them


def test_the_page_goes_on_through_a_restart_of_the_daemon_and_a_reload(tmp_path: Path) -> None:
    """Its own process, beside the daemon, sees another lane and another daemon by itself."""
    with Cell(tmp_path, {"arm": {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}}) as cell:
        port = free_port()
        _, daemon = cell.start_both()
        view = cell.start("web", "-c", str(cell.folder / "reflexd.yaml"), "--port", str(port))
        page = Page(f"http://127.0.0.1:{port}")
        until(lambda: page.get("/api/status")[0] == 200, lambda: view.text)
        assert page.watch("/api/live?lane=arm", 2)[1]
        daemon.stop()
        until(lambda: not page.get("/api/status")[1]["running"])
        cell.config["lanes"] = {"other": cell.config["lanes"].pop("arm")}
        cell.config["rules"] = {}
        daemon = cell.run()
        until(lambda: page.get("/api/lanes/other")[0] == 200, lambda: view.text)
        assert until(lambda: _frames(page, "/api/live?lane=other"))
        assert view.stop() == -signal.SIGTERM


def _frames(page: Page, path: str) -> bool:
    with suppress(aiohttp.ClientError):
        return bool(page.watch(path, 1)[1])
    return False
