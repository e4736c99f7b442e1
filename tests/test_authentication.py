"""Who may command an actuator: an authorized key, for its box only, while it is authorized; else a local process."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import zmq

from agent import keys
from agent.benches.programs import free_port
from agent.build import addresses, make_host
from agent.commands import wire
from agent.commands.authentication import Authenticator, AuthorizedKeys, Own
from agent.commands.link import NO_ROW, Link
from agent.commands.peers import user_of_tcp
from agent.config.load import load_config
from agent.config.models import Config
from agent.data import Decision
from agent.keys import Curve
from agent.ledger import Ledger
from tests.network import Network
from tests.shared import ROOT
from tests.test_readme import blocks
from tests.waiting import DEADLINE_S, until

OWN = Own("host", b"o" * 40)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
OTHER_USER = 65534


@pytest.fixture
def network(tmp_path):
    network = Network(tmp_path)
    yield network
    network.close()


def test_an_authorized_key_moves_the_actuator_over_tcp(network):
    network.authorize("a")
    with network.sender(network.curve("a")) as sender:
        until(sender)


def test_kind_a_key_commands_only_as_its_box(network):
    """Also when the box it names is silent."""
    network.authorize("a")
    network.authorize("b")
    with network.sender(network.curve("b"), "b/cam") as honest:
        until(honest)
    with network.sender(network.curve("a"), "b/cam") as impostor:
        until(lambda: impostor() or network.counts["key"] >= 10)
        assert not impostor()
        assert impostor.link.verdict == wire.KEY
        assert impostor.link.echo.nonce == 0  # no proof, which another connection could use
    with network.sender(network.curve("a"), "a/cam") as honest:
        until(honest)


def test_kind_a_goodbye_of_another_box_is_refused(network):
    network.authorize("a")
    network.authorize("b")
    goodbyes = []
    network.server.guard.goodbye = lambda *message: goodbyes.append(message)
    with network.sender(network.curve("b"), "b/cam") as honest, network.sender(network.curve("a"), "b/cam") as other:
        until(honest)
        until(lambda: honest() and other() or network.counts["key"])
        refused = network.counts["key"]
        other.link.goodbye()
        until(lambda: honest() and other() or network.counts["key"] > refused)
        assert not goodbyes
        honest.link.goodbye()
        until(lambda: goodbyes == [("b/cam", honest.session)])


def test_a_key_in_two_files_may_command_as_two_boxes(network):
    network.authorize("a", "b")
    network.authorize("a", "cell.2")
    for node in ("b/cam", "cell.2/cam"):
        with network.sender(network.curve("a"), node) as sender:
            until(sender)


def test_kind_a_removed_key_commands_no_longer_and_is_let_in_again(network, caplog):
    """Without a restart, and without a new connection."""
    network.authorize("a")
    with network.sender(network.curve("a")) as sender:
        until(sender)
        network.revoke("a")
        until(lambda: not sender.moved_again()() and sender.link.verdict == wire.KEY)
        assert "belt refuses a command as key: refused: unknown key" in caplog.text
        assert "actuator belt refused: unknown key" in caplog.text
        until(lambda: network.verbs[-1] == "stop", "the safe state of a belt whose only sender is refused")
        network.authorize("a")
        until(sender.moved_again())


def test_kind_a_refused_sender_keeps_trying_until_its_key_arrives(network, caplog):
    with network.sender(network.curve("stranger"), "late/cam") as sender:
        until(lambda: sender() or "actuator belt: refused: unknown key" in caplog.text)
        assert not sender()
        key = network.curve("stranger").public.decode()
        assert f"refused: unknown key {key}, from 127.0.0.1: to let it in, put its public key file" in caplog.text
        assert caplog.text.count("refused: unknown key") == 2  # once on each end
        network.authorize("stranger", "late")
        until(sender)
        assert "actuator belt answers again" in caplog.text


def test_kind_wrong_keys_are_named_by_the_sender(network, caplog):
    network.authorize("a")
    cases = (
        (Curve(*zmq.curve_keypair(), network.curve("a").server), "refused: unknown key"),
        (network.curve("a", server="stranger"), "'server_key' is not the public key of the actuator's box"),
        (None, "it wants keys: set 'keys' and the actuator's 'server_key'"),
    )
    for curve, message in cases:
        caplog.clear()
        with network.sender(curve) as sender:
            until(lambda: sender() or message in caplog.text, lambda: caplog.text)  # noqa: B023 called only here
            assert not sender()
    assert not network.counts["applied"]
    with network.sender(network.curve("a")) as sender:
        until(sender)


def test_a_sender_with_keys_names_an_actuator_without(tmp_path, caplog):
    network = Network(tmp_path, keys=None, insecure=True)
    with network.sender(network.curve("a")) as sender:
        until(lambda: sender() or "or that box has no 'keys'" in caplog.text)
    network.close()


def test_kind_loopback_with_keys_is_authenticated(tmp_path):
    network = Network(tmp_path, address="127.0.0.1")
    with network.sender(None) as plain, network.sender(network.curve("stranger")) as stranger:
        until(lambda: plain() or stranger() or (plain.link.trouble and stranger.link.trouble))
        assert not plain() and not stranger()
    network.authorize("a")
    with network.sender(network.curve("a")) as sender:
        until(sender)
    network.close()


def test_the_lanes_of_a_box_command_its_own_actuators_without_more_keys(tmp_path):
    condition = {"lane": "cam", "label": "person", "score": 0.5}
    lane = {"source": {"driver": "camera.sim"}, "model": "person-coarse"}
    rules = {"r": {"any": [condition], "actuator": "belt", "verb": "stop"}}
    network = Network(tmp_path, address="127.0.0.1", lanes={"cam": lane}, rules=rules)
    (address,) = addresses(network.config, "cam")
    with network.sender(address.curve, "host/cam") as sender, network.sender(address.curve, "a/cam") as other:
        until(lambda: sender() and network.counts["applied"])
        until(lambda: other() or other.link.verdict == wire.KEY)
    network.close()


def test_foreign_bytes_at_the_port_change_nothing(network):
    network.authorize("a")
    for junk in (
        b"GET / HTTP/1.0\r\n\r\n",
        bytes(range(256)) * 20,
        b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00NULL" + bytes(60),
    ):
        with socket.create_connection(("127.0.0.1", network.port), 5) as peer:
            peer.sendall(junk)
    with network.sender(network.curve("a")) as sender:
        until(sender)
    assert threading.active_count() < 20


def test_kind_a_broken_key_file_locks_out_nobody_else(network, caplog):
    network.authorize("a")
    (network.authorized / "b.key").write_text("hello")
    os.mkfifo(network.authorized / "pipe.key")
    (network.authorized / "gone.key").symlink_to("nowhere")
    with network.sender(network.curve("a")) as sender, network.sender(network.curve("b"), "b/cam") as other:
        until(sender)
        until(lambda: caplog.text.count("its box may not command") == 3)
        assert caplog.text.count(f"{network.authorized / 'b.key'}: No public key found: make one with") == 1
        assert not other()
        network.authorize("b")
        until(lambda: sender() and other() or other.link.connection.socket.poll(0, zmq.POLLOUT))
        until(sender.moved_again())


def test_kind_a_secret_key_lets_nobody_in(network, caplog):
    network.authorize("a")
    shutil.copy(network.folder / "b" / "b.key_secret", network.authorized / "b.key")
    with network.sender(network.curve("a")) as sender, network.sender(network.curve("b"), "b/cam") as other:
        until(sender)
        until(lambda: "b.key holds a secret key, which stays on its box" in caplog.text)
        until(lambda: "refused: unknown key" in caplog.text)
        assert not other()
        network.authorize("b")
        until(lambda: sender() and other() or other.link.connection.socket.poll(0, zmq.POLLOUT))


def test_keys_that_cannot_be_read_for_lack_of_descriptors_stay_in_force(network, monkeypatch, caplog):
    network.authorize("a")
    with network.sender(network.curve("a")) as sender:
        until(sender)

        def no_descriptors(folder):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(os, "scandir", no_descriptors)
        until(lambda: "the keys read before stay in force" in caplog.text)
        until(sender.moved_again())


def test_the_log_names_few_of_many_strangers(tmp_path, caplog):
    authenticator = Authenticator(AuthorizedKeys(None, OWN))
    for number in range(100):
        request = [b"1.0", b"7", b"reflexd", b"10.0.0.9", b"", b"CURVE", number.to_bytes(32, "big")]
        for _ in range(2):
            assert authenticator._answer(request)[:4] == [b"1.0", b"7", b"400", b"unknown key"]
    assert caplog.text.count("refused: unknown key") == 16


@pytest.mark.parametrize("request_", [[], [b"1.0"], [b""] * 6, [b"1.0", b"1", b"", b"", b"", b"CURVE", b"short"]])
def test_any_other_question_than_one_about_a_known_key_is_refused(request_):
    assert Authenticator(AuthorizedKeys(None, OWN))._answer(request_)[2] == b"400"


def test_without_a_folder_only_this_box_is_authorized(tmp_path, caplog):
    authorized = AuthorizedKeys(tmp_path / "none", OWN)
    assert authorized.boxes("o" * 40) == {"host"}
    assert authorized.boxes("x" * 40) == authorized.boxes(None) == frozenset()
    authorized.refresh()
    assert caplog.text.count("only this box may command its actuators") == 1
    assert not AuthorizedKeys(None, OWN).refresh()


def local(tmp_path, endpoint):
    belt = {"device": {"driver": "actuator.sim"}, "rest": "run", "endpoint": endpoint}
    host = make_host(Config.model_validate({"run_dir": tmp_path, "realtime": False, "actuators": {"belt": belt}}))
    host.start()
    return host


COMMANDS = """
import os, sys, time, zmq
from agent.commands import wire
from agent.data import Command
socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
clock = wire.clock_id()
os.setuid(int(sys.argv[2]))
socket.connect(sys.argv[1])
command = Command("box/cam", 7, 0, 1, "belt", "run", {}, 0, 0, 500_000, clock)
for sequence in range(int(sys.argv[3])):
    now = time.monotonic_ns()
    socket.send(wire.pack_command(command._replace(sequence=sequence, t_capture=now, t_sent=now)))
    socket.poll(50)
    if socket.poll(0):
        ack = wire.unpack(socket.recv())
        command = command._replace(nonce=ack.nonce, t_echo=ack.t_ack)
        if ack.verdict != wire.UNPROVEN:  # the first
            print(wire.VERDICTS[ack.verdict], flush=True)
