"""A box in an emulator: start it, run commands in it over ssh, cut its power."""

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
MACHINE = ("-smp", "2", "-m", "1536", "-device", "virtio-rng-pci", "-display", "none", "-no-reboot", "-monitor", "none")
SSH_OPTIONS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "ConnectTimeout=30",
    "ServerAliveInterval=15",
    "ControlMaster=auto",
    "ControlPersist=600",
)


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

    def power_on(self) -> None:
        self._new_layer()
        self.console.write_bytes(b"")
        self.started = time.monotonic()
        with open(self.folder / "qemu.log", "ab") as log:
            self.qemu = subprocess.Popen(self._qemu_command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _new_layer(self) -> None:
        """The writes of a boot lie in a qcow2 file, whose tables QEMU keeps in memory until the guest flushes.

        So a write that was not flushed is lost when QEMU is killed, as in the cache of a real disk.
        """
        self.layers += 1
        layer = self.folder / f"layer-{self.layers}.qcow2"
        backing = ["-b", str(self.disk), "-F", "raw" if self.disk == self.image else "qcow2"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(layer)], check=True)
        self.disk = layer

    def _qemu_command(self) -> list[str]:
        drive = f"file={self.disk},if=virtio,format=qcow2,cache=writeback,l2-cache-size=16M,cache-clean-interval=0"
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        common = [*MACHINE, "-drive", drive, "-serial", f"file:{self.console}"]
        common += ["-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="]
        if self.arch == "arm64":
            # The emulated "max" is several times slower: it computes pointer signatures.
            board = ["-machine", "virt,accel=tcg", "-cpu", "cortex-a76", "-bios", str(UEFI["arm64"])]
            return ["qemu-system-aarch64", *board, *common]
        firmware = ["-drive", f"if=pflash,format=raw,readonly=on,file={UEFI['amd64']}"] if self.uefi else []
        return ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", *firmware, *common]

    def cut_power(self) -> None:
        """Without a shutdown."""
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
            self.qemu = None

    def shut_down(self) -> float:
        """By its own system; the seconds that took."""
        started = time.monotonic()
        self.run("sudo systemctl poweroff", check=False)
        if self.qemu:
            try:
                self.qemu.wait(180)
            except subprocess.TimeoutExpired:
                print("image test: did not switch off within 180 s; killed", file=sys.stderr)
        self.cut_power()
        return time.monotonic() - started

    def ssh_command(self, *command: str) -> list[str]:
        options = [*SSH_OPTIONS, f"ControlPath={self.folder}/ssh-{self.layers}"]
        flags = [flag for option in options for flag in ("-o", option)]
        return ["ssh", "-q", "-i", str(self.key), "-p", str(self.port), *flags, "engineer@127.0.0.1", *command]

    def run(self, command: str, check: bool = True, timeout: float = 180.0, stdin: str = "") -> str:
        """The command's output in the guest. Raises RuntimeError when it failed."""
        ssh = self.ssh_command(command)
        try:
            ended = subprocess.run(ssh, input=stdin, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            if check:
                raise RuntimeError(f"no answer within {timeout:g} s: {command}") from None
            return ""
        if check and ended.returncode:
            raise RuntimeError(f"exit {ended.returncode}: {command}\n{ended.stdout}{ended.stderr}".strip())
        return ended.stdout.strip()

    def wait_for(self, condition: str, command: str, seconds: float = BOOT_S) -> str:
        """The command's first output that is not empty. condition: for the error message.

        Raises RuntimeError, with the end of the console, when there is none in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.qemu and self.qemu.poll() is not None:
                raise RuntimeError(
                    f"{condition}: the emulator ended with {self.qemu.returncode}: {self._console_end()}"
                )
            stdout = self.run(command, check=False, timeout=60)
            if stdout:
                return stdout
            time.sleep(0.5)
        raise RuntimeError(f"not within {seconds:g} s: {condition}\n{self._console_end()}")

    def _console_end(self) -> str:
        return self.console.read_text(errors="replace")[-1500:]

    def wait_reachable(self) -> float:
        """Seconds from power to an answer over ssh."""
        self.wait_for("an answer over ssh", "echo here")
        return time.monotonic() - self.started

    def journal(self, unit: str) -> list[dict[str, Any]]:
        """Lines of a unit, of the current boot."""
        text = self.run(f"sudo journalctl -b -o json --no-pager -u {unit}")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
