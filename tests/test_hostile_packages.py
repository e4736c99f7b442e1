"""Packages that would take memory, time or a secret: refused within bounds, with one message."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends import base as backends
from agent.backends.base import EngineError
from agent.errors import PackageError
from agent.packages import golden, package
from agent.packages.checksums import digest
from tests import tflite_models
from tests.processes import Cell, arm
from tests.waiting import until

ARM = package.BUNDLED / "arm-deviation"
MEMORY = 1 << 30  # address space in which each refusal must fit; a bomb takes 6 GB


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(ARM, tmp_path / "arm")


def change(folder: Path, **lines: str) -> None:
    """Replace lines of the manifest by key."""
    path = folder / "manifest.yaml"
    old = path.read_text().splitlines()
    path.write_text(
        "\n".join(next((f"{k}: {lines[k]}" for k in lines if line.startswith(f"{k}:")), line) for line in old)
    )


def list_golden(folder: Path) -> None:
    text = (folder / "manifest.yaml").read_text()
    head = text[: text.index("files:")]
    sha256 = digest(folder / "golden.npz")
    (folder / "manifest.yaml").write_text(f"{head}files: {{golden.npz: {sha256}}}\n")


def refusal(folder: Path) -> str:
    with pytest.raises(PackageError) as raised:
        package.open_package(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def refusal_of_child(folder: Path) -> str:
    """Of `model verify` in a process with little memory: its one line."""
    command = [sys.executable, "-m", "agent", "model", "verify", str(folder)]
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY}, {MEMORY}));"
    start = f"{limit} import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", start, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and not done.stdout, done
    (line,) = done.stderr.splitlines()
    return line


def npy(shape: tuple[int, ...], descr: str = "<f4", values: bytes = b"") -> bytes:
    """An array's header and whatever bytes."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


