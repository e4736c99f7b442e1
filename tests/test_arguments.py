"""What a person passes to a command: passwords in addresses, pipes instead of files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agent import keys, yamlfile
from agent.isolated import python


def ended(folder: Path, *command: str) -> tuple[int, str]:
    """Exit code and all that was printed, of a real process."""
    process = subprocess.run(
        python("agent", *command), cwd=folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    return process.returncode, process.stdout + process.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("view", "{}", "-o", "q.mp4"),
        ("zones", "{}", "-o", "q.png"),
        ("check", "{}"),
        ("replay", "{}"),
        ("run", "--scene", "{}"),
        ("demo", "--video", "{}"),
        ("model", "show", "{}"),
        ("model", "init", "{}", "--into", "made"),
        ("{}",),
    ],
    ids=lambda command: "-".join(part for part in command if part.isalpha()) or "unknown",
)
@pytest.mark.slow
def test_kind_no_command_prints_the_password_of_an_address(tmp_path: Path, command: tuple[str, ...]) -> None:
    """12."""
    for address in (
        "rtsp://admin:Zebra Quagga@127.0.0.1:9/l",
        "admin:Zebra Quagga@127.0.0.1:9/l",
        "//u:Zebra Quagga@h/l",
    ):
        code, text = ended(tmp_path, *(part.format(address) for part in command))
        assert code and text and "Zebra" not in text and "Quagga" not in text, text


@pytest.mark.parametrize("command", ["check", "run", "actuate", "status", "doctor", "diag", "trace", "top"])
@pytest.mark.slow
def test_kind_a_pipe_as_configuration_is_refused(tmp_path: Path, command: str) -> None:
    """12: the open of a pipe waits for a writer."""
    os.mkfifo(tmp_path / "f.yaml")
    more = ("-o", "out.tar.gz") if command == "diag" else ()
    code, text = ended(tmp_path, command, "-c", "f.yaml", *more)
    assert "f.yaml: is no regular file" in text and "Traceback" not in text
    if command in ("check", "run", "actuate"):
        assert (code, text) == (2, "f.yaml: is no regular file\n")


def test_a_sealed_recording_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    _, secret = keys.make(tmp_path, "box")
    os.mkfifo(tmp_path / "x.mcap.sealed")
    assert ended(tmp_path, "replay", "x.mcap.sealed", "--key", str(secret)) == (2, "x.mcap.sealed: not a file\n")


def test_a_device_is_not_opened_as_a_configuration(tmp_path: Path) -> None:
    """A watchdog device, once open, restarts the box."""
    for path in (Path("/dev/zero"), Path("/dev/null"), tmp_path):
        with pytest.raises(yamlfile.YamlError, match="is no regular file"):
            yamlfile.read(path)