"""


def command(endpoint, user, times=100):
    """Verdicts on the commands of a process of this user."""
    line = [sys.executable, "-c", COMMANDS, endpoint, str(user), str(times)]
    process = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE_S, cwd=ROOT)
    assert not process.stderr
    return set(process.stdout.split())


@pytest.fixture
def public_folder():
    """pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="reflexd-test-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


@as_root
@pytest.mark.parametrize("transport", ["tcp", "ipc", "abstract"])
def test_kind_another_user_of_this_box_commands_nothing(public_folder, transport):
    path = public_folder / "belt.sock"
    ipc = f"ipc://{path}" if transport == "ipc" else f"ipc://@reflexd-test-{os.getpid()}"
    endpoint = f"tcp://127.0.0.1:{free_port()}" if transport == "tcp" else ipc
    host = local(public_folder, endpoint)
    if transport == "ipc":
        assert command(endpoint, OTHER_USER, times=5) == set()  # the file's mode keeps it out
        path.chmod(0o666)
    assert command(endpoint, OTHER_USER) == {"key"}
    assert "applied" not in host.servers[0].counts
    assert "applied" in command(endpoint, os.geteuid())
    host.stop()


def test_a_unix_socket_is_writable_by_its_user_only(tmp_path):
    mask = os.umask(0)
    try:
        host = local(tmp_path, "")
        assert (tmp_path / "belt.sock").stat().st_mode & 0o777 == 0o600
        assert os.umask(0) == 0
        host.stop()
    finally:
        os.umask(mask)


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_user_of_a_connection_inside_this_box(family, host):
    with socket.create_server((host, 0), family=family) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            source, destination = client.getsockname()[:2], client.getpeername()[:2]
            assert user_of_tcp(family, source, destination) == os.geteuid()
        with pytest.raises(OSError, match="no such connection"):
            user_of_tcp(family, (host, 1), destination)


