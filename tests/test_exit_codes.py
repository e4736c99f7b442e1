"""1 where a later start may work as it is, and systemd restarts; 2 where a person must change something."""

from __future__ import annotations

import errno
import json
import shutil
import socket
from pathlib import Path

import click
import pytest

from agent import keys
from agent.benches.programs import free_port
from agent.errors import ConfigError, PackageError, Pending, heals
from agent.packages.package import BUNDLED
from tests.processes import Cell, Process, arm, camera, robot


def one_line(process: Process, code: int) -> str:
    """Of the process, which ended with this code."""
    assert process.exit_code() == code, process.text
    (line,) = [line for line in process.text.splitlines() if " is off: " not in line]
    return line


def listening_at(cell: Cell, endpoint: str) -> None:
    cell.config["actuators"]["robot"]["endpoint"] = endpoint
    cell.config["insecure"] = True


@pytest.mark.parametrize(
    "endpoint, words",
    [
        ("tcp://198.51.100.7:{port}", "Cannot assign requested address"),  # the address is not there yet
        ("tcp://[2001:db8::7]:{port}", "listen at tcp://[2001:db8::7]"),
        ("tcp://noeth9:{port}", "No such device"),
    ],
)
def test_kind_an_address_that_is_not_up_yet(tmp_path: Path, endpoint: str, words: str) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        listening_at(cell, endpoint.format(port=free_port()))
        line = one_line(cell.start("actuate", "-c", str(cell.write())), 1)
        assert words in line


