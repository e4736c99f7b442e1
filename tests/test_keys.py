"""Keys: made once, for their owner only; a known key gets in, everybody else stays out."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest
import zmq

from agent import keys
from agent.build import make_host
from agent.commands.outbox import Address, Link
from agent.config.models import Config, Keys
from agent.data import Decision
from agent.keys import Curve
from agent.ledger import Ledger

DEADLINE_S = 10.0
STAYS_OUT_S = 0.5


@pytest.fixture
def folder(tmp_path):
    """The actuator's box, one that may command it and one that may not."""
    for name in ("actuator", "edge", "stranger"):
        keys.make(tmp_path / name, name)
    (tmp_path / "authorized").mkdir()
    (tmp_path / "authorized" / "edge.key").write_bytes((tmp_path / "edge" / "edge.key").read_bytes())
    return tmp_path


def test_the_secret_is_for_its_owner_only(tmp_path):
    public, secret = keys.make(tmp_path / "keys", "box")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert keys.read(public) == (keys.read_secret(secret)[0], None)


def test_a_key_is_not_overwritten(tmp_path):
    public, secret = keys.make(tmp_path, "box")
    before = secret.read_bytes()
    for gone in (None, public):
        if gone:
            gone.unlink()
        with pytest.raises(FileExistsError, match="would lock out everybody"):
            keys.make(tmp_path, "box")
    assert secret.read_bytes() == before


def test_two_keys_are_never_the_same(tmp_path):
    assert keys.read(keys.make(tmp_path, "a")[0]) != keys.read(keys.make(tmp_path, "b")[0])


@pytest.mark.parametrize(
    "raw", [None, b"", b"\xff\xfe", b"public-key\n", b'public-key = "short"\n', b"metadata\ncurve\n"]
)
def test_a_file_that_is_no_key_is_named(tmp_path, raw):
    path = tmp_path / "x.key"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(OSError, match="key file .*x.key.*make one with 'reflexd keys DIR'"):
        keys.read(path)


def test_a_public_key_is_no_secret(tmp_path):
    public, _ = keys.make(tmp_path, "box")
    with pytest.raises(OSError, match="holds no secret key: name the .key_secret file"):
        keys.read_secret(public)


def test_without_authorized_keys_nobody_is_let_in(folder):
    context = zmq.Context()
    for place in (None, folder / "none"):
        with pytest.raises(OSError, match="put there the public key files"):
            keys.authenticator(context, Keys(own=folder / "actuator" / "actuator.key_secret", authorized=place))
    context.destroy(linger=0)


def test_a_broken_file_among_the_authorized_is_named(folder):
    (folder / "authorized" / "broken.key").write_text("hello")
    context = zmq.Context()
    with pytest.raises(OSError, match="broken.key"):
        keys.authenticator(
            context, Keys(own=folder / "actuator" / "actuator.key_secret", authorized=folder / "authorized")
        )
    context.destroy(linger=0)


def test_the_command_makes_keys(tmp_path):
    run = [sys.executable, "-m", "agent", "keys", str(tmp_path / "k"), "--name", "cell-1"]
    first = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert first.returncode == 0
    assert sorted(os.listdir(tmp_path / "k")) == ["cell-1.key", "cell-1.key_secret"]
    again = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "exists" in again.stderr


# -- over TCP -------------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Network:
    """`reflexd actuate` with one belt that listens beyond this box, reached over loopback."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.session = 0
        own = {"own": folder / "actuator" / "actuator.key_secret", "authorized": folder / "authorized"}
        belt = {"device": {"driver": "actuator.sim"}, "rest": "run", "endpoint": f"tcp://0.0.0.0:{self.port}"}
        config = Config.model_validate({"realtime": False, "keys": own, "actuators": {"belt": belt}})
        self.host = make_host(config)
        self.host.start()

    def curve(self, name, server="actuator"):
        own = Keys(own=self.folder / name / f"{name}.key_secret")
        return keys.curve(own, self.folder / server / f"{server}.key")

    def applied(self, curve, wait_s):
        """Does a command with these keys move the belt in time?"""
        self.session += 1
        context, ledger = zmq.Context(), Ledger(None, "cam", 1.0)
        link = Link(
            context, Address("belt", f"tcp://127.0.0.1:{self.port}", 100.0, curve), "box/cam", self.session, ledger
        )
        end = time.monotonic() + wait_s
        history = self.host.servers[0].driver.history
        found = False
        while not found and time.monotonic() < end:
            now = time.monotonic_ns()
            link.send(Decision(1, "r", "belt", f"go-{self.session}", {}, (), now, 0), now, 100_000, -1)
            link.socket.poll(20)
            link.collect(time.monotonic_ns())
            found = any(movement.verb == f"go-{self.session}" for movement in list(history))
        link.close()
        context.destroy(linger=0)
        ledger.close()
        return found


@pytest.fixture
def network(folder):
    made = Network(folder)
    yield made
    made.host.stop()
    assert not any(thread.is_alive() for thread in made.host.threads)


def test_the_right_key_gets_in_over_tcp(network):
    assert network.applied(network.curve("edge"), DEADLINE_S)


def test_a_wrong_key_or_none_stays_out(network):
    nobody = Curve(*zmq.curve_keypair(), network.curve("edge").server)
    for curve in (network.curve("stranger"), nobody, network.curve("edge", server="stranger"), None):
        assert not network.applied(curve, STAYS_OUT_S)
    assert network.host.servers[0].counts["applied"] == 0
    assert network.applied(network.curve("edge"), DEADLINE_S)


def test_plain_bytes_at_the_port_do_no_harm(network):
    for junk in (
        b"GET / HTTP/1.0\r\n\r\n",
        bytes(range(256)) * 20,
        b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00NULL" + bytes(60),
    ):
        with socket.create_connection(("127.0.0.1", network.port), 5) as peer:
            peer.sendall(junk)
    assert network.applied(network.curve("edge"), DEADLINE_S)
    assert threading.active_count() < 20


def test_no_keys_no_curve(folder):
    assert keys.curve(None, folder / "edge" / "edge.key") is None
    assert keys.curve(Keys(own=folder / "edge" / "edge.key_secret"), None) is None
