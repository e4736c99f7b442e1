"""Random bytes for REFLEXD_FUZZ_SECONDS (default 3): only the documented errors are raised."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest

from agent import yamlfile
from agent.commands import wire
from agent.commands.guard import Bounds, Guard
from agent.commands.wire import WireError
from agent.config.load import validate_config
from agent.data import Ack, Command
from agent.errors import ConfigError, PackageError
from agent.packages import package
from agent.yamlfile import YamlError
from tests.shared import ROOT

SECONDS = float(os.environ.get("REFLEXD_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("REFLEXD_FUZZ_SEED", str(random.SystemRandom().randrange(1 << 32))))

COMMAND = Command(
    node="cell-1/arm",
    session=1 << 31,
    sequence=7,
    decision=2,
    actuator="stop",
    verb="stop",
    arguments={"channel": 1, "speed": 0.5},
    t_capture=10**15,
    t_sent=10**15,
    ttl=50_000,
    clock=99,
    box=1,
    link=1,
    nonce=1 << 31,
    t_echo=10**15,
    held=20_000,
)
ACK = Ack(actuator="stop", session=5, sequence=6, verdict=0, t_applied=10**15, clock=3, nonce=1 << 31, t_ack=10**15)
OLD = msgpack.packb((1, 1, "cell-1/arm", 5, 7, 2, "stop", "stop", {}, 10**15, 10**15, 50_000, 99, False))
FRAMES = [
    wire.pack_command(COMMAND),
    wire.pack_command(COMMAND._replace(ttl=wire.MAX_TTL_US)),
    wire.pack_ack(ACK),
    wire.pack_goodbye("cell-1/arm", 5),
    wire.pack_hello("cell-1/arm", 5),
    OLD,
]
SCENE = (ROOT / "agent/scenes/robot-cell.yaml").read_bytes()
YAML_BITS = [
    b"- ",
    b": ",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!python/object:os.system ",
    b"{",
    b"]",
    b"\t",
    b"'",
    b"? ",
    b"|\n",
    b"\x00",
    b"\xff",
    b"---\n",
    b"1e999",
    b".nan",
    b"2020-01-01",
    b"0o77",
    b"!!binary aGk=",
    b"!!set {a}",
]


def mutated(seed: bytes, chance: random.Random, bits: list[bytes]) -> bytes:
    """With a few small damages: bytes changed, removed, repeated, or one of `bits` inserted."""
    raw = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(raw) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(raw):
            raw[at] = chance.randrange(256)
        elif kind == 1:
            del raw[at : at + chance.randint(1, 12)]
        elif kind == 2:
            raw[at:at] = raw[at : at + chance.randint(1, 30)]
        elif kind == 3 and bits:
            raw[at:at] = chance.choice(bits)
        else:
            raw[at:at] = chance.randbytes(chance.randint(1, 8))
    return bytes(raw)


def attempts(make: Callable[[random.Random], bytes]) -> Iterator[bytes]:
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield make(chance)


def test_wire() -> None:
    """Mutated frames and plain noise: a checked message or a WireError."""
    accepted = tried = 0
    for raw in attempts(
        lambda chance: mutated(chance.choice(FRAMES), chance, []) if chance.random() < 0.9 else chance.randbytes(64)
    ):
        tried += 1
        try:
            message = wire.unpack(raw)
        except WireError:
            continue
        except Exception as error:
            pytest.fail(f"seed {SEED}: {raw.hex()}: {error!r}")
        accepted += 1
        if isinstance(message, Command):
            assert wire.unpack(wire.pack_command(message)) == message
            assert message.ttl <= wire.MAX_TTL_US
            judged = Guard("stop", Bounds(frozenset(), 10**8, frozenset(), {}), 99).judge(message, 10**15)
            assert judged in (wire.UNPROVEN, wire.UNKNOWN)
    print(f"wire: {tried} frames, {accepted} still valid, seed {SEED}")
    assert tried > 100


def test_config() -> None:
    """Mutated configurations: a Config or a ConfigError that names the file."""
    path = ROOT / "agent/scenes/fuzzed.yaml"
    accepted = tried = 0
    for raw in attempts(lambda chance: mutated(SCENE, chance, YAML_BITS)):
        tried += 1
        try:
            validate_config(yamlfile.parse(raw, path))
            accepted += 1
        except (ConfigError, YamlError) as error:
            assert "fuzzed.yaml" in str(error), raw
        except Exception as error:
            pytest.fail(f"seed {SEED}: {raw!r}: {error!r}")
    print(f"config: {tried} files, {accepted} still valid, seed {SEED}")
    assert tried > 10


def test_manifest(tmp_path: Path) -> None:
    """Mutated manifests of a bundled package."""
    seed = (ROOT / "models/arm-deviation/manifest.yaml").read_bytes()
    for raw in attempts(lambda chance: mutated(seed, chance, YAML_BITS)):
        (tmp_path / "manifest.yaml").write_bytes(raw)
        try:
            package.labels(tmp_path)
        except PackageError:
            continue
        except Exception as error:
            pytest.fail(f"seed {SEED}: {raw!r}: {error!r}")