def test_kind_a_port_that_is_held_for_a_moment(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listening_at(cell, f"tcp://127.0.0.1:{other.getsockname()[1]}")
        assert "Address already in use" in one_line(cell.start("actuate", "-c", str(cell.write())), 1)
        other.close()
        cell.actuate()


@pytest.mark.parametrize("command", ["run", "actuate"])
@pytest.mark.slow
def test_kind_a_model_on_a_disk_that_is_late(tmp_path: Path, command: str) -> None:
    disk = tmp_path / "disk"
    with Cell(tmp_path, {"arm": {**arm(), "model": str(disk / "model")}}) as cell:
        path = cell.write()
        assert f"no model package '{disk}/model'" in one_line(cell.start(command, "-c", str(path)), 1)
        assert cell.start("check", "-c", str(path)).exit_code() == 2
        shutil.copytree(BUNDLED / "arm-deviation", disk / "model")
        process = cell.start(command, "-c", str(path))
        process.wait_for("runs: lanes" if command == "run" else "listens at")
        process.stop()
        cell.config["lanes"]["arm"]["model"] = "arm-deviatoin"  # a typing error does not heal
        assert "arm-deviatoin" in one_line(cell.start(command, "-c", str(cell.write())), 2)


def on_disk(cell: Cell, disk: Path, kind: str) -> None:
    """The configuration names files on this disk."""
    cell.config["keys"] = {"own": f"{disk}/box.key_secret", "authorized": f"{disk}/boxes"}
    if kind == "keys":
        listening_at(cell, f"tcp://0.0.0.0:{free_port()}")
        return
    del cell.config["keys"]
    if kind == "server_key":
        cell.config["actuators"]["robot"]["server_key"] = f"{disk}/far.key"
    elif kind == "seal":
        cell.config["recorder"] = {"events": {"seal": f"{disk}/seal.key"}}
    else:
        cell.config["lanes"]["eye"] = {**camera(), "model": "pcb-inspect", "reference": f"{disk}/good.png"}


@pytest.mark.parametrize("kind", ["keys", "server_key", "seal", "reference"])
@pytest.mark.slow
def test_kind_a_file_on_a_disk_that_is_late(tmp_path: Path, kind: str) -> None:
    disk = tmp_path / "disk"
    with Cell(tmp_path, {"arm": arm()}) as cell:
        on_disk(cell, disk, kind)
        path = cell.write()
        late = cell.start("actuate", "-c", str(path))
        assert late.exit_code() == 1 and str(disk) in late.text, late.text
        disk.mkdir()  # it is there now, and the file is not: a person must act
        assert cell.start("actuate", "-c", str(path)).exit_code() == 2
        if kind == "keys":
            keys.make(disk, "box")
            (disk / "boxes").mkdir()
            cell.start("actuate", "-c", str(path)).wait_for("listens at")


def test_kind_a_configuration_on_a_disk_that_is_late(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        path = tmp_path / "disk" / "reflexd.yaml"
        assert str(path) in one_line(cell.start("actuate", "-c", str(path)), 1)
        path.parent.mkdir()
        assert str(path) in one_line(cell.start("actuate", "-c", str(path)), 2)


BAD_KEY = {"nonsense": b"not a key", "binary": bytes(range(256)), "alphabet": None, "public": None, "missing": None}


@pytest.mark.parametrize("kind", BAD_KEY)
@pytest.mark.parametrize("command", ["run", "actuate"])
@pytest.mark.slow
def test_kind_a_wrong_key_is_one_line(tmp_path: Path, kind: str, command: str) -> None:
    public, secret = keys.make(tmp_path / "keys", "box")
    wrong = tmp_path / "wrong.key_secret"
    if kind == "public":
        wrong.write_bytes(public.read_bytes())
    elif kind == "alphabet":
        wrong.write_bytes(secret.read_bytes().replace(b'secret-key = "', b'secret-key = "~~~~~')[:-7] + b'"\n')
    elif kind != "missing":
        wrong.write_bytes(BAD_KEY[kind] or b"")
    if wrong.exists():
        wrong.chmod(0o600)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["keys"] = {"own": str(wrong), "authorized": str(tmp_path / "keys")}
        cell.config["actuators"] = {
            "robot": {
                **robot({"driver": "actuator.sim"}),
                "endpoint": f"tcp://0.0.0.0:{free_port()}",
                "server_key": str(public),
            }
        }
        process = cell.start(command, "-c", str(cell.write()))
        assert process.exit_code() == 2, process.text
        assert "Traceback" not in process.text and str(wrong) in process.text


@pytest.mark.parametrize(
    "number, healing",
    [
        *((number, True) for number in (errno.ENOSPC, errno.EDQUOT, errno.EADDRINUSE, errno.EADDRNOTAVAIL)),
        *((number, True) for number in (errno.ENOMEM, errno.EMFILE, errno.EIO, errno.ESTALE, errno.ENODEV)),
        *((number, True) for number in (errno.EAGAIN, errno.EHOSTUNREACH, socket.EAI_AGAIN)),
        *((number, False) for number in (errno.EACCES, errno.ENOENT, errno.EINVAL, errno.EISDIR)),
    ],
)
def test_what_heals_by_itself(number: int, healing: bool) -> None:
    assert heals(OSError(number, "as it happens")) == healing
    error = PackageError("model.onnx: cannot be read")
    error.__cause__ = OSError(number, "as it happens")
    assert heals(error) == healing


def test_a_mistake_that_stays_beside_one_that_heals() -> None:
    assert heals(ConfigError([Pending("later")]))
    assert not heals(ConfigError([Pending("later"), "never"]))
    assert heals(MemoryError()) and not heals(OSError("without a number")) and not heals(None)


def test_messages_have_no_prefix() -> None:
    from agent.__main__ import _explain

    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "box.key")
    assert _explain(missing)[0] == "box.key: No such file or directory"
    assert _explain(OSError(errno.EADDRINUSE, "cannot listen at tcp://*:7: Address in use"))[0].startswith("cannot ")
    assert _explain(FileExistsError("box.key exists"))[0] == "box.key exists"
    assert _explain(click.ClickException("out.txt: a still is written to .png"))[0].startswith("out.txt: ")


def test_short_memory_is_one_line(tmp_path: Path) -> None:
    from agent.__main__ import _explain

    for error in (MemoryError(), RuntimeError("can't start new thread")):
        text, code = _explain(error)
        assert code == 1 and "short of memory" in text
    assert json.dumps(_explain(OSError(errno.ENOSPC, "No space left on device"))[1]) == "1"


def test_a_bug_has_its_traceback_and_may_heal() -> None:
    from agent.__main__ import _explain

    try:
        raise ValueError("a bug")
    except ValueError as error:
        text, code = _explain(error)
    assert code == 1 and text.startswith("Traceback") and text.endswith("ValueError: a bug\n")
