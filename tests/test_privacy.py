"""Pictures and sound stay in the box: everything that a running scene sends, says and writes is searched for what it saw."""

from __future__ import annotations

import base64
import binascii
import io
import json
import socket
import tarfile
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import control, ledger, yamlfile
from agent.backends.base import Engine
from agent.benches.programs import free_port
from agent.build import make_lane, rules_of
from agent.commands import wire
from agent.commands.wire import WireError, pack_command, unpack
from agent.config.load import load_config
from agent.config.models import Config
from agent.data import Array, Command
from agent.field.checks import timers
from agent.recorder import recording
from agent.recorder.recording import Recording
from agent.rules.scene import Scene
from agent.scenes import catalog
from agent.tape import TapeHeader
from agent.view.source import with_source
from drivers.camera._scene import walk
from tests.field_fixtures import reflexd
from tests.processes import Process
from tests.shared import DATA, needs_recordings
from tests.test_scenes import orders
from tests.test_wire import STOP
from tests.waiting import until

EVIDENCE = 1024  # bytes of what is said about one frame
FILES = ("running:r/", "ended:s/recordings/", CLIPS := "ended:s/events/", ".tar.gz/")


# -- the search ---------------------------------------------------------------------------------------------------------------

RUN, STEP = (
    16,
    8,
)  # bytes that are compared, and how far apart in what was seen: no run of 24 bytes of it goes unnoticed
MIXED, UPPER = np.uint64(0x9E3779B97F4A7C15), np.uint64(38)


