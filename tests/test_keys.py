"""Keys: made once, readable by their owner only; an authorized key is admitted, every other one refused."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from agent import keys
from agent.build import make_host
from agent.commands.outbox import Address, Link
from agent.config.models import Config
from agent.data import Decision
from agent.keys import Curve
from agent.ledger import Ledger
from tests.waiting import until

REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


@pytest.fixture
def folder(tmp_path):
    """Keys of the actuator's box, of a box that may command it and of one that may not."""
    for name in ("actuator", "edge", "stranger"):
        keys.make(tmp_path / name, name)
    (tmp_path / "authorized").mkdir()
    (tmp_path / "authorized" / "edge.key").write_bytes((tmp_path / "edge" / "edge.key").read_bytes())
    return tmp_path


def test_only_the_owner_can_read_the_secret_key(tmp_path):
    public, secret = keys.make(tmp_path / "keys", "box")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert keys.read(public) == (keys.read_secret(secret)[0], None)


def test_a_key_is_not_overwritten(tmp_path):
    public, secret = keys.make(tmp_path, "box")
    before = secret.read_bytes()
    for removed in (None, public):
        if removed:
            removed.unlink()
        with pytest.raises(FileExistsError, match="would lock out every box"):
            keys.make(tmp_path, "box")
    assert secret.read_bytes() == before


def test_two_keys_are_never_the_same(tmp_path):
    assert keys.read(keys.make(tmp_path, "a")[0]) != keys.read(keys.make(tmp_path, "b")[0])


@pytest.mark.parametrize(
    "raw", [None, b"", b"\xff\xfe", b"public-key\n", b'public-key = "short"\n', b"metadata\ncurve\n"]
)
def test_a_file_that_is_not_a_key_is_named(tmp_path, raw):
    path = tmp_path / "x.key"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(OSError, match="key file .*x.key.*make one with 'reflexd keys DIR'"):
        keys.read(path)


def test_a_public_key_is_refused_as_a_secret_one(tmp_path):
    public, _ = keys.make(tmp_path, "box")
    with pytest.raises(OSError, match="holds no secret key: name the .key_secret file"):
        keys.read_secret(public)


def test_without_a_folder_of_authorized_keys_there_is_no_authenticator(folder):
    context = zmq.Context()
    for place in (None, folder / "none"):
        with pytest.raises(OSError, match="put the public key files of the boxes"):
            keys.authenticator(context, place)
    context.destroy(linger=0)


def test_a_broken_file_among_the_authorized_keys_is_named(folder):
    (folder / "authorized" / "broken.key").write_text("hello")
    context = zmq.Context()
    with pytest.raises(OSError, match="broken.key"):
        keys.authenticator(context, folder / "authorized")
    context.destroy(linger=0)


def test_the_command_makes_keys(tmp_path):
    run = [sys.executable, "-m", "agent", "keys", str(tmp_path / "k"), "--name", "cell-1"]
    first = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert first.returncode == 0
    assert sorted(os.listdir(tmp_path / "k")) == ["cell-1.key", "cell-1.key_secret"]
    again = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "exists" in again.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Network:
    """`reflexd actuate` with one belt on a network endpoint, reached over loopback."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.session = 0
        own = {"own": folder / "actuator" / "actuator.key_secret", "authorized": folder / "authorized"}
        belt = {"device": {"driver": "actuator.sim"}, "rest": "run", "endpoint": f"tcp://0.0.0.0:{self.port}"}
        config = Config.model_validate({"realtime": False, "keys": own, "actuators": {"belt": belt}})
        self.host = make_host(config)
        self.monitor = self.host.servers[0].socket.get_monitor_socket(REFUSED)
        self.host.start()

    def curve(self, name, server="actuator"):
        return keys.curve(self.folder / name / f"{name}.key_secret", self.folder / server / f"{server}.key")

    @contextmanager
    def sender(self, curve):
        """A function that sends a command with these keys, and returns whether the belt has moved by it."""
        self.session += 1
        verb = f"go-{self.session}"
        context, ledger = zmq.Context(), Ledger(None, "cam", 1.0)
        address = Address("belt", f"tcp://127.0.0.1:{self.port}", 100.0, curve)
        link = Link(context, address, "box/cam", self.session, ledger)

        def moved():
            now = time.monotonic_ns()
            decision = Decision(
                number=1, rule="r", actuator="belt", verb=verb, arguments={}, evidence=(), t_capture=now, deadline=0
            )
            link.send(decision, now, 100_000, -1)
            link.socket.poll(20)
            link.collect(time.monotonic_ns())
            return any(movement.verb == verb for movement in list(self.host.servers[0].driver.history))

        yield moved
        link.close()
        context.destroy(linger=0)
        ledger.close()

    def refused(self):
        """Has the host refused a connection since the last call?"""
        refusals = 0
        while self.monitor.poll(0):
            refusals += bool(recv_monitor_message(self.monitor))
        return refusals > 0


@pytest.fixture
def network(folder):
    network = Network(folder)
    yield network
    network.monitor.close()
    network.host.stop()
    assert not any(thread.is_alive() for thread in network.host.threads)


def test_an_authorized_key_moves_the_actuator_over_tcp(network):
    with network.sender(network.curve("edge")) as moved:
        until(moved)


def test_a_wrong_key_or_none_is_refused(network):
    unknown = Curve(*zmq.curve_keypair(), network.curve("edge").server)
    for curve in (network.curve("stranger"), unknown, network.curve("edge", server="stranger"), None):
        with network.sender(curve) as moved:
            until(lambda: moved() or network.refused(), "the refusal")  # noqa: B023 called only here
            assert not moved()
    assert network.host.servers[0].counts["applied"] == 0
    with network.sender(network.curve("edge")) as moved:
        until(moved)


def test_foreign_bytes_at_the_port_change_nothing(network):
    for junk in (
        b"GET / HTTP/1.0\r\n\r\n",
        bytes(range(256)) * 20,
        b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00NULL" + bytes(60),
    ):
        with socket.create_connection(("127.0.0.1", network.port), 5) as peer:
            peer.sendall(junk)
    with network.sender(network.curve("edge")) as moved:
        until(moved)
    assert threading.active_count() < 20


def test_without_a_key_file_there_is_no_curve(folder):
    assert keys.curve(None, folder / "edge" / "edge.key") is None
    assert keys.curve(folder / "edge" / "edge.key_secret", None) is None
