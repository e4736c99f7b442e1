"""A box in an emulator: start it, talk to it over ssh, cut its power."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BOOT_S = 420.0  # a busy machine that emulates every instruction
UEFI = {"amd64": Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), "arm64": Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")}


class Guest:
    """One disk on which several boots follow each other; each boot writes into a layer of its own."""

    def __init__(self, image: Path, key: Path, folder: Path, arch: str, uefi: bool) -> None:
        self.image = image.resolve()
        self.folder = folder
        self.arch = arch
        self.uefi = uefi or arch == "arm64"
        self.layers = 0
        self.disk = self.image
        self.console = folder / "console.log"
        self.port = _free_port()
        self.qemu: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.key = folder / "key"
        shutil.copy(key, self.key)
        self.key.chmod(0o600)

    # -- power --------------------------------------------------------------------------------------------------------

    def on(self) -> None:
        self._new_layer()
        self.console.write_bytes(b"")
        self.started = time.monotonic()
        with open(self.folder / "qemu.log", "ab") as log:
            self.qemu = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _new_layer(self) -> None:
        """What a boot writes lies in a qcow2 file, whose tables QEMU keeps in memory until the guest flushes: a write that
        was not flushed is lost when QEMU is killed, as in the cache of a real disk."""
        self.layers += 1
        layer = self.folder / f"layer-{self.layers}.qcow2"
        kind = "raw" if self.disk == self.image else "qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self.disk), "-F", kind, str(layer)], check=True
        )
        self.disk = layer

    def command(self) -> list[str]:
        drive = f"file={self.disk},if=virtio,format=qcow2,cache=writeback,l2-cache-size=16M,cache-clean-interval=0"
        common = [
            "-smp",
            "2",
            "-m",
            "1536",
            "-drive",
            drive,
            "-device",
            "virtio-rng-pci",
            "-display",
            "none",
            "-no-reboot",
            "-monitor",
            "none",
            "-serial",
            f"file:{self.console}",
            "-netdev",
            f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
        ]
        if self.arch == "arm64":
            # Of "max" the emulator is several times slower: it computes pointer signatures.
            board = ["-machine", "virt,accel=tcg", "-cpu", "cortex-a76", "-bios", str(UEFI["arm64"])]
            return ["qemu-system-aarch64", *board, *common]
        firmware = ["-drive", f"if=pflash,format=raw,readonly=on,file={UEFI['amd64']}"] if self.uefi else []
        return ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", *firmware, *common]

    def cut(self) -> None:
        """The plug is pulled."""
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
            self.qemu = None

    def down(self) -> float:
        """Switched off in order; how long that took."""
        begun = time.monotonic()
        self.ask("sudo systemctl poweroff", check=False)
        if self.qemu:
            try:
                self.qemu.wait(180)
            except subprocess.TimeoutExpired:
                print("image test: did not switch off within 180 s; killed", file=sys.stderr)
        self.cut()
        return time.monotonic() - begun

    # -- talk ---------------------------------------------------------------------------------------------------------

    def ssh(self, *command: str) -> list[str]:
        return [
            "ssh",
            "-q",
            "-i",
            str(self.key),
            "-p",
            str(self.port),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "ConnectTimeout=30",
            "-o",
            "ServerAliveInterval=15",
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={self.folder}/ssh-{self.layers}",
            "-o",
            "ControlPersist=600",
            "engineer@127.0.0.1",
            *command,
        ]

    def ask(self, command: str, check: bool = True, timeout: float = 180.0, given: str = "") -> str:
        """What the command printed in the guest. Raises RuntimeError when it failed."""
        try:
            done = subprocess.run(self.ssh(command), input=given, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            if check:
                raise RuntimeError(f"no answer within {timeout:g} s: {command}") from None
            return ""
        if check and done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {command}\n{done.stdout}{done.stderr}".strip())
        return done.stdout.strip()

    def until(self, what: str, command: str, seconds: float = BOOT_S) -> str:
        """The first answer that is not empty. Raises RuntimeError, with the end of the console, when none comes in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.qemu and self.qemu.poll() is not None:
                raise RuntimeError(f"{what}: the emulator ended with {self.qemu.returncode}: {self.tail()}")
            answer = self.ask(command, check=False, timeout=60)
            if answer:
                return answer
            time.sleep(0.5)
        raise RuntimeError(f"not within {seconds:g} s: {what}\n{self.tail()}")

    def tail(self) -> str:
        return self.console.read_text(errors="replace")[-1500:]

    def reachable(self) -> float:
        """Seconds from power to an answer over ssh."""
        self.until("an answer over ssh", "echo here")
        return time.monotonic() - self.started

    def journal(self, unit: str, *more: str) -> list[dict[str, Any]]:
        """This boot's lines of a unit."""
        text = self.ask(" ".join(["sudo journalctl -b -o json --no-pager -u", unit, *more]))
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