def test_kind_the_two_boxes_of_the_document_work(tmp_path):
    """`agent/commands/README.md`: its configurations and the places of its key files, with simulated devices."""
    cell, press, *_ = blocks("agent/commands/README.md", "yaml")
    for box in ("cell-1", "press"):
        keys.make(tmp_path / box, "box")
    (tmp_path / "press" / "authorized").mkdir()
    shutil.copy(tmp_path / "press" / "box.key", tmp_path / "cell-1" / "press.key")
    shutil.copy(tmp_path / "cell-1" / "box.key", tmp_path / "press" / "authorized" / "cell-1.key")
    port, relay = free_port(), press[press.index("{driver: actuator") : press.index("\n    endpoint")]
    configs = []
    for box, text in (("cell-1", cell), ("press", press)):
        text = text.replace("/etc/reflexd/keys", str(tmp_path / box)).replace("10.0.0.2:47200", f"127.0.0.2:{port}")
        text = text.replace("{driver: camera.v4l2, device: /dev/video0}", "{driver: camera.sim}")
        path = tmp_path / f"{box}.yaml"
        path.write_text(f"realtime: false\nrun_dir: {tmp_path}\n{text}".replace(relay, "{driver: actuator.sim}"))
        configs.append(load_config(path))
    (address,), host = addresses(configs[0], "gate"), make_host(configs[1])
    host.start()
    context = zmq.Context()
    link = Link(context, address, "cell-1/gate", 1, Ledger(None, "gate", 1.0))

    def applied():
        now = time.monotonic_ns()
        link.send(Decision(1, "", "press", "run", {}, (), now, 0), now, 500_000, NO_ROW)
        link.socket.poll(20)
        link.collect(time.monotonic_ns())
        return host.servers[0].counts["applied"]

    until(applied)
    link.close()
    host.stop()
    context.destroy(linger=0)
