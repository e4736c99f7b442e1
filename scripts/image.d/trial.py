"""scripts/image --test: boots the image in an emulator and looks at it from outside, over ssh.

A software emulator is some thirty times slower than the board: what is timed here says that it works, not how fast.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from guest import Guest  # noqa: E402
from powercut import CUTS, power_cuts  # noqa: E402
from watch import Actuator, config, frozen_lane  # noqa: E402

SERVICE = "reflexd.service"


class Failed(Exception):
    """The box did not do what it must."""


def _boot(guest: Guest) -> str:
    """The image as it was made: first boot, services, decisions with the configuration that it brings."""
    wall = guest.reachable()
    guest.until("the service is active", f"systemctl is-active --quiet {SERVICE} && echo yes")
    first = Actuator(guest).first("run")
    up = guest.ask("cut -d' ' -f1 /proc/uptime; systemd-analyze time | head -1")
    guest.until("the first boot's work is done", "ls /var/lib/reflexd-firstboot-done 2>/dev/null")
    names = guest.ask("hostname; sudo grep ^node: /etc/reflexd/reflexd.yaml; sudo ls /etc/reflexd/keys").split()
    if "box" in names or "box.key_secret" not in names:
        raise Failed(f"the first boot gave no name or keys: {names}")
    _must(guest, "root is read-only", "! sudo touch /probe 2>/dev/null")
    _must(guest, "nobody has a password", "! sudo grep -qE '^[^:]+:[^*!:]' /etc/shadow")
    _must(guest, "ssh asks for no password", "sudo sshd -T | grep -qx 'passwordauthentication no'")
    _must(guest, "the journal is kept", "test -d /var/log/journal/$(cat /etc/machine-id)")
    _must(guest, "real-time threads", "ps -eLo cls,comm,args | grep -q '^ *FF.*reflexd run'")
    failed = guest.ask("systemctl --failed --no-legend --plain | cut -d' ' -f1")
    if failed:
        raise Failed(
            f"units failed: {failed}\n{guest.ask(f'sudo journalctl -b -u {failed.split()[0]} -n 20 --no-pager')}"
        )
    return (
        f"ssh {wall:.0f} s after power, first decision {first:.1f} s after the kernel's start; {names[0]}; "
        f"{' '.join(up.split()[1:])}"
    )


def _must(guest: Guest, what: str, command: str) -> None:
    if guest.ask(f"({command}) && echo yes", check=False) != "yes":
        raise Failed(f"not so: {what}: {command}")


def _tools(guest: Guest) -> str:
    """What the engineer types first."""
    _calm(guest)
    said = []
    for command, codes in (("check", (0,)), ("model list", (0,)), ("status", (0, 1)), ("doctor", (0, 1, 2))):
        out = guest.ask(f"sudo -u reflexd reflexd {command} 2>&1; echo exit $?", timeout=400).splitlines()
        code = int(out[-1].split()[1])
        if code not in codes or any("No such command" in line for line in out):
            raise Failed(f"reflexd {command} ended with {code}: {out[-12:]}")
        said.append(f"{command}: exit {code}, {len(out) - 1} lines")
    return "; ".join(said)


def _camera(guest: Guest) -> str:
    """The kernel's virtual camera in a lane of its own, and a decision from it."""
    guest.ask("sudo modprobe vivid n_devs=1 node_types=0x1")
    guest.until("a camera", "ls /dev/video0 2>/dev/null", 30)
    config(guest, "camera")
    since = Actuator(guest).now()
    guest.ask("sudo systemctl restart reflexd-actuate reflexd", timeout=300)
    after = Actuator(guest).next("look", since) - since
    counts = guest.until(
        "pictures",
        "sudo -u reflexd /opt/reflexd/venv/bin/python -c 'from agent import ledger; from pathlib import Path;"
        ' a = ledger.read(Path("/run/reflexd/yard.ledger")); n = a.counts["inferences"]; print(n if n > 5 else "")\'',
        120,
    )
    return (
        f"/dev/video0 by vivid: first command {after:.1f} s after the restart began, {counts} pictures inferred so far"
    )


def _kill(guest: Guest) -> str:
    """kill -9 of the daemon: safe state by the other process, then back and deciding."""
    return _lost(guest, "KILL", "Main process exited")


def _hang(guest: Guest) -> str:
    """The whole process stands still: only systemd's watchdog can tell."""
    return _lost(guest, "STOP", "Watchdog timeout")


# The newest recorder's process and file, once a first piece of it has been written.
GROWING = (
    """sudo sh -c 'p=$(pgrep -n -f "[a]gent.record") && f=$(readlink /proc/$p/fd/* | grep "mcap$")"""
    """ && find $f -size +16k -printf "$p %p"'"""
)
# sudo and systemctl take seconds here: the time is taken by the program that sends the signal.
STRIKE = (
    "import os, signal, sys, time; t = time.monotonic(); os.kill(int(sys.argv[1]), signal.Signals['SIG{}']); print(t)"
)


