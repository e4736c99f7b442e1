"""Every command on damaged files: one line that says what is wrong, exit code 1 or 2, bounded memory, no traceback."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from agent import keys
from agent.packages.package import BUNDLED
from agent.recorder.recording import SCHEMA, Recording, RecordingError, read
from agent.replay.compare import replay
from agent.tapes.tape import TapeHeader
from tests.forked import Ended, run_all

MEGABYTES = 300  # with the libraries of inference
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "random": lambda raw: random.Random(7).randbytes(4096),
    "zeros": lambda raw: bytes(100_000),
    "brackets": lambda raw: b"[" * 60_000,
    "braces": lambda raw: b"{" * 60_000,
    "magic": lambda raw: bytes(8) + raw[8:],
    "cut": lambda raw: raw[: len(raw) // 3],
    "cut at 20": lambda raw: raw[:20],
}


def one_line(ended: Ended) -> None:
    assert ended.code in (1, 2), ended
    assert "Traceback" not in ended.errors and len(ended.errors.strip().splitlines()) == 1, ended
    assert ended.megabytes < MEGABYTES, ended


def recording(path: Path, /, messages: int = 1, **header: str) -> bytes:
    """A file with a header that is valid, and messages that are not complete."""
    plain = {
        "config": "{}",
        "path": str(path),
        "models": "{}",
        "in_force": "{}",
        "lost_before": "0",
        "version": "0.2.0",
    }
    with open(path, "wb") as file:
        made = Recording(file, {**plain, **header})
        for number in range(messages):
            made.add(TapeHeader("arm", ["a"], [], []), {"order": number, "sequence": number}, 1)
        made.close()
    return path.read_bytes()


@pytest.mark.timeout(600)  # twenty commands
@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.slow
def test_kind_damaged_files_of_every_command(tmp_path: Path, kind: str) -> None:
    damage = DAMAGE[kind]
    public, secret = keys.make(tmp_path / "keys", "box")
    names = {"x.mcap": recording(tmp_path / "good.mcap"), "x.mcap.sealed": b"reflexd sealed 1\n" + bytes(200)}
    names |= {name: (BUNDLED / "arm-deviation/manifest.yaml").read_bytes() for name in ("x.yaml", "key")}
    model = next((BUNDLED / "arm-deviation").glob("*.tflite"))
    names |= {name: model.read_bytes() for name in ("x.tflite", "x.onnx", "x.mp4", "x.png", "x.avi")}
    for name, raw in names.items():
        (tmp_path / name).write_bytes(damage(raw))
    for number, file in enumerate((model.name, "manifest.yaml", "golden.npz")):
        shutil.copytree(BUNDLED / "arm-deviation", tmp_path / f"package-{number}")
        damaged = tmp_path / f"package-{number}" / file
        damaged.write_bytes(damage(damaged.read_bytes()))
    commands = [
        ["replay", "x.mcap"],
        *(["replay", "x.mcap.sealed", "--key", key] for key in (str(secret), str(public), "key")),
        *([command, "-c", "x.yaml"] for command in ("check", "run", "actuate")),
        *(["model", "init", name, "--into", "made"] for name in ("x.tflite", "x.onnx")),
        *(["model", "verify", f"package-{number}"] for number in range(3)),
        ["model", "show", "package-1"],
        *(["view", name, "-o", "out.png"] for name in ("x.mp4", "x.png", "x.avi")),
        ["zones", "x.png", "-o", "out.png", "-c", "x.yaml"],
    ]
    *ended, status, trace = run_all([*commands, *([name, "-c", "x.yaml"] for name in ("status", "trace"))], tmp_path)
    for command in ended:
        one_line(command)
    # They report what there is, as a box in trouble needs it.
    assert "Traceback" not in status.errors + trace.errors and status.code in (1, 2, 3) and trace.code in (0, 1, 2)


def _record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def _chunk(content: bytes, declared: int, compression: bytes = b"zstd") -> bytes:
    """An MCAP chunk; declared: its size in memory, as it says."""
    fields = struct.pack("<QQQI", 0, 0, declared, 0) + struct.pack("<I", len(compression)) + compression
    return _record(6, fields + struct.pack("<Q", len(content)) + content)


def _zeros(megabytes: int, say_size: bool) -> bytes:
    """Zeros as a zstd frame, whose header says how many or not."""
    compressor = zstandard.ZstdCompressor(write_content_size=say_size)
    work = compressor.compressobj(size=megabytes << 20 if say_size else -1)
    return b"".join([*(work.compress(bytes(1 << 20)) for _ in range(megabytes)), work.flush()])


def test_kind_a_recording_that_expands_without_bound(tmp_path: Path) -> None:
    raw = recording(tmp_path / "good.mcap", messages=0)
    start = raw[: raw.index(json.dumps(SCHEMA).encode()[:20]) - 60]  # magic, header, metadata
    message = _record(5, struct.pack("<HIQQ", 1, 0, 0, 0) + b'{"order": 1}')
    many = zstandard.compress(message * (20_000_000 // len(message)))
    said, unsaid = _zeros(500, True), _zeros(500, False)
    bombs = {
        "said": _chunk(said, 500 << 20),
        "lied": _chunk(said, 100),
        "unsaid": _chunk(unsaid, 500 << 20),
        "unsaid and lied": _chunk(unsaid, 1 << 20),
        "lz4": _chunk(b"\x04\x22\x4d\x18" + bytes(60), 1 << 40, b"lz4"),
        "many": _chunk(many, 20_000_000) * 40,
    }
    for name, bomb in bombs.items():
        (tmp_path / f"{name}.mcap").write_bytes(start + bomb)
    for ended in run_all([["replay", f"{name}.mcap"] for name in bombs], tmp_path):
        one_line(ended)


@pytest.mark.parametrize(
    "change",
    [
        {"config": "[" * 9000},
        {"config": '{"lanes": {}}'},
        {"models": '{"../../etc": "0"}'},
        {"in_force": '{"robot": 1}'},
        {"lost_before": "many"},
        {"path": "\0"},
        {"version": "0.1.0", "config": "null"},
    ],
)
@pytest.mark.slow
def test_kind_a_recording_whose_header_is_damaged(tmp_path: Path, change: dict[str, str]) -> None:
    recording(tmp_path / "x.mcap", **change)
    (ended,) = run_all([["replay", "x.mcap"]], tmp_path)
    one_line(ended)


def test_kind_a_recording_of_nothing_is_no_success(tmp_path: Path) -> None:
    recording(tmp_path / "x.mcap", messages=0)
    (ended,) = run_all([["replay", "x.mcap", "--json"]], tmp_path)
    one_line(ended)
    assert "no sample is in it" in ended.errors and not ended.output


VALUES: list[Any] = [None, True, -1, 1 << 63, 1e308, float("nan"), "", "\0", "x" * 500, [], [[]], {}, [[1e309]]]


def test_a_message_with_any_value_anywhere(tmp_path: Path) -> None:
    """Damage that compression and JSON have survived."""
    lanes = {"arm": {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}}
    config = json.dumps({"lanes": lanes, "actuators": {}, "rules": {}})
    recording(tmp_path / "x.mcap", config=config)
    contents = read(tmp_path / "x.mcap")
    channels = [f"j{number}" for number in range(1, 13)]
    good: dict[str, Any] = {"order": 1, "sequence": 1, "t_capture": 1, "skipped": 0, "discontinuity": False}
    good |= {"inferred": False, "readings": [[0.0] * 12], "frame": [], "region": [0, 0, 0, 0]}
    good |= {key: [] for key in ("outputs", "inputs", "evidence", "decisions")}
    for key in good:
        for value in VALUES:
            message = {**good, "channels": channels, key: value}
            try:
                replay(contents._replace(messages=[("arm", message)]))
            except RecordingError as error:
                assert len(str(error).splitlines()) == 1
