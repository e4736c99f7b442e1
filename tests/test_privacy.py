"""Pictures and sound stay on the box: all that a running scene sends, logs and writes is searched for its input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
import psutil
import pytest

from agent import ledger, yamlfile
from agent.backends.base import Engine
from agent.benches.programs import free_port
from agent.build import make_lane, rules_of
from agent.commands import wire
from agent.config.load import load_config
from agent.config.models import Config
from agent.control import client as control
from agent.data import Ack, Array, Command
from agent.field.checks import timers
from agent.recorder import recording
from agent.rules.scene import Scene
from agent.scenes import catalog
from agent.view.source import with_source
from drivers.camera._scene import walk
from tests.byte_search import Inputs, opened, search
from tests.field_fixtures import reflexd
from tests.processes import Process
from tests.shared import DATA, needs_recordings
from tests.tap import Tap, frames
from tests.test_scenes import orders
from tests.waiting import until

EVIDENCE = 1024  # bytes of evidence and decisions about one frame
FILES = ("running:r/", "ended:s/recordings/", CLIPS := "ended:s/events/", ".tar.gz/")


# -- the input of a scene -------------------------------------------------------------------------------


def senses(config: Config) -> list[str]:
    """Lanes with a camera or a microphone."""
    return [name for name, lane in config.lanes.items() if lane.source.driver.startswith(("camera.", "audio."))]


def input_marks(config: Config, beside: Path, folder: Path) -> dict[str, Array]:
    """Of cameras and microphones in their first ten seconds, raw and in their models' inputs."""
    inputs = Inputs()
    for name in senses(config):
        lane = make_lane(name, with_source(config, name, None, folder), beside, 0)
        start, inferred = -1, 0
        for number, (sample, _) in enumerate(lane.play(Scene(rules_of(config)))):
            start = sample.t_capture if start < 0 else start
            if sample.t_capture - start > 10e9:
                break
            if sample.payload.ndim == 1:
                inputs.add(f"{name}: values", sample.payload)
                inputs.add(f"{name}: 16 bit", np.rint(sample.payload * 32767).astype("<i2"))
            elif number % 8 == 0:
                inputs.add(f"{name}: rows", sample.payload[::4])
            inferred += lane.evidence is not None
            if lane.evidence is not None and inferred % 4 == 0:  # sounds overlap more than that
                add_tensors(inputs, name, lane.perception.recorded_engines)
    return inputs.marks()


def add_tensors(inputs: Inputs, lane: str, engines: list[Engine]) -> None:
    for engine in engines:
        for index in range(len(engine.inputs)):
            inputs.add(f"{lane}: tensor", engine.input(index))


# -- everything that leaves --------------------------------------------------------------------------------


