"""scripts/image: its parts. The whole image is built and booted in an emulator by `scripts/image --check`."""

from __future__ import annotations

import configparser
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT

IMAGE_PARTS = ROOT / "scripts" / "image.d"
sys.path.insert(0, str(IMAGE_PARTS))

import bios_boot  # noqa: E402  # not a package: on the path by the line above
import pins  # noqa: E402

TARGETS = ("amd64", "arm64", "jetson")


def names(lines: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~;\[]", line.strip())[0].lower().replace("_", "-") for line in lines if line.strip()}


@pytest.mark.parametrize("target", TARGETS)
def test_every_requirement_is_pinned(target: str) -> None:
    lines = [
        line
        for line in (IMAGE_PARTS / f"requirements-{target}.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9.-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    missing = names(pins.required_packages(str(ROOT / "setup.cfg"))) - names(lines)
    assert not missing, f"run scripts/image.d/pin: {missing}"


def test_a_box_gets_the_required_packages_and_textual(tmp_path: Path) -> None:
    setup = configparser.ConfigParser()
    setup["options"] = {"install_requires": "\nnumpy>=1.26\nclick>=8.1"}
    setup["options.extras_require"] = {"top": "\ntextual>=1", "train": "\ntensorflow-cpu"}
    with open(tmp_path / "setup.cfg", "w", encoding="utf-8") as file:
        setup.write(file)
    assert names(pins.required_packages(str(tmp_path / "setup.cfg"))) == {"numpy", "click", "textual"}


def test_each_bios_stage_has_the_place_of_the_next() -> None:
    boot, core = bytes(range(256)) * 2, bytes(2048)
    first, rest = bios_boot.link_stages(boot, core)
    assert len(first) == 440 and len(rest) == len(core)
    assert struct.unpack_from("<Q", first, 0x5C) == (2048,)  # 1 MiB in sectors
    assert struct.unpack_from("<Q", rest, 0x1F4) == (2049,)
    assert first[0x66:0x68] == b"\x90\x90"


PARTS = ("common", "base", "venv", "system", "disk", "check", "pin")
SHELL = ("check", "setup", "bench", "demo", "image", "jetson-overlay", *(f"image.d/{name}" for name in PARTS))


@pytest.mark.parametrize("script", SHELL)
def test_shell_is_posix(script: str) -> None:
    shell = shutil.which("dash") or "sh"
    subprocess.run([shell, "-n", str(ROOT / "scripts" / script)], check=True, timeout=10)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("script", [*SHELL, "../systemd/install", "../systemd/firstboot"])
def test_shellcheck_finds_nothing(script: str) -> None:
    command = ["shellcheck", "-x", "-s", "sh", f"scripts/{script}"]
    check = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert check.returncode == 0, check.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["image", "--arch", "mips"], "--arch is amd64 or arm64"),
        (["image", "--frob"], "no option '--frob'"),
        (["image", "--test", "--image", "/nowhere.img"], "no image at /nowhere.img"),
        (["jetson-overlay"], "usage"),
        (["jetson-overlay", "/nowhere"], "root"),
    ],
)
def test_a_wrong_call_ends_with_one_clear_message(arguments: list[str], message: str) -> None:
    command = [str(ROOT / "scripts" / arguments[0]), *arguments[1:]]
    script = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert script.returncode == 1
    assert message in script.stderr.splitlines()[-1]


def test_a_check_that_is_skipped_gives_its_reason(tmp_path: Path) -> None:
    """A full disk, on any machine: nothing is built."""
    (tmp_path / "df").write_text("#!/bin/sh\necho f 1 2 3 4 5\necho f 1 2 7999999 4 5\n")
    (tmp_path / "df").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin", "WORK": str(tmp_path / "work")}
    check = subprocess.run(
        [ROOT / "scripts/image", "--check"], capture_output=True, text=True, timeout=60, env=environment
    )
    assert check.returncode == 0, check.stderr
    assert check.stdout.startswith("check: device image SKIPPED, neither built nor booted: ")
    assert list((tmp_path / "work").iterdir()) == []
