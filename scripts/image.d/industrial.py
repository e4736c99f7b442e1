"""CAN and GPIO on the box's kernel: vcan, and hid-cp2112 for a USB chip that a process plays (Debian: no gpio-sim)."""

from __future__ import annotations

import configparser
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from guest import Guest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = "/var/lib/reflexd-io"  # /tmp and /run may not run libraries, and / is read-only
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = ("2014", "_2_17", "_2_27", "_2_28", "_2_34")  # of Debian 12: 2.36


def industrial_io(guest: Guest) -> str:
    """Raises RuntimeError with what the box says."""
    guest.run("sudo modprobe -a can can_raw vcan uhid hid-cp2112")
    guest.run("sudo modprobe -q gpio-sim", check=False)
    _send(guest, _libraries(guest.arch))
    try:
        line = guest.run(
            f"sudo env PYTHONPATH={FOLDER} /opt/reflexd/venv/bin/python {FOLDER}/box_io.py", timeout=900
        ).splitlines()[-1]
    finally:
        guest.run(f"sudo rm -rf {FOLDER}", check=False)
    return _summary(json.loads(line))


def _libraries(arch: str) -> bytes:
    """What the extras can and gpio need, which the image does not have, as a tar file for the box's machine."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    required = [line for extra in ("can", "gpio") for line in extras[extra].split("\n") if line]
    platforms = [part for glibc in GLIBC for part in ("--platform", f"manylinux{glibc}_{MACHINES[arch]}")]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", *platforms]
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *target, "--target", folder, *required], check=True, stdin=subprocess.DEVNULL)
        (Path(folder) / "box_io.py").write_bytes((HERE / "box_io.py").read_bytes())
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(folder, arcname=".", filter=lambda entry: None if "__pycache__" in entry.name else entry)
    return packed.getvalue()


def _send(guest: Guest, tar: bytes) -> None:
    command = f"sudo mkdir -p {FOLDER} && sudo tar -xz --no-same-owner -C {FOLDER}"
    ended = subprocess.run(guest.ssh_command(command), input=tar, capture_output=True, timeout=300)
    if ended.returncode:
        raise RuntimeError(f"the libraries did not reach the box: {ended.stderr.decode(errors='replace').strip()}")


def _summary(result: dict[str, Any]) -> str:
    parts = []
    for name in ("can", "gpio"):
        times = result[name]
        if times is None:
            parts.append(f"{name} not run: {result['reason']}")
            continue
        parts.append(f"{name}: a stamp read after {result[f'{name}_stamp_ms']} ms")
        parts.append(
            f"{name}: apply p50 {times['p50']} ms, p99 {times['p99']} ms, bare calls"
            f" {times['bare_p50']} ms, {times['bare_p99']} ms, ratio {times['ratio']:.2f}"
        )
    return "; ".join(parts)