class RunningScene:
    """A scene as two processes, with all recording switched on, and everything that they output."""

    def __init__(self, folder: Path, scene: dict[str, Any], pictures: bool) -> None:
        folder.mkdir()
        self.folder, self.run_dir, self.state = folder, folder / "r", folder / "s"
        self.port = free_port()
        self.outputs: dict[str, bytes] = {}
        self.unasked: dict[str, bytes] = {}  # in the archive for support, where no recording was asked for
        self.tap = Tap(folder / "t", folder / "a")
        events = {"rules": sorted(scene["rules"]), "before_s": 1, "after_s": 0.5}
        changes = {
            "run_dir": str(self.run_dir),
            "state_dir": str(self.state),
            "metrics": {"port": self.port},
            "recorder": {"pictures": pictures, "events": events},
        }
        near, far = (
            self.write(name, {**scene, **changes}, end) for name, end in (("near.yaml", "t"), ("far.yaml", "a"))
        )
        self.path, self.config = near, load_config(near)
        self.host = Process(folder / "host.log", "actuate", "-c", str(far))
        self.host.wait_for("listens at")
        self.daemon = Process(folder / "daemon.log", "-v", "run", "-c", str(near))

    def write(self, name: str, scene: dict[str, Any], end: str) -> Path:
        (actuator,) = scene["actuators"]
        there = {actuator: {**scene["actuators"][actuator], "endpoint": f"ipc://{self.folder}/{end}"}}
        (self.folder / name).write_text(json.dumps({**scene, "actuators": there}), encoding="utf-8")
        return self.folder / name

    def acted(self) -> bool:
        """A rule's verb was applied, and the recorder wrote a clip about it."""
        assert self.daemon.popen.poll() is None and self.host.popen.poll() is None, self.daemon.text + self.host.text
        moved = any(f'"verb": "{verb}"' in self.host.text for _, verb in orders(self.config))
        return moved and any((self.state / "events").glob("*.mcap"))

    def inferred(self, times: int) -> bool:
        """The model of each camera and microphone has run this often."""
        counts = {snapshot.lane: snapshot.counts["inferences"] for snapshot in ledger.read_all(self.run_dir)}
        return all(counts.get(lane, 0) >= times for lane in senses(self.config))

    def recorded(self) -> bool:
        """The recorder has started, which takes longer than the lanes."""
        return any((self.state / "recordings").glob("*.mcap"))

    def collect(self) -> None:
        """Outputs of the running scene."""
        self.outputs["metrics"] = until(self.scraped, "/metrics")
        for number, request in enumerate([{"do": "status"}, {"do": "picture"}]):
            answer = control.ask(self.run_dir, request, 10.0)
            assert answer
            self.outputs[f"control{number}.json"] = json.dumps(answer).encode()
        self.outputs["status"] = reflexd("status", "-c", str(self.path), "--json").stdout.encode()
        self.check_connections()
        self.collect_files("running")

    def scraped(self) -> bytes:
        """Empty until the child process that serves it has started."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                text: bytes = answer.read()
                return text
        except URLError:
            return b""

    def check_connections(self) -> None:
        """Beside the sockets of run_dir and the tap there is only the scrape of metrics, on loopback."""
        daemon = psutil.Process(self.daemon.popen.pid)
        for process in [daemon, *daemon.children(recursive=True)]:
            for connection in process.net_connections("inet"):
                local = connection.laddr
                assert local.ip == "127.0.0.1" and local.port == self.port, (process.cmdline(), connection)

    def end(self) -> None:
        """Stop in order; then collect the files, and the archive for support."""
        assert self.daemon.stop() == 0 and self.host.stop() == 0
        self.tap.close()
        for number, direction in enumerate(self.tap.directions):
            self.outputs[f"wire{number}"] = bytes(direction)
        out = self.folder / "ticket.tar.gz"
        reflexd("diag", "-c", str(self.path), "-o", str(out), "--recording")
        self.outputs.update(opened(str(out), out.read_bytes()))
        unasked = self.folder / "unasked.tar.gz"
        reflexd("diag", "-c", str(self.path), "-o", str(unasked))
        self.unasked = dict(opened(str(unasked), unasked.read_bytes()))
        self.collect_files("ended")
        self.outputs["logs"] = (self.daemon.text + self.host.text).encode()

    def collect_files(self, when: str) -> None:
        for file in [*self.run_dir.rglob("*"), *self.state.rglob("*")]:
            if file.is_file():
                data = file.read_bytes()
                name = f"{when}:{file.relative_to(self.folder)}"
                self.outputs.update(opened(name, data) if when == "ended" else [(name, data)])

    def kill(self) -> None:
        for process in (self.daemon, self.host):
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in [*self.state.rglob("*.mcap")]:
            yield from recording.read(path).messages


def run_scene(
    folder: Path, scene: dict[str, Any], pictures: bool, enough: Callable[[RunningScene], bool]
) -> RunningScene:
    """From its start to its end."""
    running = RunningScene(folder, scene, pictures)
    try:
        until(lambda: enough(running) and running.recorded(), lambda: running.daemon.text + running.host.text)
        running.collect()
        running.end()
    finally:
        running.kill()
    return running


def campus_of_known_pictures(folder: Path) -> dict[str, Any]:
    """The simulated campus with noise on every pixel: no two runs of pixels are alike."""
    random = np.random.default_rng(7)
    (folder / "pictures").mkdir()
    forwards = walk(640, 480, 24, 15, 0)
    for number, picture in enumerate(forwards + forwards[-2:0:-1]):  # and back, as the simulated camera shows them
        noisy = np.clip(picture.astype(np.int16) + random.integers(-12, 13, picture.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"pictures/{number:03d}.png"), noisy)
    scene = yamlfile.read(catalog.find("campus")).data
    replay = {
        "driver": "camera.replay",
        "folder": str(folder / "pictures"),
        "fps": 15,
        "loop": True,
        "timeout_ms": 1000,
    }
    scene["lanes"]["yard"]["source"] = replay
    return scene


def of_recordings(name: str, folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(catalog.on_recordings(name, DATA, folder).read_text())
    for lane in data["lanes"].values():
        for key in ("model", "then"):
            if (folder / lane.get(key, "/")).is_dir() and key in lane:
                lane[key] = str(folder / lane[key])
    return data


@pytest.mark.parametrize(
    "name",
    ["known pictures", pytest.param("campus", marks=needs_recordings), pytest.param("bedside", marks=needs_recordings)],
)
@pytest.mark.slow
def test_no_picture_and_no_sound_leaves(name: str, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same search finds all of them in the recording of a box that is configured to record them."""
    monkeypatch.setattr(timers, "SECONDS", 0.05)
    folder = tmp_path_factory.mktemp("p")
    scene = campus_of_known_pictures(folder) if name == "known pictures" else of_recordings(name, folder)
    bedside = name == "bedside"  # its rule waits for a fall and a scream at a time; four seconds of it have both
    plain = run_scene(folder / "p", scene, False, lambda scene: scene.inferred(80) if bedside else scene.acted())
    known = name == "known pictures"
    recorded = run_scene(folder / "r", scene, True, lambda scene: scene.acted() if known else scene.inferred(12))
    inputs = input_marks(plain.config, folder, folder)
    assert search(inputs, plain.outputs) == {}
    for part in (*FILES, "wire0", "metrics", "control0.json", "status", "logs"):
        present = any(part in place and data for place, data in plain.outputs.items())
        assert part == CLIPS and bedside or present, part
    tensors = {kind for kind in inputs if kind.endswith("tensor")}
    places = search({kind: inputs[kind] for kind in tensors}, recorded.outputs)
    assert set(places) == tensors
    assert recorded.unasked and search(inputs, recorded.unasked) == {}
    for part in FILES if known else FILES[:2]:  # larger recordings are left out of the archive
        assert any(part in place for place in set.union(*places.values())), (part, places)
    check_sizes(plain)