def _lost(guest: Guest, sign: str, word: str) -> str:
    _calm(guest)
    actuator = Actuator(guest)
    time.sleep(5)  # then the watchdog has been fed
    recorder, tape = guest.until("a recording that grows", GROWING, 240).split()
    pid = guest.ask(f"systemctl show -p MainPID --value {SERVICE}")
    struck = float(guest.ask(f'sudo python3 -c "{STRIKE.format(sign)}" {pid}'))
    born = actuator.reborn(SERVICE, struck)
    again = actuator.next("run", born)
    if not any(word in str(line.get("MESSAGE")) for line in guest.journal(SERVICE)):
        raise Failed(f"kill -{sign}: the journal does not say '{word}'")
    safe = actuator.safe_from(struck, born)
    return (
        f"kill -{sign}: actuator safe after {safe:.2f} s, new process after {born - struck:.1f} s, "
        f"deciding again after {again - struck:.1f} s; {_whole(guest, tape, recorder)}"
    )


def _whole(guest: Guest, tape: str, recorder: str) -> str:
    """The recorder outlives the daemon: it writes what the lanes had done, and `reflexd replay` reads it."""
    guest.until("the old recorder's end", f"sleep 2; test -e /proc/{recorder} || echo gone", 240)
    told = json.loads(guest.ask(f"sudo -u reflexd reflexd replay --json {tape}", timeout=400, check=False) or "{}")
    if not told or told["torn"]:
        raise Failed(f"the recording {tape} has no end: {told}")
    if told["differences"] and not told["lost"]:
        raise Failed(f"the recording {tape} decides otherwise again: {told['differences'][:3]}")
    return f"recording whole, {told['inferences']} inferences, {told['decisions']} decisions again"


def _calm(guest: Guest) -> None:
    """A configuration that the emulator keeps up with, running."""
    config(guest, "calm")
    guest.ask("sudo systemctl restart reflexd-actuate reflexd", timeout=300)
    actuator = Actuator(guest)
    actuator.next("run", actuator.started())


def _lane(guest: Guest) -> str:
    """One lane's driver never returns, while the rest of the daemon lives on: no progress, no watchdog."""
    frozen_lane(guest)
    actuator = Actuator(guest)
    words = f"sudo journalctl -b -u {SERVICE} -o cat | grep -c 'Watchdog timeout'"
    before = guest.ask(words, check=False) or "0"  # those of other trials
    since = actuator.now()
    guest.ask("sudo systemctl restart reflexd-actuate reflexd", timeout=300)
    actuator.next("run", since)
    guest.until("the watchdog's word", f'test "$({words})" -gt {before} && echo yes', 120)
    after = actuator.now() - since
    if after < 10:
        raise Failed(f"the watchdog's word came {after:.0f} s after the restart, before the driver hung")
    return f"watchdog {after:.0f} s after the restart (the driver hangs after 10 s)"


TRIALS: dict[str, Callable[[Guest], str]] = {
    "boot": _boot,
    "tools": _tools,
    "camera": _camera,
    "kill": _kill,
    "hang": _hang,
    "lane": _lane,
    "powercut": power_cuts,
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", default="amd64")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True, help="private key")
    parser.add_argument("--only", default=",".join(TRIALS))
    parser.add_argument("--cuts", type=int, default=CUTS, help="of the power")
    parser.add_argument("--uefi", action="store_true")
    options = parser.parse_args()
    chosen = options.only.split(",")
    unknown = set(chosen) - set(TRIALS)
    if unknown:
        print(f"image test: no trial '{unknown.pop()}': {', '.join(TRIALS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through `finally`: no emulator stays behind
    trials: dict[str, Callable[[Guest], str]] = {**TRIALS, "powercut": partial(power_cuts, cuts=options.cuts)}
    begun, bad, off = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory(prefix="reflexd-guest-") as folder:
        guest = Guest(options.image, options.key, Path(folder), options.arch, options.uefi)
        try:
            guest.on()
            guest.reachable()
            for name in chosen:
                bad += not _attempt(name, trials[name], guest)
            if not bad:
                off = guest.down()
        finally:
            guest.cut()
    leaving = f"; off in {off:.0f} s" if off else ""
    print(f"image test: {len(chosen) - bad} passed, {bad} failed, {time.monotonic() - begun:.0f} s{leaving}")
    return 1 if bad else 0


def _attempt(name: str, trial: Callable[[Guest], str], guest: Guest) -> bool:
    begun = time.monotonic()
    try:
        said = trial(guest)
    except (Failed, RuntimeError) as error:
        print(f"FAILED  {name:9} {time.monotonic() - begun:5.0f} s  {error}", flush=True)
        return False
    print(f"passed  {name:9} {time.monotonic() - begun:5.0f} s  {said}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