def marks(data: bytes, step: int) -> Array:
    """uint64: one for each run of bytes that begins at a multiple of step."""
    count = len(data) - RUN + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    first, second = (np.ndarray((count,), "<u8", data, at, (1,))[::step] for at in (0, RUN // 2))
    mixed: Array = (first * MIXED ^ second) * MIXED
    return mixed


class Seen:
    """What must not be found: marks of pixels, sound and tensors, each by its kind."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Array]] = {}

    def add(self, kind: str, values: Array) -> None:
        """Runs of few different bytes are left out: a wall of one colour is found in any file of zeros."""
        data = np.ascontiguousarray(values).tobytes()
        runs = np.ndarray((max(0, (len(data) - RUN) // STEP + 1), RUN), np.uint8, data, 0, (STEP, 1))
        varied = (np.diff(np.sort(runs, axis=1), axis=1) != 0).sum(axis=1) >= 6
        self.parts.setdefault(kind, []).append(marks(data, STEP)[varied])

    def done(self) -> dict[str, Array]:
        found = {kind: np.unique(np.concatenate(parts)) for kind, parts in self.parts.items()}
        assert all(len(one) > 1000 for one in found.values()), "too little to be recognised by"
        return found


def found(seen: dict[str, Array], hay: dict[str, bytes]) -> dict[str, set[str]]:
    """Kinds of what was seen, each with the names of the places where it turned up."""
    places: dict[str, set[str]] = {}
    likely = np.zeros(1 << 26, bool)  # by the upper bits, so that hardly any mark has to be looked up
    for wanted in seen.values():
        likely[wanted >> UPPER] = True
    for name, data in hay.items():
        there = marks(data, 1)
        there = np.unique(there[likely[there >> UPPER]])
        for kind, wanted in seen.items():
            at = np.minimum(np.searchsorted(wanted, there), len(wanted) - 1)
            if np.any(wanted[at] == there):
                places.setdefault(kind, set()).add(name)
    return places


def opened(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and what is packed in it: archives, recordings, JSON, base64, numbers written out."""
    yield name, data
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member)
                yield from opened(f"{name}/{member.name}", file.read() if file else b"")
    if name.endswith(".mcap"):
        told = recording.read(Path(name), io.BytesIO(data))
        for number, entry in enumerate([told.facts, *(message for _, message in told.messages)]):
            yield f"{name}#{number}", b"\n".join([json.dumps(entry).encode(), *unwrapped(entry)])
    if name.endswith(".json"):
        yield f"{name}#", b"\n".join(unwrapped(json.loads(data)))


def unwrapped(entry: Any) -> Iterator[bytes]:
    """What texts are base64 of, and lists of numbers as bytes, as float32 and as 16 bit."""
    if isinstance(entry, str) and len(entry) >= RUN:
        with suppress(binascii.Error, ValueError):
            yield base64.b64decode(entry, validate=True)
    elif isinstance(entry, dict):
        for one in entry.values():
            yield from unwrapped(one)
    elif isinstance(entry, list) and entry and all(type(one) in (int, float) for one in entry):
        values = np.array(entry, np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            yield from (values.astype(kind).tobytes() for kind in ("<f4", "u1", "i1", "<i2"))
    elif isinstance(entry, list):
        for one in entry:
            yield from unwrapped(one)


def test_the_search_finds_what_is_hidden(tmp_path: Path) -> None:
    """At any place in a file, cut out of the middle, in base64, written out, in a compressed recording, in an archive."""
    chance = np.random.default_rng(1)
    frame = chance.integers(0, 255, (60, 80, 3), np.uint8)
    sound = chance.uniform(-1, 1, 9000).astype(np.float32)
    seen = Seen()
    seen.add("picture", frame)
    seen.add("sound", sound)
    wanted = seen.done()
    least = frame.tobytes()[5003 : 5003 + RUN + STEP - 1]
    coded = base64.b64encode(frame[30].tobytes()).decode()
    message = {"sequence": 1, "inputs": [{"data": coded}], "evidence": [], "decisions": []}
    file = Recording(tmp_path / "a.mcap", {"config": "{}"})
    file.add(TapeHeader("yard", [], [], []), message, 1)
    file.close()
    packed = (tmp_path / "a.mcap").read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.mcap", "recordings/a.mcap")
    hidden = {
        "raw": b"\1" * 333 + least + b"\2" * 77,
        "a.mcap": packed,
        "a.tar.gz": (tmp_path / "a.tar.gz").read_bytes(),
        "a.json": json.dumps({"rows": [[0], sound[100:112].tolist()]}).encode(),
        "b.json": json.dumps([frame[3, 4:20].ravel().tolist()]).encode(),
    }
    assert (
        found(wanted, {"nothing": bytes(chance.integers(0, 255, 1 << 20, np.uint8)), "few": b"\0" * 5000, "": b""})
        == {}
    )
    for name, data in hidden.items():
        (kind,) = found(wanted, dict(opened(name, data)))
        assert kind == ("sound" if name == "a.json" else "picture")
    assert found(wanted, {"a.mcap": packed, "coded": coded.encode()}) == {}  # so it has to be opened


# -- what a lane sees -----------------------------------------------------------------------------------------------------------


def senses(config: Config) -> list[str]:
    """Lanes with a camera or a microphone."""
    return [name for name, lane in config.lanes.items() if lane.source.driver.startswith(("camera.", "audio."))]


def what_is_seen(config: Config, beside: Path, folder: Path) -> dict[str, Array]:
    """By cameras and microphones in their first ten seconds, raw and in their models' inputs."""
    seen = Seen()
    for name in senses(config):
        lane = make_lane(name, with_source(config, name, None, folder), beside, 0)
        start, inferred = -1, 0
        for number, (sample, _) in enumerate(lane.play(Scene(rules_of(config)))):
            start = sample.t_capture if start < 0 else start
            if sample.t_capture - start > 10e9:
                break
            if sample.payload.ndim == 1:
                seen.add(f"{name}: values", sample.payload)
                seen.add(f"{name}: 16 bit", np.rint(sample.payload * 32767).astype("<i2"))
            elif number % 8 == 0:
                seen.add(f"{name}: rows", sample.payload[::4])
            inferred += lane.evidence is not None
            if lane.evidence is not None and inferred % 4 == 0:  # sounds overlap more than that
                see_inputs(seen, name, lane.perception.kept)
    return seen.done()


def see_inputs(seen: Seen, lane: str, engines: list[Engine]) -> None:
    for engine in engines:
        for index in range(len(engine.inputs)):
            seen.add(f"{lane}: tensor", engine.input(index))


# -- everything that leaves -----------------------------------------------------------------------------------------------------


class Tap:
    """A wire between two unix sockets that keeps every byte, each way of each line for itself."""

    def __init__(self, here: Path, there: Path) -> None:
        self.there = there
        self.ways: list[bytearray] = []
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(here))
        self.server.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                line, far = self.server.accept()[0], socket.socket(socket.AF_UNIX)
                far.connect(str(self.there))
                for one, other in ((line, far), (far, line)):
                    kept = bytearray()
                    self.ways.append(kept)
                    threading.Thread(target=self.pass_on, args=(one, other, kept), daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    @staticmethod
    def pass_on(one: socket.socket, other: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                kept += data
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def frames(way: bytes) -> Iterator[bytes]:
    """Bodies of messages after the greeting of 64 bytes (ZMTP 3.1, rfc.zeromq.org/spec/37); a last one may be cut."""
    at = 64
    while at + 2 <= len(way):
        flags = way[at]
        wide = 8 if flags & 2 else 1
        size = int.from_bytes(way[at + 1 : at + 1 + wide], "big")
        body = bytes(way[at + 1 + wide :][:size])
        at += 1 + wide + size
        if not flags & 4 and len(body) == size:  # else a command of the transport
            yield body


class Watched:
    """A scene as two processes, with all its recorders on, and everything that comes out of it."""

    def __init__(self, folder: Path, scene: dict[str, Any], pictures: bool) -> None:
        folder.mkdir()
        self.folder, self.run_dir, self.state = folder, folder / "r", folder / "s"
        self.port = free_port()
        self.hay: dict[str, bytes] = {}
        self.tap = Tap(folder / "t", folder / "a")
        events = {"rules": sorted(scene["rules"]), "before_s": 1, "after_s": 0.5}
        own = {
            "run_dir": str(self.run_dir),
            "state_dir": str(self.state),
            "metrics": {"port": self.port},
            "recorder": {"pictures": pictures, "events": events},
        }
        near, far = (self.write(name, {**scene, **own}, end) for name, end in (("near.yaml", "t"), ("far.yaml", "a")))
        self.path, self.config = near, load_config(near)
        self.host = Process(folder / "host.log", "actuate", "-c", str(far))
        self.host.says("listens at")
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

    def looked(self, times: int) -> bool:
        """The model of each camera and microphone has seen something so often."""
        counts = {snapshot.lane: snapshot.counts["inferences"] for snapshot in ledger.read_all(self.run_dir)}
        return all(counts.get(lane, 0) >= times for lane in senses(self.config))

    def recorded(self) -> bool:
        """The recorder has come up, which takes longer than the lanes."""
        return any((self.state / "recordings").glob("*.mcap"))

    def listen(self) -> None:
        """While it runs."""
        self.hay["metrics"] = until(self.scraped, "/metrics")
        for number, request in enumerate([{"do": "status"}, {"do": "picture"}]):
            answer = control.ask(self.run_dir, request, 10.0)
            assert answer
            self.hay[f"control{number}.json"] = json.dumps(answer).encode()
        self.hay["status"] = reflexd("status", "-c", str(self.path), "--json").stdout.encode()
        self.no_other_lines()
        self.take_files("running")

    def scraped(self) -> bytes:
        """Nothing while the helper that serves it is on its way."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                text: bytes = answer.read()
                return text
        except URLError:
            return b""

    def no_other_lines(self) -> None:
        """Beside the sockets of run_dir and the tap there is only the scrape of metrics, on loopback."""
        mine = psutil.Process(self.daemon.popen.pid)
        for process in [mine, *mine.children(recursive=True)]:
            for line in process.net_connections("inet"):
                assert line.laddr.ip == "127.0.0.1" and line.laddr.port == self.port, (process.cmdline(), line)

    def end(self) -> None:
        """In order; then what lies there, and the archive for support."""
        assert self.daemon.stop() == 0 and self.host.stop() == 0
        self.tap.close()
        for number, way in enumerate(self.tap.ways):
            self.hay[f"wire{number}"] = bytes(way)
        out = self.folder / "ticket.tar.gz"
        reflexd("diag", "-c", str(self.path), "-o", str(out))
        self.hay.update(opened(str(out), out.read_bytes()))
        self.take_files("ended")
        self.hay["logs"] = (self.daemon.text + self.host.text).encode()

    def take_files(self, when: str) -> None:
        for file in [*self.run_dir.rglob("*"), *self.state.rglob("*")]:
            if file.is_file():
                data = file.read_bytes()
                name = f"{when}:{file.relative_to(self.folder)}"
                self.hay.update(opened(name, data) if when == "ended" else [(name, data)])

    def kill(self) -> None:
        for process in (self.daemon, self.host):
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in [*self.state.rglob("*.mcap")]:
            yield from recording.read(path).messages


def watched(folder: Path, scene: dict[str, Any], pictures: bool, enough: Callable[[Watched], bool]) -> Watched:
    """From its start to its end."""
    one = Watched(folder, scene, pictures)
    try:
        until(lambda: enough(one) and one.recorded(), lambda: one.daemon.text + one.host.text)
        one.listen()
        one.end()
    finally:
        one.kill()
    return one


def campus_of_known_pictures(folder: Path) -> dict[str, Any]:
    """The simulated campus, every pixel with a grain of its own: no two runs of pixels are alike."""
    grain = np.random.default_rng(7)
    (folder / "pictures").mkdir()
    there = walk(640, 480, 24, 15, 0)
    for number, picture in enumerate(there + there[-2:0:-1]):  # and back, as the simulated camera shows them
        grained = np.clip(picture.astype(np.int16) + grain.integers(-12, 13, picture.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"pictures/{number:03d}.png"), grained)
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
def test_no_picture_and_no_sound_leaves(name: str, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same search finds them all in the recording of a box that was told to keep them."""
    monkeypatch.setattr(timers, "SECONDS", 0.05)
    folder = tmp_path_factory.mktemp("p")
    scene = campus_of_known_pictures(folder) if name == "known pictures" else of_recordings(name, folder)
    bedside = name == "bedside"  # its rule waits for a fall and a scream at a time; four seconds of it have both
    told = watched(folder / "t", scene, False, lambda one: one.looked(80) if bedside else one.acted())
    kept = watched(folder / "k", scene, True, lambda one: one.acted() if name == "known pictures" else one.looked(12))
    seen = what_is_seen(told.config, folder, folder)
    assert found(seen, told.hay) == {}
    for part in (*FILES, "wire0", "metrics", "control0.json", "status", "logs"):
        assert part == CLIPS and bedside or any(part in place and data for place, data in told.hay.items()), part
    tensors = {kind for kind in seen if kind.endswith("tensor")}
    places = found({kind: seen[kind] for kind in tensors}, kept.hay)
    assert set(places) == tensors
    for part in FILES if name == "known pictures" else FILES[:2]:  # larger recordings are left out of the archive
        assert any(part in place for place in set.union(*places.values())), (part, places)
    what_is_said_is_small(told)


def what_is_said_is_small(told: Watched) -> None:
    """On the wire only commands, answers and good-byes; of a frame at most a kilobyte is kept as evidence."""
    bodies = [body for way in told.tap.ways for body in frames(bytes(way))]
    kinds = {type(unpack(body)).__name__ for body in bodies}  # raises at anything else
    assert {"Command", "Ack"} <= kinds <= {"Command", "Ack", "tuple"} and max(map(len, bodies)) <= wire.COMMAND_BYTES
    sizes = {len(json.dumps({key: one[key] for key in ("evidence", "decisions")})) for _, one in told.messages()}
    assert 50 < max(sizes) <= EVIDENCE
    assert not any(one.get("inputs") for _, one in told.messages())


# -- by type --------------------------------------------------------------------------------------------------------------------

FIELDS = [name for name in Command._fields if name != "arguments"]
PICTURE = np.zeros((4, 4, 3), np.uint8)
RAW = [
    PICTURE,
    PICTURE[0, 0],
    PICTURE.ravel()[:1],
    np.zeros(3, np.float32),
    np.uint8(3),
    b"\1\2",
    bytearray(2),
    memoryview(b"ab"),
    PICTURE.data,
    array("f", [0.5]),
    [1, 2],
    (1, 2),
    {"a": b"b"},
    {1},
    None,
    1j,
    io.BytesIO(b"a"),
    object(),
]


@pytest.mark.parametrize("raw", RAW, ids=lambda one: type(one).__name__)
def test_no_field_of_a_command_takes_raw_data(raw: Any) -> None:
    kind = type(raw).__name__
    for name in FIELDS:
        with pytest.raises(
            WireError, match=f"^command for .*: '{name}' is {kind}: pictures, sound and other raw data stay here"
        ):
            pack_command(STOP._replace(**{name: raw}))
    with pytest.raises(
        WireError, match=f"^command for 'stop': 'still' is {kind}: pictures, sound and other raw data stay here"
    ):
        pack_command(STOP._replace(arguments={"still": raw}))
    if not isinstance(raw, dict):
        with pytest.raises(WireError, match=f"^command for 'stop': 'arguments' is {kind}: "):
            pack_command(STOP._replace(arguments=raw))


def test_no_name_of_an_argument_is_raw_data() -> None:
    with pytest.raises(
        WireError, match="is bytes: pictures, sound and other raw data stay here; only plain values leave"
    ):
        pack_command(STOP._replace(arguments={b"still": 1}))  # type: ignore[dict-item]


raw_data: st.SearchStrategy[Any] = (
    st.binary()
    | st.binary().map(bytearray)
    | st.binary().map(lambda one: memoryview(one))
    | st.lists(st.floats(), max_size=9)
    | st.binary(min_size=1).map(lambda one: np.frombuffer(one, np.uint8))
    | st.none()
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(0, 9) | raw_data, min_size=1, max_size=4))
def test_whatever_the_arguments_only_plain_values_are_packed(arguments: dict[str, Any]) -> None:
    plain = all(type(one) is int for one in arguments.values())
    try:
        command = unpack(pack_command(STOP._replace(arguments=arguments)))
    except WireError:
        assert not plain
    else:
        assert plain and isinstance(command, Command) and command.arguments == arguments


def test_a_number_of_numpy_s_own_is_a_number() -> None:
    command = unpack(pack_command(STOP._replace(arguments={"level": np.float64(0.5)})))
    assert isinstance(command, Command) and command.arguments == {"level": 0.5}