def check_sizes(scene: RunningScene) -> None:
    """On the wire only the four kinds of message; of a frame at most a kilobyte is recorded as evidence."""
    bodies = [body for direction in scene.tap.directions for body in frames(bytes(direction))]
    messages = [wire.unpack(body) for body in bodies]  # raises at anything else
    assert {Command, Ack, wire.Hello} <= set(map(type, messages)) <= {Command, Ack, wire.Hello, wire.Goodbye}
    assert max(map(len, bodies)) <= wire.COMMAND_BYTES
    check_greetings(scene, messages, bodies)
    recorded = [message for _, message in scene.messages()]
    sizes = {len(json.dumps({key: message[key] for key in ("evidence", "decisions")})) for message in recorded}
    assert 50 < max(sizes) <= EVIDENCE
    assert not any(message.get("inputs") for message in recorded)


def check_greetings(scene: RunningScene, messages: list[Any], bodies: list[bytes]) -> None:
    """Hello and goodbye name a lane and the daemon's session, the same bytes each time: no room for a sample."""
    (session,) = {message.session for message in messages if isinstance(message, Command)}
    nodes = {f"{scene.config.node}/{lane}" for lane in scene.config.lanes}
    assert {message.node for message in messages if isinstance(message, Command)} <= nodes
    for kind, pack in ((wire.Hello, wire.pack_hello), (wire.Goodbye, wire.pack_goodbye)):
        sent = {body for body, message in zip(bodies, messages, strict=True) if isinstance(message, kind)}
        assert sent <= {pack(node, session) for node in nodes}