def bomb(path: Path, shape: tuple[int, ...], count: int, descr: str = "<f4") -> None:
    """An archive whose input_0 has `count` zero bytes, packed to a thousandth."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("input_0.npy", "w", force_zip64=True) as entry:
            entry.write(npy(shape, descr))
            for start in range(0, count, 1 << 24):
                entry.write(bytes(min(1 << 24, count - start)))
        with archive.open("output_0.npy", "w") as entry:
            np.save(entry, np.zeros((1, 4), np.int8))


@pytest.mark.parametrize(
    "shape, count, descr, message",
    [
        ((6, 1 << 26), 6 << 28, "<f4", "at most 256 rows and 268,435,456 bytes are read"),
        ((1_000_000_000_000,), 100, "<f4", "at most 256 rows"),
        ((2_000_000, 1), 2_000_000, "|i1", "at most 256 rows"),
        ((1,), 100, "|V2000000000", "at most 256 rows"),
        ((-1, 5), 100, "<f4", "cannot be read"),
        ((1, 4), 0, "<f4", "cannot be read"),
        ((1, 3), 3, "|i1", "does not fit the model"),
        ((1,), 1, "|O", "Python objects, which are never loaded"),
    ],
)
@pytest.mark.slow
def test_kind_golden_outputs_that_are_a_bomb(copy: Path, shape: Any, count: int, descr: str, message: str) -> None:
    bomb(copy / "golden.npz", shape, count, descr)
    list_golden(copy)
    assert message in refusal_of_child(copy)


def test_an_archive_of_many_entries_is_not_listed(copy: Path) -> None:
    with zipfile.ZipFile(copy / "golden.npz", "w") as archive:
        for number in range(5000):
            archive.writestr(f"{number}.npy", b"")
    list_golden(copy)
    assert "an archive with too many entries" in refusal(copy)


def test_an_archive_that_is_encrypted_or_packed_in_an_unknown_way(copy: Path) -> None:
    with zipfile.ZipFile(copy / "golden.npz", "w") as archive:
        content = io.BytesIO()
        np.save(content, np.zeros((1, 32, 12), np.int8))
        archive.writestr("input_0.npy", content.getvalue())
    raw = bytearray((copy / "golden.npz").read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    for offset, value in ((8, 1), (10, 99)):  # flag: encrypted; method: unknown
        changed = bytearray(raw)
        changed[at + offset] = value
        changed[(6 if offset == 8 else 8)] = value
        (copy / "golden.npz").write_bytes(changed)
        list_golden(copy)
        with pytest.raises(PackageError, match="golden.npz: cannot be read"):
            package.open_package(copy)


@pytest.mark.parametrize("name", ["golden.npz", "arm-deviation.tflite"])
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder", "huge", "link", "no end"])
def test_kind_a_file_that_is_no_regular_one(copy: Path, name: str, kind: str) -> None:
    path = copy / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(copy)  # the path of a socket is short
            listener.bind(name)
    elif kind in ("device", "link"):
        path.symlink_to("/dev/zero" if kind == "device" else ARM / name)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"")
        os.truncate(path, 40 << 30 if kind == "huge" else (1 << 31) + 1)
    messages = ("is no regular file", "outside of the folder", "does not exist", "at most 2,147,483,648 are read")
    refused = refusal_of_child(copy) if kind in ("fifo", "huge") else refusal(copy)
    assert any(message in refused for message in messages)


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/passwd", "../arm/golden.npz", "a/../../b", "..", "/dev/zero"])
@pytest.mark.parametrize("key", ["file", "golden"])
def test_kind_a_path_that_leads_out_of_the_package(copy: Path, key: str, path: str) -> None:
    change(copy, **{key: path})
    message = refusal(copy)
    assert f"'{key}': expected a file in the package's folder: no absolute path, no '..', found '{path}'" in message
    assert "sha256" not in message


@pytest.mark.parametrize("key", ["file", "golden"])
def test_kind_a_path_that_is_a_url_with_a_password_is_not_shown(copy: Path, key: str) -> None:
    change(copy, **{key: "//admin:Zq1@192.0.2.7/../model"})
    message = refusal(copy)
    assert f"'{key}': expected a file in the package's folder" in message and "Zq1" not in message


def test_every_file_that_is_read_has_its_sha256(copy: Path) -> None:
    with np.load(copy / "golden.npz") as arrays:
        np.savez(copy / "golden.npz", **arrays)
    assert "golden.npz: sha256 is" in refusal(copy)
    text = (copy / "manifest.yaml").read_text()
    (copy / "manifest.yaml").write_text(text[: text.index("files:")])
    assert "'golden.npz' is read, too, and 'files' has no sha256 of it; if you trust it, add" in refusal(copy)


@pytest.mark.parametrize(
    "lines, message",
    [
        ({"decoder": '"\\ud800"'}, "no decoder"),
        ({"decoder": "classify.Decoder"}, "no decoder 'classify.Decoder'"),
        ({"decoder": "vitals"}, "no decoder 'vitals'; there is blobs"),
        ({"backend": '"\\ud800"'}, "no backend"),
        ({"backend": "..x"}, "no backend '..x'"),
        ({"backend": "onnx_weights"}, "no backend 'onnx_weights'"),
        ({"file": '"\\ud800"'}, "arm"),
        ({"file": '""'}, "does not exist"),
        ({"decoder": "nanodet"}, "nanodet needs"),
        ({"decoder": "blobs"}, "options.kinds"),
        ({"decoder": "grid"}, "grid needs"),
    ],
)
def test_kind_no_traceback_for_a_name(copy: Path, lines: dict[str, str], message: str) -> None:
    change(copy, **lines)
    with pytest.raises(PackageError) as raised:
        package.open_package(copy)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_package_that_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "agent.backends.onnx", raising=False)
    with pytest.raises(EngineError, match="needs the Python package 'onnxruntime': scripts/setup onnx, or pip install"):
        backends.load("onnx", ARM)


def test_golden_outputs_are_still_compared(copy: Path) -> None:
    opened = package.open_package(copy)
    assert opened.golden == 0.0
    assert set(golden.load(copy / "golden.npz", opened.engine)) == {"input_0", "output_0"}


def test_litert_prints_a_failure_once_until_it_works_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "failing.tflite"
    path.write_bytes(tflite_models.failing())
    engine: Any = backends.load("litert", path)
    invoke = engine.run

    def printing() -> None:
        try:
            invoke()
        finally:
            os.write(2, b"of another thread\n")

    engine.run = printing
    capfd.readouterr()
    for level, errors in ((0.0, 0), (1.0, 1), (1.0, 0), (1.0, 0), (0.0, 0), (1.0, 1), (1.0, 0)):
        engine.input(0)[...] = level
        if level:
            with pytest.raises(EngineError, match="gather index out of bounds"):
                engine.invoke()
        else:
            engine.invoke()
            assert engine.output(0).tolist() == [[pytest.approx(0.7)]]
        printed = capfd.readouterr().err
        assert (printed.count("ERROR"), printed.count("of another thread")) == (errors, 1)


@pytest.mark.slow
def test_kind_a_reload_with_a_fifo_in_a_package_is_refused_and_the_next_one_works(tmp_path: Path) -> None:
    folder = shutil.copytree(ARM, tmp_path / "m")
    with Cell(tmp_path, {"arm": {**arm(), "model": "m"}}) as cell:
        _, daemon = cell.start_both()
        cell.wait_for_count("arm", "inferences", 20)
        (folder / "golden.npz").rename(folder / "good")
        os.mkfifo(folder / "golden.npz")
        assert "is no regular file" in json.dumps(reload(cell))
        (folder / "golden.npz").unlink()
        (folder / "good").rename(folder / "golden.npz")
        assert reload(cell).get("ok"), daemon.text
        done = cell.counts("arm")["inferences"]
        until(lambda: cell.counts("arm")["inferences"] > done + 20, cell.logs)
        assert daemon.stop() == 0


def reload(cell: Cell) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(cell.run_dir / "control.sock"))
        client.sendall(b'{"do": "reload"}\n')
        answer: dict[str, Any] = json.loads(client.makefile().readline())
        return answer
